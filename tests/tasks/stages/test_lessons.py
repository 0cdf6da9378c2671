"""Which teachers judge which night, and that it never depends on the order in which nights ran.

Run: .venv/bin/python -m pytest tests/tasks/stages/test_lessons.py
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.snapshot import Lineup
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.errors import StageFailed
from tasks.plan import Planner
from tasks.stages import STAGES
from tasks.stages.lessons import anchors
from tests.tasks.stages.harness import bring_up_to_date, contents, curation, forget_states, run

NIGHTS = {f"2026-01-{day:02d}": list("abc") * (20 if day == 1 else 3) for day in range(1, 8)}
"""60 rows on the first night, then nine a night."""

GROWTH = {"growth": 0.25}
ANCHORS = ["2026-01-01", "2026-01-03", "2026-01-06"]
"""60 rows, then 18 new ones are more than a quarter of 60, then 27 more than a quarter of 78."""


def lineup(rows: list[int]) -> Lineup:
    refs = [TableRef("rows", f"p{i:03d}", 1, n, "f", f"c{i}") for i, n in enumerate(rows)]
    return Lineup({"rows": {ref.partition: ref for ref in refs}})


def test_a_partition_is_an_anchor_once_enough_rows_have_come_since_the_last() -> None:
    assert anchors(lineup([100, 5, 4, 1, 3, 8, 2]), 0.1, None) == (0, 3, 5)
    assert anchors(lineup([100] * 12), 1.0, None) == (0, 1, 3, 7)


def test_without_growth_every_partition_is_an_anchor() -> None:
    assert anchors(lineup([5, 0, 3]), 0.0, None) == (0, 1, 2)
    assert anchors(lineup([]), 0.5, None) == ()


def test_a_window_that_never_grows_gets_new_teachers_all_the_same() -> None:
    assert anchors(lineup([10] * 9), 0.5, 4) == (0, 1, 2, 4, 6, 8)


def test_after_a_partition_without_rows_the_next_is_an_anchor() -> None:
    assert anchors(lineup([0, 0, 10, 1]), 0.5, None) == (0, 1, 2)


@given(st.lists(st.integers(0, 50), max_size=40), st.floats(0.01, 3), st.sampled_from([None, 1, 3, 10]))
def test_what_comes_later_changes_nothing_before(rows: list[int], growth: float, window: int | None) -> None:
    whole = anchors(lineup(rows), growth, window)
    for count in range(len(rows)):
        assert anchors(lineup(rows[:count]), growth, window) == tuple(a for a in whole if a < count)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every night has arrived and none was taught."""
    folder = tmp_path_factory.mktemp("ingested")
    bring_up_to_date(curation(folder, NIGHTS), NIGHTS, ["ingest"])
    return folder / "store"


def copy_of(ingested: Path, folder: Path, **changes: Any) -> Curation:
    shutil.copytree(ingested, folder / "store")
    return curation(folder, NIGHTS, **changes)


CASES: list[dict[str, Any]] = [
    {},
    {"refit": GROWTH},
    {"refit": {**GROWTH, "start": "warm"}},
    {"refit": {"start": "warm"}},
    {"refit": {**GROWTH, "start": "warm"}, "window": 3},
]


@pytest.mark.parametrize("changes", CASES)
def test_nights_in_any_order_and_any_loss_of_states_give_the_same_soft_labels(
    tmp_path: Path, ingested: Path, changes: dict[str, Any]
) -> None:
    nightly = copy_of(ingested, tmp_path / "nightly", **changes)
    fitted = bring_up_to_date(nightly, NIGHTS, ["teach"])
    if changes in CASES[1:3]:
        assert [night for night, parts in fitted.items() if parts != ["models"]] == ANCHORS
    other = copy_of(ingested, tmp_path / "other", **changes)
    shuffled = list(NIGHTS)
    random.Random(7).shuffle(shuffled)
    for number, night in enumerate(shuffled):
        bring_up_to_date(other, [night], ["teach"])
        if number == 2:
            forget_states(other)
    assert contents(other) == contents(nightly)


def test_warm_teachers_are_others_than_fresh_ones(tmp_path: Path, ingested: Path) -> None:
    fresh, warm = (copy_of(ingested, tmp_path / str(i), **CASES[i]) for i in (1, 2))
    for made in (fresh, warm):
        bring_up_to_date(made, ANCHORS[:2], ["teach"])
    assert differing(fresh, warm) == {f"soft_labels {ANCHORS[1]}"}


def differing(a: Curation, b: Curation) -> set[str]:
    return {key for key, content in contents(a).items() if contents(b)[key] != content}


def test_a_night_that_arrives_late_ends_in_the_tables_of_a_run_from_scratch(tmp_path: Path) -> None:
    nights = {night: labels for night, labels in NIGHTS.items() if night < "2026-01-05"}
    scratch, late = (
        curation(tmp_path / name, nights, refit={**GROWTH, "start": "warm"}) for name in ("scratch", "late")
    )
    bring_up_to_date(scratch, nights)
    bring_up_to_date(late, [night for night in nights if night != "2026-01-02"])
    assert differing(late, scratch)
    bring_up_to_date(late, nights)
    assert contents(late) == contents(scratch)


def test_a_night_with_a_class_that_its_anchor_lacks_gets_teachers_who_know_it(tmp_path: Path) -> None:
    new = list("abcdddddddddd")
    nights = {"2026-01-01": list("abc") * 20, "2026-01-02": new, "2026-01-03": list("abc"), "2026-01-04": new}
    made = curation(tmp_path, nights, refit={"growth": 5.0})
    fitted = bring_up_to_date(made, nights, ["ingest", "teach"])
    assert [night for night, parts in fitted.items() if parts == ["models"]] == ["2026-01-03"]
    store = Store(made.store, made.dataset)
    for night in ("2026-01-02", "2026-01-04"):
        ref = store.ref("soft_labels", night)
        assert ref is not None
        said = store.read(ref).to_pylist()
        truly = dict(zip(*store.read(store.refs("rows"), ["id", "label"]).to_pydict().values(), strict=True))
        right = [row["classes"][0] == 3 for row in said if row["teacher"] == "mean" and truly[row["id"]] == 3]
        assert np.mean(right) > 0.7


def test_a_first_night_without_labels_does_not_stop_those_after_it(tmp_path: Path) -> None:
    nights = {"2026-01-01": [""] * 30, "2026-01-02": list("abc") * 5, "2026-01-03": list("abc") * 20}
    for start in ("fresh", "warm"):
        made = curation(tmp_path / start, nights, refit={"growth": 1.0, "start": start})
        run(made, "2026-01-01", "ingest")
        with pytest.raises(StageFailed, match="no labelled training row"):
            run(made, "2026-01-01", "teach")
        fitted = bring_up_to_date(made, ["2026-01-02", "2026-01-03"], ["ingest", "teach"])
        assert all(len(parts) == 4 for parts in fitted.values())


def test_teachers_that_are_not_trained_look_at_no_other_night(tmp_path: Path, ingested: Path) -> None:
    path = tmp_path / "given.parquet"
    made = copy_of(
        ingested,
        tmp_path,
        teachers=[{"kind": "precomputed", "path": str(path), "teachers": ["p"]}],
        detect=[],
        relabel=None,
        reinforce=None,
        distill=None,
    )
    store = Store(made.store, made.dataset)
    ids = store.read(store.refs("rows"), ["id"])["id"]
    pq.write_table(pa.table({"id": ids, "p": [[1.0, 0.0, 0.0, 0.0]] * len(ids)}), path)
    run(made, "2026-01-05", "teach")
    planner = Planner(made, store)
    plan = planner.stage(STAGES["teach"], "2026-01-05")
    assert plan.verdict == "up to date"
    assert plan.inputs is not None
    assert [len(window) for window in plan.inputs.values() if window] == [1]


def test_a_commit_says_which_states_of_other_nights_it_needs(tmp_path: Path, ingested: Path) -> None:
    made = copy_of(ingested, tmp_path, refit=GROWTH)
    bring_up_to_date(made, ["2026-01-05"], ["teach"])
    store = Store(made.store, made.dataset)
    ref = store.ref("soft_labels", "2026-01-05")
    assert ref is not None
    noted = store.info(ref)["states"]
    there = [path.relative_to(Path(store.path, "_states")).as_posix() for path in states_of(store)]
    assert {name.partition("/")[0] for name in noted if "models" not in name} == {"2026-01-03"}
    for name in noted:
        assert any(path.startswith(name) for path in there)


def states_of(store: Store) -> list[Path]:
    return sorted(Path(store.path, "_states").rglob("*.safetensors"))
