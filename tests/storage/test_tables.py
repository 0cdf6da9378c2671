"""Schemas and `conform`. Run with: python -m pytest tests/storage/test_tables.py"""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from storage.errors import StoreError
from storage.tables import TABLES, conform, file_schema, schema_of
from tests.storage.helpers import metrics


def test_every_table_has_a_partition_and_an_id_that_are_never_null() -> None:
    for schema in TABLES.values():
        assert schema.names[:2] == ["partition", "id"]
        assert not schema.field("partition").nullable
        assert not schema.field("id").nullable


@pytest.mark.parametrize("name", TABLES)
def test_delta_keeps_every_type_as_it_is(name: str, tmp_path: object) -> None:
    made = DeltaTable.create(str(tmp_path), TABLES[name])
    kept = pa.schema(made.schema().to_arrow())
    for field in TABLES[name]:
        assert _types(kept.field(field.name).type) == _types(field.type)


def _types(kind: pa.DataType) -> object:
    """A type without the names and nullability that Parquet and Arrow give to list items."""
    if pa.types.is_map(kind):
        return "map", _types(kind.key_type), _types(kind.item_type)
    if pa.types.is_list(kind):
        return "list", _types(kind.value_type)
    if pa.types.is_struct(kind):
        return "struct", [(field.name, _types(field.type)) for field in kind]
    return str(kind).replace("large_", "").replace("_view", "")


def test_conform_adds_missing_columns_as_nulls_and_orders_and_casts_the_others() -> None:
    given = pa.table(
        {
            "split": ["train"],
            "position": pa.array([7], pa.int8()),
            "id": pa.array(["a"], pa.large_string()),
            "source": ["s"],
            "content_hash": ["h"],
            "embedding": pa.array([[0.5]], pa.large_list(pa.float64())),
            "partition": ["p"],
        }
    )
    made = conform(given, "rows")
    assert made.schema == file_schema("rows")
    assert made["position"].to_pylist() == [7]
    assert made["embedding"].to_pylist() == [[0.5]]
    assert made["label"].to_pylist() == [None]


def test_conform_keeps_a_table_of_no_rows() -> None:
    made = conform(metrics([]), "metrics")
    assert made.num_rows == 0
    assert made.schema == file_schema("metrics")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.append_column("colour", pa.array(["red"])), "metrics has no column colour"),
        (lambda t: t.drop_columns(["unit"]), "metrics.unit is missing"),
        (lambda t: t.set_column(0, "id", pa.array([None], pa.string())), "metrics.id has 1 nulls"),
        (lambda t: t.set_column(3, "value", pa.array(["much"])), "metrics.value must be double, not string"),
    ],
)
def test_conform_names_the_column_that_does_not_fit(change: object, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        conform(change(metrics(["a"])), "metrics")  # type: ignore[operator]


def test_a_number_that_does_not_fit_its_type_is_refused_and_not_wrapped() -> None:
    table = pa.table({"id": ["a"], "detector": ["d"], "score": [0.5], "is_issue": [True], "p_error": [0.1]})
    table = table.append_column("suggested_label", pa.array([2**40]))
    with pytest.raises(StoreError, match=r"issues\.suggested_label must be int32"):
        conform(table, "issues")


def test_an_unknown_table_is_refused_with_the_list_of_tables() -> None:
    with pytest.raises(StoreError, match=r"'labls' is no table .* soft_labels"):
        schema_of("labls")
