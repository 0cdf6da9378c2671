"""A data set keeps its task, and only others than single_label have its columns.

Run: python -m pytest tests/storage/test_task.py
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.compact import compact
from storage.content import content_of
from storage.doctor import examine
from storage.errors import StoreError
from storage.query import connect, select
from storage.store import Store
from storage.tables import OF_TASK, TABLES, conform, file_schema
from storage.task import settle, task_of
from tests.storage.helpers import labels, put, rows


def as_before(table: str) -> pa.Schema:
    """A table's schema from before there were other tasks."""
    return pa.schema([field for field in TABLES[table] if field.name not in OF_TASK[table]])


def test_a_data_set_is_of_single_label_until_it_is_settled(store: Store) -> None:
    assert task_of(store) == "single_label"
    settle(store, "regression")
    assert task_of(Store(store.root, store.dataset)) == "regression"
    settle(store, "regression")


def test_a_task_holds_for_good(store: Store) -> None:
    settle(store, "regression")
    with pytest.raises(StoreError, match="is a data set of regression, and keeps that task; give the one of"):
        settle(store, "multi_label")


def test_a_data_set_that_has_rows_has_its_task_already(store: Store) -> None:
    put(store, "rows", "p", rows(["a"], [0]))
    with pytest.raises(StoreError, match="is a data set of single_label"):
        settle(store, "regression")
    assert not list(Path(store.path).glob("_classes/task"))


@pytest.mark.parametrize("table", OF_TASK)
def test_columns_of_other_tasks_may_be_null_and_stand_last(table: str) -> None:
    names = [field.name for field in TABLES[table]]
    assert set(names[len(names) - len(OF_TASK[table]) :]) == OF_TASK[table]
    assert all(TABLES[table].field(name).nullable for name in OF_TASK[table])


def test_single_label_is_stored_as_it_was_before_there_were_other_tasks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = put(store, "rows", "p", rows(["a", "b"], [0, 1]))
    [file] = Path(store.path, "rows", "partition=p").glob("*.parquet")
    old = Store(store.root, "old").open(create=True)
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "rows", as_before("rows"))
        patch.setattr("storage.tables.OF_TASK", {})
        before = put(old, "rows", "p", rows(["a", "b"], [0, 1]))
    assert now.content == before.content
    assert file.read_bytes() == (Path(old.path) / "rows" / "partition=p" / file.name).read_bytes()


def test_the_content_of_a_column_counts_once_it_holds_something(store: Store) -> None:
    some = conform(pa.table(labels(["a", "b"], [0, 1], [0, 1])), "labels")
    at = some.schema.get_field_index("target")
    more = some.set_column(at, some.schema.field(at), pa.array([None, 0.5], pa.float64()))
    schema, optional = file_schema("labels"), OF_TASK["labels"]
    without = content_of(schema, some.to_batches(), optional)
    assert without == content_of(as_before("labels").remove(0), some.to_batches())
    assert without != content_of(schema, more.to_batches(), optional)


def test_files_that_lack_a_column_are_read_beside_those_that_have_it(store: Store) -> None:
    settle(store, "regression")
    put(store, "rows", "p", rows(["a"], [None]))
    known = rows(["b"], [None]) | {"target_truth": pa.array([0.5])}
    put(store, "rows", "q", known)
    with connect(store) as connection:
        found = select(connection, "SELECT id, target_truth FROM rows ORDER BY id").to_pylist()
    assert found == [{"id": "a", "target_truth": None}, {"id": "b", "target_truth": 0.5}]
    elsewhere = pl.scan_delta(f"{store.path}/rows").sort("id").collect()
    assert elsewhere["target_truth"].to_list() == [None, 0.5], "a reader that is not ours"


def test_merging_files_keeps_what_they_hold(store: Store) -> None:
    settle(store, "regression")
    parts = [rows(["a"], [None]), rows(["b"], [None]) | {"target_truth": pa.array([0.5])}]
    for at, part in enumerate(parts):
        store.write_shard("rows", "p", "f", at, at + 1, pa.table(part))
    store.commit("rows", "p", "f", [(0, 1), (1, 2)], [], {}, None)
    assert [(merge.before, merge.after) for merge in compact(store, dry_run=False)] == [(2, 1)]
    ref = store.ref("rows", "p")
    assert ref is not None
    assert store.read([ref], ["target_truth"])["target_truth"].to_pylist() == [None, 0.5]


def test_sets_and_numbers_are_in_the_story(store: Store) -> None:
    from storage.classes import extend

    settle(store, "multi_label")
    extend(store, ["cat", "dog"])
    given = rows(["a"], [None]) | {"labels": pa.array([[0, 1]], pa.list_(pa.int32()))}
    put(store, "rows", "p", given)
    with connect(store) as connection:
        [row] = select(connection, "SELECT given_names, label_names, truth_names FROM story").to_pylist()
        [own] = select(connection, "SELECT label_names, truth_names FROM rows").to_pylist()
    assert row == {"given_names": ["cat", "dog"], "label_names": None, "truth_names": None}
    assert own == {"label_names": ["cat", "dog"], "truth_names": None}


def test_the_doctor_finds_nothing_in_a_store_of_either_age(store: Store) -> None:
    put(store, "rows", "p", rows(["a"], [0]))
    assert [finding.code for finding in examine(store, deep=True)] == []
    [file] = Path(store.path, "rows", "partition=p").glob("*.parquet")
    assert not OF_TASK["rows"] & set(pq.read_schema(file).names)
