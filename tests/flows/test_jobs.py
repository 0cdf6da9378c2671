"""Children that curate, and what becomes of a partition whose child dies.

Run: pytest tests/flows/test_jobs.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from flows.jobs import ATTEMPTS, Crew, divided, judged
from storage.errors import Busy, Fenced, StoreError
from tasks.config import load
from tasks.errors import BadInput, StageFailed
from tests.conftest import REPOSITORY
from tests.flows.cli_stores import curation
from tests.flows.trades import by_name


def together(a: str, b: str) -> bool:
    """Nothing clashes."""
    return False


def apart(a: str, b: str) -> bool:
    """Everything clashes."""
    return True


def notes(folder: Path) -> list[tuple[str, str]]:
    return [tuple(line.split()[:2]) for line in (folder / "notes").read_text().splitlines()]  # type: ignore[misc]


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether a process of somebody else's ends (or is a zombie) within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def wait_for_notes(folder: Path, n: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not (folder / "notes").exists() or len(notes(folder)) < n:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_partition_ends_with_an_outcome_and_one_that_fails_or_dies_stops_no_other(
    tmp_path: Path,
) -> None:
    names = ["one", "fails", "busy", "breaks", "killed", "killed-once", "quits", "two"]
    with Crew(1, partial(by_name, tmp_path)) as crew:
        found = dict(crew.curate(names, apart))
    assert [outcome.state for outcome in map(found.__getitem__, names)] == [
        *("done", "failed", "skipped", "failed", "failed", "done", "failed", "done")
    ]
    assert found["one"].rows == 3
    assert found["fails"].error == "the label map is shifted"
    assert found["breaks"].error == (
        "unexpected ZeroDivisionError: division by zero; `winnow run --verbose` shows where"
    )
    assert found["killed"].error == (
        "the process that curated killed was killed by signal 9, 3 times; if the machine ran out of memory, "
        "use fewer --jobs, fewer runner.workers or a smaller runner.shard_rows"
    )
    assert (found["killed"].attempts, found["killed-once"].attempts) == (ATTEMPTS, 2)
    assert "ended with exit code 3" in (found["quits"].error or "")


def test_partitions_run_side_by_side_but_those_that_clash_one_after_the_other_in_order(
    tmp_path: Path,
) -> None:
    names = ["a", "b", "c"]
    with Crew(2, partial(by_name, tmp_path)) as crew:
        list(crew.curate(names, apart))
    assert notes(tmp_path) == [(what, name) for name in names for what in ("begins", "ends")]
    (tmp_path / "notes").unlink()
    with Crew(2, partial(by_name, tmp_path, meet=2)) as crew:
        list(crew.curate(names, together))
    assert {what for what, _ in notes(tmp_path)[:2]} == {"begins"}


def test_one_waits_only_for_those_before_it_that_it_clashes_with(tmp_path: Path) -> None:
    def neighbours(a: str, b: str) -> bool:
        return abs(int(a) - int(b)) <= 1

    with Crew(2, partial(by_name, tmp_path, meet=2)) as crew:
        list(crew.curate(["1", "2", "5"], neighbours))
    order = notes(tmp_path)
    assert {order[0], order[1]} == {("begins", "1"), ("begins", "5")}
    assert order.index(("ends", "1")) < order.index(("begins", "2"))


def test_dismissing_kills_at_once_whatever_children_do_and_says_what_was_under_way(tmp_path: Path) -> None:
    with Crew(2, partial(by_name, tmp_path)) as crew:
        running = crew.curate(["endless", "one"], together)
        assert next(running)[0] == "one"
        pids = {int(line.split()[2]) for line in (tmp_path / "notes").read_text().splitlines()}
        started = time.monotonic()
        assert list(crew.dismiss()) == ["endless"]
        assert time.monotonic() - started < 1
    assert all(gone(pid, 0.5) for pid in pids)


def test_ctrl_c_on_the_terminal_is_left_to_the_parent(tmp_path: Path) -> None:
    with Crew(1, partial(by_name, tmp_path)) as crew:
        outcomes = crew.curate(["one", "two"], apart)
        next(outcomes)
        os.kill(int((tmp_path / "notes").read_text().split()[2]), signal.SIGINT)
        assert next(outcomes)[1].state == "done"


@pytest.mark.parametrize("with_what", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_their_parent_however_it_ends(with_what: signal.Signals, tmp_path: Path) -> None:
    script = f"""
from functools import partial
from pathlib import Path
from flows.jobs import Crew
from tests.flows.trades import by_name
with Crew(2, partial(by_name, Path({str(tmp_path)!r}))) as crew:
    list(crew.curate(["endless", "endless"], lambda a, b: False))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY)
    wait_for_notes(tmp_path, 2)
    pids = {int(line.split()[2]) for line in (tmp_path / "notes").read_text().splitlines()}
    assert len(pids) == 2
    parent.send_signal(with_what)
    parent.wait(10)
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Busy("x", "somebody"), "skipped"),
        (Fenced("x"), "skipped"),
        (BadInput("x"), "failed"),
        (StageFailed("x"), "failed"),
        (StoreError("x"), "failed"),
        (MemoryError(), "failed"),
    ],
)
def test_left_to_another_run_is_not_failed(error: Exception, state: str) -> None:
    assert judged(error).state == state


@pytest.mark.parametrize(("jobs", "workers"), [(1, 5), (2, 2), (9, 1)])
def test_workers_are_shared_out_among_jobs_and_nothing_else_changes(
    jobs: int, workers: int, tmp_path: Path
) -> None:
    path = curation(tmp_path)
    path.write_text(path.read_text() + "runner: {workers: 5}\n")
    loaded = load(path)
    shared = divided(loaded, jobs)
    assert shared.runner.workers == workers
    assert shared.model_copy(update={"runner": loaded.runner}) == loaded
    assert shared.file == loaded.file
