"""A table that gains columns, or a struct that gains fields, stays what it was: its old files are read,
verified, merged and queried beside new ones. Run with: python -m pytest tests/storage/test_grown.py"""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage import compact
from storage.content import content_of
from storage.doctor import examine
from storage.query import connect, select
from storage.store import Store
from storage.tables import GROWN, TABLES, TRANSFORM, conform, file_schema
from tests.storage.helpers import put

FIRST = (
    *("top", "left", "height", "width", "flip", "brightness", "contrast", "saturation"),
    *("noise_seed", "noise_scale"),
)
OLD_TRANSFORM = pa.struct([field for field in TRANSFORM if field.name in FIRST])
OLD = pa.schema(
    [
        field.with_type(OLD_TRANSFORM) if field.name == "transform" else field
        for field in TABLES["reinforcements"]
        if field.name != "region"
    ]
)


def draws(first: int, stop: int, **changes: Any) -> pa.Table:
    """Rows as `crops` stores them; changes go into `transform`."""
    n = stop - first
    numbers = dict.fromkeys(FIRST[:4], 3) | {"flip": True, "brightness": 0.5, "contrast": 1.5} | changes
    return pa.table(
        {
            "id": [f"row-{i}" for i in range(first, stop)],
            "draw": pa.array([0] * n, pa.int16()),
            "transform": pa.array([numbers] * n, TRANSFORM if changes else OLD_TRANSFORM),
            "classes": pa.array([[1, 0]] * n, pa.list_(pa.int32())),
            "weights": pa.array([[30000, 2767]] * n, pa.list_(pa.int16())),
            "tail": pa.array([0] * n, pa.int16()),
        }
    )


@pytest.fixture
def grown(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose reinforcements were written by a version that knew fewer of their columns."""
    with monkeypatch.context() as past:
        past.setitem(TABLES, "reinforcements", OLD)
        past.delitem(GROWN, "reinforcements")
        for start, stop in ((0, 2), (2, 4)):
            store.write_shard("reinforcements", "p", "f1", start, stop, draws(start, stop))
        store.commit("reinforcements", "p", "f1", [(0, 2), (2, 4)], [], {}, None)
    assert set(pq.read_schema(store.file_uris("reinforcements")[0]).field("transform").type.names) == set(
        FIRST
    )
    return Store(store.root, store.dataset)


def test_what_old_files_lack_reads_as_nulls(grown: Store) -> None:
    table = grown.read(grown.refs("reinforcements"))
    assert table.schema == file_schema("reinforcements")
    row = table.to_pylist()[3]
    assert (row["id"], row["region"], row["transform"]["height"]) == ("row-3", None, 3)
    assert row["transform"]["partner_draw"] is None


def test_the_same_values_have_the_hash_they_had(grown: Store) -> None:
    [before] = grown.refs("reinforcements")
    for start, stop in ((0, 2), (2, 4)):
        grown.write_shard("reinforcements", "q", "f1", start, stop, draws(start, stop))
    after = grown.commit("reinforcements", "q", "f1", [(0, 2), (2, 4)], [], {}, before.version)
    assert after.content == before.content
    other = put(grown, "reinforcements", "r", draws(0, 4, partner_draw=2))
    assert other.content != before.content


def test_a_younger_column_counts_where_it_holds_a_value_and_in_no_other_table() -> None:
    plain = conform(draws(0, 2), "reinforcements")
    region = plain.column_names.index("region")
    named = plain.set_column(region, plain.schema.field("region"), pa.array(["hard", None], pa.string()))
    younger = GROWN["reinforcements"]

    def hashed(table: pa.Table) -> str:
        return content_of(table.schema, table.to_batches(), younger)

    assert hashed(named) != hashed(plain)
    assert hashed(plain) == hashed(plain.drop_columns(["region"]))
    assert content_of(plain.schema, plain.to_batches()) != hashed(plain)


def test_old_files_are_sound_and_can_be_merged(grown: Store) -> None:
    assert [finding.code for finding in examine(grown, deep=True)] == []
    [before] = grown.refs("reinforcements")
    assert compact.compact(grown, dry_run=False) == [compact.Merge("reinforcements", "p", 2, 1)]
    [after] = grown.refs("reinforcements")
    assert (after.content, after.rows) == (before.content, 4)
    assert [finding.code for finding in examine(grown, deep=True)] == []


def test_a_commit_gives_the_delta_table_its_new_columns_once(grown: Store) -> None:
    put(grown, "reinforcements", "q", draws(4, 5, partner_draw=2))
    versions = grown.version("reinforcements")
    put(grown, "reinforcements", "r", draws(5, 6, partner_draw=1))
    assert grown.version("reinforcements") == (versions or 0) + 1
    kept = pa.schema(DeltaTable(f"{grown.path}/reinforcements").schema().to_arrow())
    assert set(kept.names) == {*TABLES["reinforcements"].names, "content"}
    assert set(kept.field("transform").type.names) == set(TRANSFORM.names)


def test_sql_and_polars_see_old_and_new_files_as_one_table(grown: Store) -> None:
    put(grown, "reinforcements", "q", draws(4, 5, partner_draw=2))
    sql = "SELECT transform.top AS top, transform.partner_draw AS drawn FROM reinforcements ORDER BY id"
    rows = select(connect(grown, "live"), sql).to_pylist()
    assert [row["drawn"] for row in rows] == [None] * 4 + [2]
    assert {row["top"] for row in rows} == {3}
    frame = pl.scan_delta(f"{grown.path}/reinforcements").sort("id").collect()
    assert frame["transform"].struct.field("partner_draw").to_list() == [None] * 4 + [2]


def test_sql_sees_old_files_alone(grown: Store) -> None:
    sql = "SELECT transform.partner_draw AS drawn, region, p FROM reinforcements LIMIT 1"
    [row] = select(connect(grown, "live"), sql).to_pylist()
    assert (row["drawn"], row["region"]) == (None, None)
