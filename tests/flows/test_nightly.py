"""What a night does, and what it leaves. Run: pytest tests/flows/test_nightly.py"""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.nightly import decide, left_alone
from storage.ledger import Ledger, Receipt
from storage.store import Store
from tasks.config import Curation, load
from tests.flows.nights import NIGHTS, curate, data_set

DataSet = tuple[Path, Curation, Store]


@pytest.fixture
def made(tmp_path: Path) -> DataSet:
    found = data_set(tmp_path)
    curate(*found[1:], *NIGHTS[:3])
    return found


def changed(made: DataSet, restate: str) -> tuple[Curation, Store]:
    """Another threshold since, so that every curated night is stale."""
    path = made[0]
    text = path.read_text().replace("kind: threshold", "kind: threshold, fix_at: 0.9")
    path.write_text(f"{text}restate: {restate}\n")
    return load(path), made[2]


def doing(curation: Curation, store: Store) -> list[str]:
    return [choice.partition for choice in decide(curation, store).work.choices]


def test_after_an_outage_one_night_does_all_that_arrived_meanwhile_oldest_first(made: DataSet) -> None:
    assert doing(*made[1:]) == NIGHTS[3:]


def test_with_all_curated_there_is_nothing_to_do(made: DataSet) -> None:
    curate(*made[1:], *NIGHTS[3:])
    night = decide(*made[1:])
    assert night.work.choices == []
    assert left_alone(made[1], night) is None


def test_old_nights_that_would_be_made_otherwise_are_left_and_told(made: DataSet) -> None:
    curation, store = changed(made, "never")
    night = decide(curation, store)
    assert [choice.partition for choice in night.work.choices] == NIGHTS[3:]
    assert night.left == NIGHTS[:3]
    assert left_alone(curation, night) == (
        "3 curated partitions would be made otherwise now and are left, as restate is never; "
        "`winnow backfill --only stale` redoes them"
    )


def test_restate_always_redoes_them(made: DataSet) -> None:
    night = decide(*changed(made, "always"))
    assert [choice.partition for choice in night.work.choices] == NIGHTS
    assert night.left == []


def test_restate_beyond_a_share_redoes_those_of_which_more_changed(made: DataSet) -> None:
    # A changed method counts as a change of everything.
    assert doing(*changed(made, "{stale_over: 0.5}")) == NIGHTS


def test_late_rows_in_an_old_night_are_taken_up_whatever_restate_says(tmp_path: Path) -> None:
    for night in NIGHTS[:2]:
        (tmp_path / f"{night}.csv").write_text("x,y,label\n1,2,cat\n2,3,dog\n")
    path = tmp_path / "pets.yaml"
    path.write_text(
        "dataset: pets\nstore: ./store\nclasses: [cat, dog]\nwindow: partition\n"
        "source: {kind: csv, path: './{partition}.csv', label: label, features: [x, y]}\n"
    )
    curation = load(path)
    store = Store(curation.store, curation.dataset).open(create=True)
    curate(curation, store, *NIGHTS[:2])
    assert doing(curation, store) == []
    with (tmp_path / f"{NIGHTS[0]}.csv").open("a") as file:
        file.write("3,4,cat\n")
    [choice] = decide(curation, store).work.choices
    assert (choice.partition, choice.reason) == (NIGHTS[0], "ingest: the input changed")


def test_a_night_that_failed_is_tried_again_and_one_that_a_gate_held_is_not(made: DataSet) -> None:
    """Held means that every stage is there; trying again would hold it again, every night."""
    ledger = Ledger(made[2])
    run = ledger.begin("nightly", {}, {NIGHTS[2]: "", NIGHTS[3]: ""}).run
    ledger.record(run, Receipt(NIGHTS[2], "failed", "release 3 of 2026-01-03 is held"))
    ledger.record(run, Receipt(NIGHTS[3], "failed", "the file is truncated"))
    ledger.end(run, "failed")
    assert doing(*made[1:]) == NIGHTS[3:]


def test_a_night_that_was_killed_before_its_release_is_done_again(made: DataSet) -> None:
    Ledger(made[2]).begin("nightly", {}, {NIGHTS[2]: ""})
    assert doing(*made[1:]) == NIGHTS[2:]
