"""`winnow status`: how a run stands and how fresh the data is. Run: pytest tests/flows/test_status.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import run_command
from flows.status import status
from storage.leases import lease
from storage.ledger import Ledger, Receipt, lease_of
from storage.store import Store
from tasks.config import Curation
from tests.flows.cli_stores import release
from tests.flows.nights import NIGHTS, curate, data_set

DataSet = tuple[Path, Curation, Store]


@pytest.fixture
def made(tmp_path: Path) -> DataSet:
    """Nights 1, 2 and 4 are curated; 1 and 2 are in the release that readers get."""
    found = data_set(tmp_path)
    curate(*found[1:], *NIGHTS[:2])
    release(found[2], NIGHTS[1])
    curate(*found[1:], NIGHTS[3])
    return found


@pytest.fixture
def run(made: DataSet) -> str:
    """A backfill of all five nights, of which one is done and one has failed."""
    ledger = Ledger(made[2])
    name = ledger.begin("backfill", {"only": "all"}, dict.fromkeys(NIGHTS, "")).run
    ledger.record(name, Receipt(NIGHTS[0], "done", seconds=3.0))
    ledger.record(name, Receipt(NIGHTS[1], "failed", "[/x] rows.csv is truncated", attempt=2))
    return name


def test_a_run_under_way_tells_what_runs_what_waits_and_what_failed(made: DataSet, run: str) -> None:
    with lease(made[2], lease_of(run), 0, "winnow backfill"), lease(made[2], NIGHTS[2], 0, "run of digits"):
        found = status(*made[1:])["run"]
    assert found["state"] == "running"
    assert found["holder"].startswith("winnow backfill (process ")
    assert found["counts"] == {"done": 1, "failed": 1, "running": 1, "waiting": 2}
    assert list(found["running"]) == [NIGHTS[2]]
    assert found["failed"] == [{"partition": NIGHTS[1], "attempt": 2, "error": "[/x] rows.csv is truncated"}]


def test_a_run_that_was_killed_is_interrupted_and_one_that_was_cancelled_says_so(
    made: DataSet, run: str
) -> None:
    assert status(*made[1:])["run"]["state"] == "interrupted"
    Ledger(made[2]).end(run, "cancelled")
    found = status(*made[1:])["run"]
    assert (found["state"], found["counts"]) == ("cancelled", {"cancelled": 3, "done": 1, "failed": 1})


def test_fresh_is_what_readers_get_by_the_date_of_the_data(made: DataSet) -> None:
    assert status(*made[1:])["freshness"] == {
        "published": NIGHTS[1],
        "release": 1,
        "arrived": NIGHTS[4],
        "behind": 3,
        "gaps": 0,
    }


def test_an_old_date_filled_in_makes_nothing_fresher(made: DataSet) -> None:
    release(made[2], NIGHTS[3])
    fresh = status(*made[1:])["freshness"]
    assert (fresh["published"], fresh["behind"], fresh["gaps"]) == (NIGHTS[3], 1, 1)
    curate(*made[1:], NIGHTS[2])
    release(made[2], NIGHTS[2])
    fresh = status(*made[1:])["freshness"]
    assert (fresh["published"], fresh["behind"], fresh["gaps"]) == (NIGHTS[3], 1, 0)


def test_the_newest_run_is_shown_or_the_one_named(made: DataSet, run: str) -> None:
    later = Ledger(made[2]).begin("nightly", {}, {NIGHTS[4]: ""}).run
    assert status(*made[1:])["run"]["run"] == later
    assert status(*made[1:], run=run)["run"]["run"] == run


def test_it_prints_a_table_for_people_and_json_for_programs(
    made: DataSet, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["status", str(made[0])]) == 0
    out = capsys.readouterr().out
    assert f"backfill {run} is interrupted: 1 done, 1 failed, 3 waiting of 5" in out
    assert "[/x] rows.csv is truncated" in out
    assert "readers of digits have data up to 2026-01-02 (release 1), 3 newer wait" in out
    assert run_command(["status", str(made[0]), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["run"] == run


def test_an_unknown_run_is_bad_input_and_no_run_is_no_error(
    made: DataSet, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_command(["status", str(made[0]), "--run", "tonight"]) == 2
    assert capsys.readouterr().err == "winnow: digits has no run tonight; there is none yet\n"
    assert run_command(["status", str(made[0])]) == 0
    assert capsys.readouterr().out.startswith("nothing was ever run on digits\n")
    (tmp_path / "empty").mkdir()
    fresh, _, _ = data_set(tmp_path / "empty")
    assert run_command(["status", str(fresh)]) == 0
    assert "readers of digits have nothing yet; the newest that arrived is 2026-01-05" in (
        capsys.readouterr().out
    )
