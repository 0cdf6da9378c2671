"""Parquet files as the store writes and reads them: the same table, the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from storage.errors import StoreError

ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 1 << 17


def write(table: pa.Table, stream: pa.NativeFile) -> None:
    """Writes `table`. Row groups hold about 32 MiB, so that a reader needs little memory at a time."""
    row_bytes = max(sum(map(_bytes, table.columns)) // max(table.num_rows, 1), 1)
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(
        table.combine_chunks(),
        stream,
        row_group_size=max(min(ROW_GROUP_BYTES // row_bytes, ROW_GROUP_ROWS), 1),
        compression="zstd",
        use_dictionary=strings,
        store_schema=False,
    )


def _bytes(column: pa.ChunkedArray) -> int:
    """About the size of a column, from its values alone: Arrow's own count depends on their layout."""
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return pc.sum(pc.binary_length(column)).as_py() or 0
    if pa.types.is_list(column.type):
        return 4 * (pc.sum(pc.list_value_length(column)).as_py() or 0)
    return 8 * len(column)


def opened(path: str, filesystem: FileSystem) -> pq.ParquetFile:
    """The file, its footer read. Raises StoreError when it is missing or damaged."""
    try:
        return pq.ParquetFile(path, filesystem=filesystem)
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; run its partition again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and run its partition again") from error


def pieces(
    path: str,
    filesystem: FileSystem,
    schema: pa.Schema,
    partition: str = "",
    span: tuple[int, int | None] = (0, None),
) -> Iterator[pa.Table]:
    """The file's rows start..stop of `span`, a row group at a time, with the columns of `schema`.

    `partition` fills the column of that name, which the file itself does not have.
    """
    start, stop = span
    stored = [name for name in schema.names if name != "partition"]
    with opened(path, filesystem) as file:
        before = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            begin, end = max(start - before, 0), rows if stop is None else min(stop - before, rows)
            if begin < end:
                try:
                    piece = file.read_row_group(group, columns=stored or ["id"])
                except StoreError:
                    raise
                except OSError as error:
                    raise StoreError(
                        f"{path} is damaged ({error}); delete it and run its partition again"
                    ) from error
                yield _with_schema(piece.slice(begin, end - begin), schema, partition)
            before += rows


def _with_schema(piece: pa.Table, schema: pa.Schema, partition: str) -> pa.Table:
    columns = [
        pa.repeat(partition, piece.num_rows)
        if field.name == "partition"
        else pa.nulls(piece.num_rows, field.type)  # a column that is younger than the file
        if field.nullable and field.name not in piece.column_names
        else piece[field.name].cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
