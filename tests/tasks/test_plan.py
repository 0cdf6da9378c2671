"""What would run, and why, on a store whose tables were put there by hand.

Run: pytest tests/tasks/test_plan.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.classes import extend
from storage.store import Store
from tasks.config import Curation, load
from tasks.plan import Plan, Planner, enabled
from tasks.stages import STAGES
from tests.flows.cli_stores import night_of

DATES = [f"2026-01-{day:02d}" for day in range(1, 5)]
CURATION = """\
dataset: digits
store: ./store
window: {window}
classes: [cat, dog, owl]
source: {{kind: csv, path: "in/{{partition}}.csv", label: label, features: [x]}}
ingest: {{encoder: {{kind: features}}}}
teach: {{teachers: [{{kind: linear, c: {c}}}]}}
detect: [{{kind: confident_learning}}]
relabel: {{kind: threshold}}
"""


def curation(folder: Path, window: str = "all", c: float = 1.0) -> Curation:
    path = folder / "digits.yaml"
    (folder / "in").mkdir(exist_ok=True)
    for date in DATES:
        if not (file := folder / "in" / f"{date}.csv").exists():
            file.write_text("x,label\n1,cat\n")
    path.write_text(CURATION.format(window=window, c=c))
    return load(path)


def make(loaded: Curation, store: Store, partition: str, rows: pa.Table | None = None) -> None:
    """Every stage of a partition as its run would commit it; `rows` in place of three invented ones."""
    made = night_of(1000 * int(partition[-2:]))
    for stage in enabled(loaded):
        planner = Planner(loaded, store)
        plan = planner.stage(stage, partition)
        job = planner.job(plan)
        assert job is not None
        for table in stage.tables:
            data = rows if rows is not None and table == "rows" else made[table]
            base = store.version(table)
            store.write_shard(table, partition, job.fingerprint, 0, data.num_rows, data)
            spans, info = [(0, data.num_rows)], {"parts": plan.parts}
            store.commit(table, partition, job.fingerprint, spans, job.parents, info, base)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    loaded = curation(tmp_path)
    store = Store(loaded.store, loaded.dataset).open(create=True)
    extend(store, loaded.vocabulary or ())
    return store


def verdicts(plans: list[Plan]) -> dict[str, str]:
    return {plan.stage: plan.verdict for plan in plans}


def test_what_was_made_from_what_is_there_now_is_up_to_date(tmp_path: Path, store: Store) -> None:
    loaded = curation(tmp_path)
    for date in DATES[:2]:
        make(loaded, store, date)
    for date in DATES[:2]:
        assert set(verdicts(Planner(loaded, store).partition(date)).values()) == {"up to date"}
    assert verdicts(Planner(loaded, store).partition(DATES[2]))["ingest"] == "runs"


def test_a_later_partition_makes_no_earlier_one_stale(tmp_path: Path, store: Store) -> None:
    loaded = curation(tmp_path)
    for date in (DATES[0], DATES[1], DATES[2]):
        make(loaded, store, date)
    assert set(verdicts(Planner(loaded, store).partition(DATES[0])).values()) == {"up to date"}


def test_an_earlier_partition_that_comes_late_makes_later_ones_stale_and_the_plan_says_why(
    tmp_path: Path, store: Store
) -> None:
    loaded = curation(tmp_path)
    make(loaded, store, DATES[0])
    make(loaded, store, DATES[2])
    make(loaded, store, DATES[1])
    plans = {plan.stage: plan for plan in Planner(loaded, store).partition(DATES[2])}
    assert plans["ingest"].verdict == "up to date"
    assert (plans["teach"].verdict, plans["teach"].changed) == ("runs", ("rows",))
    assert plans["teach"].reason == "rows changed"
    assert plans["detect"].verdict == "follows"


def test_with_windows_of_one_partition_nights_do_not_touch_each_other(tmp_path: Path, store: Store) -> None:
    loaded = curation(tmp_path, window="partition")
    for date in (DATES[0], DATES[2], DATES[1]):
        make(loaded, store, date)
    for date in DATES[:3]:
        found = verdicts(Planner(loaded, store).partition(date))
        assert {found[stage] for stage in ("ingest", "teach", "detect", "relabel")} == {"up to date"}


def test_a_changed_parameter_is_named_and_counts_as_all_rows(tmp_path: Path, store: Store) -> None:
    make(curation(tmp_path), store, DATES[0])
    planner = Planner(curation(tmp_path, c=0.5), store)
    plans = {plan.stage: plan for plan in planner.partition(DATES[0])}
    assert (plans["teach"].verdict, plans["teach"].reason) == ("runs", "its methods changed")
    assert planner.share_changed(DATES[0]) == 1.0


def test_the_share_changed_is_that_of_the_rows_in_partitions_that_moved(tmp_path: Path, store: Store) -> None:
    """Nights of 3 rows; one comes late into a window that now has 9: a third of its rows are new."""
    loaded = curation(tmp_path)
    for date in (DATES[0], DATES[2]):
        make(loaded, store, date)
    assert Planner(loaded, store).share_changed(DATES[2]) == 0.0
    make(loaded, store, DATES[1])
    assert Planner(loaded, store).share_changed(DATES[2]) == pytest.approx(1 / 3)
    assert Planner(loaded, store).share_changed(DATES[0]) == 0.0
    assert Planner(loaded, store).share_changed(DATES[3]) == 1.0


def test_rows_that_were_made_again_with_the_same_content_have_not_moved(tmp_path: Path, store: Store) -> None:
    loaded = curation(tmp_path)
    for date in (DATES[0], DATES[1]):
        make(loaded, store, date)
    data = night_of(1000)["rows"]
    store.write_shard("rows", DATES[0], "again", 0, 3, data)
    store.commit("rows", DATES[0], "again", [(0, 3)], [], {}, store.version("rows"))
    plans = verdicts(Planner(loaded, store).partition(DATES[1]))
    assert plans["teach"] == "up to date"


def test_a_commit_notes_as_much_of_a_window_of_many_as_of_one_of_two(tmp_path: Path, store: Store) -> None:
    loaded = curation(tmp_path)
    for date in DATES:
        make(loaded, store, date)
    sizes: dict[str, int] = {}
    for commit in store.history("soft_labels"):
        if "parents" in commit:
            parents: list[dict[str, Any]] = json.loads(commit["parents"])
            sizes[commit["partition"]] = len(parents)
    assert set(sizes.values()) == {1}
    newest = json.loads(store.history("soft_labels", 1)[0]["parents"])[0]
    assert newest["window"]["partitions"] == 4


def test_planning_a_partition_costs_the_same_among_few_and_among_many(tmp_path: Path, store: Store) -> None:
    """A window of all partitions is not walked: counted in references touched, not in seconds."""
    touched = 0

    class Counted(list[Any]):
        def __getitem__(self, key: Any) -> Any:
            nonlocal touched
            found = super().__getitem__(key)
            touched += len(found) if isinstance(key, slice) else 1
            return found

    loaded = curation(tmp_path)
    make(loaded, store, DATES[0])
    planner = Planner(loaded, store)
    real = planner.snapshot.refs
    rows = real("rows")[DATES[0]]
    many = {f"2025-{n:04d}": rows for n in range(200)} | {DATES[0]: rows}
    planner.snapshot._tables["rows"] = dict(sorted(many.items()))
    lineup = planner.snapshot.lineup("rows")
    lineup.names, lineup.refs["rows"] = Counted(lineup.names), Counted(lineup.refs["rows"])
    for partition in many:
        planner.stage(STAGES["teach"], partition)
    assert touched < 200 * 40
