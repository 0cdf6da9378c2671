"""Backfills: plans, receipts, resuming, cancelling. Run: pytest tests/flows/test_backfill.py

The quick tests put another trade in the children's place (tests/flows/trades.py) and are real in all
else: processes, signals, store. The slow ones curate, with Prefect, from the command line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.backfill import Work, backfill_work, carry_out
from flows.selection import Selection
from storage import releases
from storage.errors import Busy
from storage.leases import lease
from storage.ledger import Ledger, lease_of
from storage.store import Store
from tasks.config import Curation, load
from tasks.errors import StageFailed
from tests.conftest import REPOSITORY, Finished
from tests.flows.nights import NIGHTS, data_set
from tests.flows.trades import of_the_store

DataSet = tuple[Path, Curation, Store]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """Five nights that have arrived; `tmp_path`/names says how they end."""
    monkeypatch.setattr("flows.backfill.curating", of_the_store)
    return data_set(tmp_path, "")


def behave(made: DataSet, **names: str) -> None:
    """`behave(made, n2="fails")`: how nights end from now on."""
    lines = [f"{NIGHTS[int(night[1:]) - 1]} {name}" for night, name in names.items()]
    (made[0].parent / "names").write_text("\n".join(lines))


def work_of(made: DataSet, fail_fast: bool = False, **selection: Any) -> Work:
    return backfill_work(*made[1:], Selection(only="all", **selection), fail_fast=fail_fast)


def states(made: DataSet, run: str | None = None) -> dict[str, str]:
    ledger = Ledger(made[2])
    return dict(sorted(ledger.states(run or ledger.runs()[-1]).items()))


def begun(made: DataSet) -> list[str]:
    lines = (made[0].parent / "notes").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("begins")]


# Receipts


def test_every_partition_ends_with_a_receipt_and_one_that_fails_stops_no_other(made: DataSet) -> None:
    behave(made, n2="fails", n3="busy")
    with pytest.raises(StageFailed, match="1 of 5 partitions failed: 2026-01-02: the label map is shifted"):
        carry_out(*made[1:], work_of(made))
    ledger = Ledger(made[2])
    [run] = ledger.runs()
    assert list(states(made).values()) == ["done", "failed", "skipped", "done", "done"]
    assert ledger.ended(run) == "failed"
    failed = ledger.receipt(run, NIGHTS[1])
    assert failed is not None
    assert (failed.error, failed.attempt) == ("the label map is shifted", 1)
    assert failed.started_at is not None
    done = ledger.receipt(run, NIGHTS[0])
    assert done is not None
    assert done.stages == ("ingest", "teach", "detect", "relabel", "report")
    assert done.rows == len(NIGHTS[0])


def test_the_plan_is_in_the_store_before_anything_runs(made: DataSet) -> None:
    def look(run: str, go: Callable[[], Any]) -> Any:
        planned = Ledger(made[2]).planned(run)
        assert planned is not None
        assert list(planned.partitions) == NIGHTS
        assert not (made[0].parent / "notes").exists()
        return go()

    carry_out(*made[1:], work_of(made), look)
    assert begun(made) == NIGHTS


def test_the_same_again_takes_up_what_failed_in_the_same_run_with_a_further_attempt(made: DataSet) -> None:
    behave(made, n2="fails", n4="killed")
    with pytest.raises(StageFailed, match="2 of 5 partitions failed"):
        carry_out(*made[1:], work_of(made))
    behave(made)
    (made[0].parent / "notes").unlink()
    carry_out(*made[1:], work_of(made))
    assert begun(made) == [NIGHTS[1], NIGHTS[3]]
    ledger = Ledger(made[2])
    [run] = ledger.runs()
    assert set(states(made).values()) == {"done"}
    assert ledger.ended(run) == "done"
    attempts = [receipt.attempt for receipt in ledger.receipts(run, "done")]
    assert attempts == [1, 2, 1, 4, 1]


def test_fail_fast_leaves_the_rest_to_the_same_command_again(made: DataSet) -> None:
    behave(made, n2="fails")
    with pytest.raises(StageFailed, match="stopped at the first failure: 2026-01-02"):
        carry_out(*made[1:], work_of(made, fail_fast=True))
    assert list(states(made).values()) == ["done", "failed"]
    assert Ledger(made[2]).ended(Ledger(made[2]).runs()[-1]) == "cancelled"
    behave(made)
    assert [choice.partition for choice in work_of(made).choices] == NIGHTS[1:]


# Cancelling


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_takes_a_moment_and_leaves_receipts(made: DataSet, how: signal.Signals) -> None:
    behave(made, n2="endless")
    sent: list[float] = []

    def send() -> None:
        while not (made[0].parent / "notes").exists() or len(begun(made)) < 2:
            time.sleep(0.02)
        sent.append(time.monotonic())
        os.kill(os.getpid(), how)

    before = signal.signal(how, signal.default_int_handler)  # a shell leaves SIGINT out of background jobs
    try:
        threading.Thread(target=send, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            carry_out(*made[1:], work_of(made))
    finally:
        signal.signal(how, before)
    assert time.monotonic() - sent[0] < 2
    assert list(states(made).values()) == ["done", "cancelled"]
    assert Ledger(made[2]).unfinished() == {
        night: ("cancelled" if night == NIGHTS[1] else "never ran", Ledger(made[2]).runs()[-1])
        for night in NIGHTS[1:]
    }
    behave(made)
    (made[0].parent / "notes").unlink()
    carry_out(*made[1:], work_of(made))
    assert begun(made) == NIGHTS[1:]
    assert set(states(made).values()) == {"done"}


def test_the_same_twice_at_once_is_done_once(made: DataSet) -> None:
    work = work_of(made)
    run = Ledger(made[2]).begin("backfill", work.asked, {}).run
    held = lease(made[2], lease_of(run), 0, "winnow backfill")
    with held, pytest.raises(Busy, match="this backfill of digits is under way: winnow backfill"):
        carry_out(*made[1:], work)
    assert not (made[0].parent / "notes").exists()


def test_what_becomes_stale_meanwhile_joins_the_plan_each_partition_once(made: DataSet) -> None:
    work = work_of(made, last=NIGHTS[1])
    later = work_of(made).choices[:3]
    grown = Work("backfill", work.asked, work.choices, again=lambda: later, resumes=True)
    carry_out(*made[1:], grown)
    assert begun(made) == NIGHTS[:3]
    planned = Ledger(made[2]).planned(Ledger(made[2]).runs()[-1])
    assert planned is not None
    assert list(planned.partitions) == NIGHTS[:3]


def test_the_last_good_partition_publishes_where_the_one_it_was_left_to_failed(made: DataSet) -> None:
    behave(made, n4="left", n5="fails")
    with pytest.raises(StageFailed):
        carry_out(*made[1:], work_of(made))
    assert begun(made) == [*NIGHTS[:3], "left", "fails", "left"]


# With Prefect, from the command line

ROWS = 40


def pets(folder: Path, nights: int = 4) -> Path:
    """Small nights of two well-parted classes in CSV files, none of which reads another."""
    for night in range(nights):
        lines = [
            f"{sign}{case},{case % 7},{'dog' if sign else 'cat'}"
            for case in range(ROWS)
            for sign in ("", "-")
        ]
        (folder / f"2026-01-{night + 1:02}.csv").write_text("\n".join(["x,y,label", *lines]))
    path = folder / "pets.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "dataset": "pets",
                "store": "./store",
                "classes": ["cat", "dog"],
                "window": "partition",
                "source": {
                    "kind": "csv",
                    "path": "./{partition}.csv",
                    "label": "label",
                    "features": ["x", "y"],
                },
                "ingest": {"encoder": {"kind": "features"}},
                "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
                "report": {"steps": 20},
            }
        )
    )
    return path


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def flow_run_states(name: str) -> dict[str, str]:
    """The states of a flow's runs at the server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])))
    return {run.name: str(run.state_type.value) for run in runs if run.state_type}


@pytest.mark.slow
def test_one_corrupt_night_is_mended_and_the_same_command_ends_with_all_done(
    prefect_api: str, tmp_path: Path, winnow: Callable[..., Finished]
) -> None:
    path = pets(tmp_path)
    whole = (tmp_path / "2026-01-02.csv").read_text()
    (tmp_path / "2026-01-02.csv").write_text("nothing,of,use\n1,2,3\n")
    first = winnow("backfill", path, "--jobs", "2")
    assert first.code == 1
    assert "1 of 4 partitions failed: 2026-01-02:" in first.err
    told = json.loads(winnow("status", path, "--format", "json").out)
    assert told["run"]["counts"] == {"done": 3, "failed": 1}
    assert told["run"]["state"] == "failed"
    assert [failure["partition"] for failure in told["run"]["failed"]] == ["2026-01-02"]
    assert told["freshness"]["published"] == "2026-01-04"
    assert told["freshness"]["gaps"] == 1
    listed = winnow("backfill", path, "--only", "failed", "--dry-run").out
    assert "2026-01-02" in listed
    assert "1 partition would run, about" in listed
    (tmp_path / "2026-01-02.csv").write_text(whole)
    second = winnow("backfill", path, "--jobs", "2")
    assert (second.code, second.err) == (0, "")
    assert second.out.startswith("1 partition curated; release ")
    again = json.loads(winnow("status", path, "--format", "json").out)
    assert again["run"]["run"] == told["run"]["run"]
    assert again["run"]["counts"] == {"done": 4}
    assert "nothing to do" in winnow("backfill", path).out
    assert "nothing to do" in winnow("nightly", path).out
    from prefect.artifacts import Artifact

    receipts = Artifact.get("pets-backfill-receipts")
    assert receipts is not None
    assert "2026-01-02" in str(receipts.data)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_within_seconds_and_leaves_nothing_half(
    how: signal.Signals, prefect_api: str, tmp_path: Path, winnow: Callable[..., Finished]
) -> None:
    path = pets(tmp_path)
    curation = load(path)
    store = Store(curation.store, curation.dataset)
    running = start("backfill", path)
    wait_until(lambda: store.ref("metrics", "2026-01-01") is not None, running)
    sent = time.monotonic()
    running.send_signal(how)
    out, err = running.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert running.returncode == 130, (out, err)
    assert err == (
        "winnow: backfill of pets was cancelled; `winnow status` shows how far it is, the same command again "
        "goes on from there\n"
    )
    told = json.loads(winnow("status", path, "--format", "json").out)["run"]
    assert told["state"] == "cancelled"
    assert set(told["counts"]) <= {"done", "cancelled"}
    assert flow_run_states("backfill")[told["run"]] == "CRASHED"
    finished = winnow("backfill", path, "--jobs", "2")
    assert (finished.code, finished.err) == (0, "")
    again = json.loads(winnow("status", path, "--format", "json").out)["run"]
    assert (again["run"], again["counts"]) == (told["run"], {"done": 4})


@pytest.mark.slow
def test_kill_9_of_the_backfill_and_of_its_children_loses_nothing(
    prefect_api: str, tmp_path: Path, winnow: Callable[..., Finished]
) -> None:
    path = pets(tmp_path)
    curation = load(path)
    store = Store(curation.store, curation.dataset)
    running = start("backfill", path, "--jobs", "2")
    wait_until(lambda: store.ref("rows", "2026-01-01") is not None, running)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.kill()
    running.wait()
    deadline = time.monotonic() + 10
    while any(alive(int(child)) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = json.loads(winnow("status", path, "--format", "json").out)["run"]
    assert told["state"] == "interrupted"
    running = start("backfill", path, "--jobs", "2")
    wait_until(lambda: store.ref("soft_labels", "2026-01-02") is not None, running)
    os.kill(curating(running.pid), signal.SIGKILL)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, err) == (0, ""), out
    again = json.loads(winnow("status", path, "--format", "json").out)["run"]
    assert (again["run"], again["counts"]) == (told["run"], {"done": 4})
    release = releases.published(store)
    assert release is not None
    assert release.versions == releases.versions(store)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def curating(parent: int) -> int:
    """A child of a backfill that curates."""
    for child in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no child curates")


@pytest.mark.slow
def test_the_deployed_flows_do_the_same(prefect_api: str, tmp_path: Path) -> None:
    from flows.deployed import Range, Target, backfill, curate_partition, nightly

    path = pets(tmp_path)
    curation = load(path)
    store = Store(curation.store, curation.dataset)
    done = backfill(Range(curation=str(path), partitions=("2026-01-01",), jobs=1))
    assert done == ["2026-01-01"]
    assert curate_partition(Target(curation=str(path), partition="2026-01-02")) == 2
    assert nightly(str(path)) == ["2026-01-03", "2026-01-04"]
    assert [run.split("-")[1] for run in Ledger(store).runs()] == ["backfill", "run", "nightly"]
    assert Ledger(store).unfinished() == {}
    assert (
        nightly(str(path), return_state=True).message == "nothing to do: all of pets that arrived is curated"
    )
    held = Ledger(store).runs("nightly")[-1]
    with lease(store, lease_of(held), 0, "winnow nightly"):
        (tmp_path / "2026-01-05.csv").write_text((tmp_path / "2026-01-04.csv").read_text())
        message = nightly(str(path), return_state=True).message
    assert message is not None
    assert message.startswith("this nightly of pets is under way: winnow nightly (process ")


@pytest.mark.slow
def test_a_single_run_that_fails_is_found_by_only_failed(
    prefect_api: str, tmp_path: Path, winnow: Callable[..., Finished]
) -> None:
    path = pets(tmp_path, nights=1)
    (tmp_path / "2026-01-01.csv").write_text("nothing,of,use\n1,2,3\n")
    assert winnow("run", path, "--partition", "2026-01-01").code != 0
    listed = winnow("backfill", path, "--only", "failed", "--dry-run").out
    assert "2026-01-01   ingest: has not run yet (failed in " in listed
