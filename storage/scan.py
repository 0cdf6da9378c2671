"""SQL that reads a table's Parquet files with DuckDB."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from storage.tables import GROWN, OF_TASK, schema_of

_NAMES = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
}

PARTITION = "regexp_extract(filename, '/partition=([^/]+)/[^/]*$', 1)"


def quoted(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def literal(texts: Sequence[str]) -> str:
    """Strings as an SQL list literal."""
    return "[" + ", ".join(map(quoted, texts)) + "]::VARCHAR[]"


def query(table: str, files: Sequence[str], of_task: bool) -> str:
    """A SELECT of the table's columns from its data files; of no rows when there are no files.

    `of_task`: whether the columns of OF_TASK hold anything. They are in some files then and not in others, so
    that every file is opened for its columns; else they are nulls, and none is.

    `partition` is taken from the folder's name: DuckDB's own reading of such names would make a
    DATE of it, and stumbles over a name with an equals sign.
    """
    nulls = ", ".join(f'NULL::{type_name(field.type)} AS "{field.name}"' for field in schema_of(table))
    nothing = f"SELECT {nulls} WHERE false"
    if not files:
        return nothing
    unheld = OF_TASK.get(table, frozenset())
    if table in GROWN or (of_task and unheld):
        return (
            f"{nothing} UNION ALL BY NAME SELECT {PARTITION} AS partition, * EXCLUDE (filename) "
            f"FROM read_parquet({literal(files)}, hive_partitioning = false, filename = true, "
            "union_by_name = true)"
        )
    columns = ", ".join(
        f'NULL::{type_name(field.type)} AS "{field.name}"' if field.name in unheld else f'"{field.name}"'
        for field in schema_of(table)
        if field.name != "partition"
    )
    return (
        f"SELECT {PARTITION} AS partition, {columns} "
        f"FROM read_parquet({literal(files)}, hive_partitioning = false, filename = true)"
    )


def type_name(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type of our tables."""
    if pa.types.is_map(kind):
        return f"MAP({type_name(kind.key_type)}, {type_name(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{type_name(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {type_name(field.type)}' for field in kind) + ")"
    return _NAMES[kind]
