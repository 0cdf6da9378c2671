"""Which partitions a backfill comes to, why, and in what order. Run: pytest tests/flows/test_selection.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.backfill import backfill_work, in_turn
from flows.selection import Selection, choose, clashes, estimates, in_runs, look, named, reach
from storage.ledger import Ledger, Receipt
from storage.store import Store
from tasks.config import Curation, load
from tasks.errors import BadInput
from tasks.plan import Planner
from tests.flows.nights import NIGHTS, curate, data_set

DataSet = tuple[Path, Curation, Store]


@pytest.fixture
def made(tmp_path: Path) -> DataSet:
    """Nights 1 and 2 are curated, 3 to 5 are not."""
    found = data_set(tmp_path)
    curate(*found[1:], *NIGHTS[:2])
    return found


def chosen(made: DataSet, **selection: Any) -> list[str]:
    return [choice.partition for choice in choose(made[1], made[2], Selection(**selection))]


def run(store: Store, asked: dict[str, Any], ended: str | None, **states: str) -> str:
    """A backfill of all nights in the ledger; `n3="failed"` is the third night's receipt."""
    ledger = Ledger(store)
    name = ledger.begin("backfill", asked, dict.fromkeys(NIGHTS, "")).run
    for night, state in states.items():
        ledger.record(name, Receipt(NIGHTS[int(night[1:]) - 1], state))  # type: ignore[arg-type]
    if ended:
        ledger.end(name, ended)  # type: ignore[arg-type]
    return name


# What is asked for


def test_missing_are_those_that_were_never_curated_to_the_end(made: DataSet) -> None:
    assert chosen(made) == NIGHTS[2:]
    assert chosen(made, order="newest") == NIGHTS[:1:-1]


def test_a_range_a_list_and_exclusions_narrow_it_down(made: DataSet) -> None:
    assert chosen(made, first="2026-01-04") == NIGHTS[3:]
    assert chosen(made, last="2026-01-03", only="all") == NIGHTS[:3]
    assert chosen(made, partitions=(NIGHTS[4], NIGHTS[0]), only="all") == [NIGHTS[0], NIGHTS[4]]
    assert chosen(made, exclude=(NIGHTS[3],)) == [NIGHTS[2], NIGHTS[4]]
    assert chosen(made, partitions=(NIGHTS[2], NIGHTS[4]), last=NIGHTS[3]) == [NIGHTS[2]]


def test_stale_are_those_too_that_would_be_made_otherwise(made: DataSet) -> None:
    path, _, store = made
    path.write_text(path.read_text().replace("kind: threshold", "kind: threshold, fix_at: 0.9"))
    changed = (path, load(path), store)
    assert chosen(changed) == NIGHTS[2:]
    assert chosen(changed, only="stale") == NIGHTS
    reasons = [choice.reason for choice in choose(*changed[1:], Selection(only="stale"))]
    assert reasons[:3] == ["relabel: its methods changed"] * 2 + ["ingest: has not run yet"]


def test_one_stage_alone_is_judged_by_that_stage(made: DataSet) -> None:
    path, _, store = made
    path.write_text(path.read_text().replace("kind: threshold", "kind: threshold, fix_at: 0.9"))
    changed = (path, load(path), store)
    assert chosen(changed, stage="detect", only="stale") == NIGHTS[2:]
    assert chosen(changed, stage="relabel", only="stale", last=NIGHTS[1]) == NIGHTS[:2]


def test_failed_are_those_whose_newest_receipt_is_bad_and_those_a_dead_run_still_owed(made: DataSet) -> None:
    assert chosen(made, only="failed") == []
    run(made[2], {}, "cancelled", n1="done", n2="failed", n3="cancelled", n4="skipped")
    assert chosen(made, only="failed") == [NIGHTS[1], NIGHTS[2], NIGHTS[4]]
    reasons = {c.partition: c.reason for c in choose(*made[1:], Selection(only="failed"))}
    assert reasons[NIGHTS[1]].startswith("up to date (failed in ")
    assert "never ran in" in reasons[NIGHTS[4]]


def test_what_was_cut_off_before_its_release_is_missing_though_every_stage_is_there(made: DataSet) -> None:
    run(made[2], {}, None, n1="done")
    assert chosen(made) == NIGHTS[1:]


def test_what_is_named_in_vain_is_told_and_nothing_is_widened(made: DataSet) -> None:
    def notes(**selection: Any) -> list[str]:
        return named(made[1], Selection(**selection))[1]

    assert notes(first="2026-01-01", last="2026-01-05") == []
    assert notes() == []
    held = "ignored, as the source does not hold them: "
    assert notes(first="2026-01-04", last="2026-01-08") == [f"{held}2026-01-06 to 2026-01-08"]
    assert notes(first="2025-12-31") == [f"{held}2025-12-31"]
    assert notes(partitions=("2026-01-02", "2026-02-30")) == [f"{held}2026-02-30"]
    assert notes(partitions=("2026-01-02", "2026-01-05"), last="2026-01-03") == [
        "ignored, as they lie outside of the range: 2026-01-05"
    ]
    assert notes(exclude=("2026-01-09",)) == [
        "excluded in vain, as the source does not hold them: 2026-01-09"
    ]


def test_many_names_are_told_in_few_words() -> None:
    assert in_runs(["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-03"]) == (
        "2026-02-27 to 2026-03-01, 2026-03-03"
    )
    assert in_runs([f"shard{n}" for n in range(11)]) == (
        "shard0, shard1, shard2, shard3, shard4, shard5, shard6, shard7 and 3 more"
    )


def test_a_reversed_range_and_a_stage_left_out_are_bad_input(made: DataSet) -> None:
    with pytest.raises(BadInput, match="swap them"):
        chosen(made, first="2026-01-02", last="2026-01-01")
    with pytest.raises(BadInput, match="leaves out distill; its stages are"):
        chosen(made, stage="distill")
    with pytest.raises(ValidationError):
        Selection(partitions=("../up",))


# The same command again


def test_the_same_command_takes_up_what_failed_was_cancelled_or_never_ran(made: DataSet) -> None:
    selection = Selection(only="all")
    run(made[2], selection.asked, "cancelled", n1="done", n2="done", n3="failed", n4="cancelled")
    work = backfill_work(*made[1:], selection)
    assert [choice.partition for choice in work.choices] == NIGHTS[2:]


def test_after_a_run_in_which_all_was_done_it_begins_anew(made: DataSet) -> None:
    selection = Selection(only="all")
    run(made[2], selection.asked, "done", n1="done")
    assert [choice.partition for choice in backfill_work(*made[1:], selection).choices] == NIGHTS


def test_what_a_run_owes_is_taken_up_though_it_is_not_missing_any_more(made: DataSet) -> None:
    selection = Selection(only="missing", last=NIGHTS[1])
    run(made[2], selection.asked, "failed", n1="failed", n2="done")
    assert [choice.partition for choice in backfill_work(*made[1:], selection).choices] == [NIGHTS[0]]


def test_the_order_and_the_jobs_make_it_no_other_backfill() -> None:
    a = Selection(partitions=("b", "a", "b"), order="newest")
    assert a.asked == Selection(partitions=("a", "b")).asked
    assert a.asked != Selection(partitions=("a", "b"), only="all").asked


# Side by side


@pytest.mark.parametrize(
    ("extra", "far"),
    [("window: partition\n", 0), ("window: 3\n", 2), ("", None), ("window: all\n", None)],
)
def test_a_window_says_how_far_back_a_partition_reads(extra: str, far: int | None, tmp_path: Path) -> None:
    assert reach(data_set(tmp_path, extra)[1], "detect") == far
    assert reach(data_set(tmp_path, extra)[1], "relabel") == 0


def test_who_looks_for_duplicates_reads_all_that_came_before(tmp_path: Path) -> None:
    path, _, _ = data_set(tmp_path)
    path.write_text(path.read_text().replace("ingest: {", "ingest: {filters: [{kind: exact_duplicates}], "))
    assert reach(load(path)) is None


def test_partitions_clash_where_one_reads_what_the_other_makes(tmp_path: Path) -> None:
    clash = clashes(data_set(tmp_path, "window: 3\n")[1], "detect")
    assert clash(NIGHTS[0], NIGHTS[2])
    assert clash(NIGHTS[2], NIGHTS[0])
    assert not clash(NIGHTS[0], NIGHTS[3])
    assert clashes(data_set(tmp_path, "")[1], "detect")(NIGHTS[0], NIGHTS[4])
    assert not clashes(data_set(tmp_path)[1], "detect")(NIGHTS[0], NIGHTS[1])


def test_it_is_said_why_partitions_run_one_after_the_other(tmp_path: Path) -> None:
    _, curation, store = data_set(tmp_path, "")
    several, one = (backfill_work(curation, store, Selection(), jobs=jobs) for jobs in (2, 1))
    assert (in_turn(curation, several) or "").endswith("window is all")
    assert in_turn(curation, one) is None


# Estimates


def test_an_estimate_is_the_median_of_what_ran_the_same_stages_else_of_all(made: DataSet) -> None:
    _, curation, store = made
    ledger = Ledger(store)
    [choice] = look(Planner(curation, store), [NIGHTS[3]])
    assert estimates(ledger, [choice]) == [None]
    name = ledger.begin("backfill", {}, {}).run
    for number, seconds in enumerate((2.0, 4.0, 90.0)):
        ledger.record(name, Receipt(f"a{number}", "done", seconds=seconds, stages=choice.stages))
    for number in range(6):
        ledger.record(name, Receipt(f"b{number}", "done", seconds=1.0, stages=("report",)))
    [done] = look(Planner(curation, store), [NIGHTS[0]])
    assert estimates(ledger, [choice, done]) == [4.0, 1.0]
