"""Runs, plans and receipts in the store. Run: pytest tests/storage/test_ledger.py"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage import ledger
from storage.errors import StoreError
from storage.leases import lease
from storage.ledger import Ledger, Receipt, digest, kind_of, lease_of
from storage.store import Store

ASKED = {"first": "2026-01-01", "only": "missing"}
TWO = {"2026-01-01": "ingest: has not run yet", "2026-01-02": "ingest: has not run yet"}


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return Ledger(Store(str(tmp_path), "digits").open(create=True))


def test_a_plan_is_read_back_as_it_was_written(book: Ledger) -> None:
    planned = book.begin("backfill", ASKED, TWO)
    assert book.planned(planned.run) == planned
    assert (planned.kind, dict(planned.partitions)) == ("backfill", TWO)
    assert book.newest("backfill", dict(reversed(ASKED.items()))) == planned
    assert book.newest("backfill", {**ASKED, "only": "all"}) is None
    assert book.newest("nightly", ASKED) is None


def test_runs_begun_in_the_same_moment_have_names_of_their_own_in_order(book: Ledger) -> None:
    made = [book.begin("run", ASKED, TWO).run for _ in range(20)]
    assert book.runs("run") == made
    assert len(set(made)) == 20


def test_states_come_from_names_alone(book: Ledger, tmp_path: Path) -> None:
    run = book.begin("backfill", ASKED, TWO).run
    folder = tmp_path / "digits" / "_runs" / run
    for name in ("2026-01-01.done", "v1.2.failed", "done.cancelled"):
        (folder / f"{name}.json").write_text("not even JSON")
    assert book.states(run) == {"2026-01-01": "done", "v1.2": "failed", "done": "cancelled"}
    assert book.ended(run) is None


def test_a_receipt_takes_the_place_of_the_one_before(book: Ledger, tmp_path: Path) -> None:
    run = book.begin("backfill", ASKED, TWO).run
    book.record(run, Receipt("2026-01-01", "failed", "the file is truncated", 1.5))
    done = Receipt("2026-01-01", "done", seconds=2.5, rows=299, release=7, attempt=2, stages=("teach",))
    book.record(run, done, replaces="failed")
    assert book.states(run) == {"2026-01-01": "done"}
    assert book.receipt(run, "2026-01-01") == done
    assert book.receipts(run, "failed") == []
    assert sorted(path.name for path in (tmp_path / "digits" / "_runs" / run).iterdir()) == [
        "2026-01-01.done.json",
        "plan.json",
    ]


def test_done_wins_where_a_crash_left_two_receipts(book: Ledger) -> None:
    run = book.begin("backfill", ASKED, TWO).run
    book.record(run, Receipt("2026-01-01", "failed", "the disk is full"))
    book.record(run, Receipt("2026-01-01", "done"))
    assert book.states(run) == {"2026-01-01": "done"}
    found = book.receipt(run, "2026-01-01")
    assert found is not None
    assert found.state == "done"


def test_a_resumed_run_has_not_ended_and_its_plan_has_grown(book: Ledger) -> None:
    planned = book.begin("backfill", ASKED, TWO)
    book.end(planned.run, "cancelled", "Ctrl-C")
    assert book.ended(planned.run) == "cancelled"
    again = book.resume(planned, {"2026-01-03": "ingest: has not run yet"})
    assert book.ended(planned.run) is None
    assert list(again.partitions) == [*TWO, "2026-01-03"]
    assert book.newest("backfill", ASKED) == again


def test_unfinished_is_what_failed_or_was_cancelled_or_never_had_its_turn(book: Ledger) -> None:
    names = ["done", "failed", "skipped", "cancelled", "rest"]
    run = book.begin("backfill", ASKED, dict.fromkeys(names, "")).run
    for state in ("done", "failed", "skipped", "cancelled"):
        book.record(run, Receipt(state, state))
    book.end(run, "cancelled")
    killed = book.begin("nightly", {}, {"half": ""}).run
    assert book.unfinished() == {
        "cancelled": ("cancelled", run),
        "failed": ("failed", run),
        "half": ("interrupted", killed),
        "rest": ("never ran", run),
    }


def test_the_newest_receipt_over_all_runs_counts(book: Ledger) -> None:
    first = book.begin("backfill", ASKED, TWO).run
    for name in TWO:
        book.record(first, Receipt(name, "failed", "x"))
    book.end(first, "failed")
    later = book.begin("run", {"partition": "2026-01-01"}, {"2026-01-01": ""}).run
    book.record(later, Receipt("2026-01-01", "done"))
    book.end(later, "done")
    assert book.unfinished() == {"2026-01-02": ("failed", first)}


def test_what_is_under_way_is_not_unfinished(book: Ledger) -> None:
    run = book.begin("backfill", ASKED, TWO).run
    with lease(book.store, lease_of(run), 0, "winnow backfill"):
        assert "winnow backfill" in (book.under_way(run) or "")
        assert book.unfinished() == {}
    assert book.under_way(run) is None
    assert set(book.unfinished()) == set(TWO)
    single = book.begin("run", {"partition": "2026-01-01"}, {"2026-01-01": ""}).run
    with lease(book.store, "2026-01-01", 0, "run of digits"):
        assert "run of digits" in (book.under_way(single) or "")


def test_an_older_run_is_not_taken_for_the_one_that_holds_the_lease(book: Ledger) -> None:
    killed = book.begin("nightly", {}, {"2026-01-01": ""}).run
    alive = book.begin("nightly", {}, {"2026-01-02": ""}).run
    with lease(book.store, lease_of(alive), 0, "winnow nightly"):
        assert book.under_way(killed) is None
        assert book.unfinished() == {"2026-01-01": ("interrupted", killed)}


def test_the_oldest_runs_of_a_kind_are_forgotten(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEEP", 3)
    night = book.begin("nightly", {}, TWO).run
    made = [book.begin("run", ASKED, TWO).run for _ in range(5)]
    assert book.runs() == [night, *made[-3:]]


def test_recorded_seconds_are_those_of_what_was_done_the_newest_first(book: Ledger) -> None:
    for number in range(3):
        run = book.begin("backfill", {"n": number}, TWO).run
        book.record(run, Receipt("2026-01-01", "done", seconds=float(number), stages=("teach", "detect")))
        book.record(run, Receipt("2026-01-02", "failed", "x", seconds=99.0))
    assert book.seconds(most=2) == [(("teach", "detect"), 2.0), (("teach", "detect"), 1.0)]


def test_a_store_without_runs_has_none(book: Ledger) -> None:
    assert (book.runs(), book.unfinished(), book.seconds()) == ([], {}, [])
    assert book.planned("20260101T000000.000000-run-00000000") is None


def test_a_damaged_plan_names_the_file(book: Ledger, tmp_path: Path) -> None:
    run = book.begin("run", ASKED, TWO).run
    (tmp_path / "digits" / "_runs" / run / "plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan\.json is no JSON .*; delete "):
        book.planned(run)


def test_a_run_tells_its_kind_and_its_lease_by_its_name(book: Ledger) -> None:
    run = book.begin("nightly", {}, TWO).run
    assert kind_of(run) == "nightly"
    assert lease_of(run) == f"nightly.{digest({})}"


def test_ten_thousand_receipts_are_counted_in_one_listing(book: Ledger, tmp_path: Path) -> None:
    run = book.begin("backfill", ASKED, {f"p{n:05}": "" for n in range(10_000)}).run
    folder = tmp_path / "digits" / "_runs" / run
    for number in range(10_000):
        (folder / f"p{number:05}.done.json").touch()
    started = time.process_time()
    assert len(book.states(run)) == 10_000
    assert time.process_time() - started < 2
