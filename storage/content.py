"""What a partition contains, as one string: equal values, equal string, however dealt into files.

Each column is a stream of values, and a nested column a few streams side by side: validity, list
lengths, leaf values. Streams are fed batch by batch and only joined at the end, so neither row
groups nor files leave a trace; bytes beneath a null are masked, since Arrow leaves them undefined.
BLAKE2b reads about a gigabyte a second and Parquet decoding less, so this costs one read.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BYTES = 16


class _Column:
    """The running hashes of one column, by stream name."""

    def __init__(self) -> None:
        self.streams: dict[str, hashlib.blake2b] = {}
        self.held: set[str] = set()
        """Paths of which some value is no null."""

    def feed(self, path: str, array: pa.Array) -> None:
        """Add the values of `array` to the streams under `path`."""
        self._bytes(path + ":valid", array.is_valid().cast(pa.uint8()))
        if array.null_count < len(array):
            self.held.add(path)
        kind = array.type
        if pa.types.is_map(kind):
            self.feed(path + ":map", _entries(array))
        elif pa.types.is_list(kind):
            self._bytes(path + ":length", pc.list_value_length(array).fill_null(0))
            self.feed(path + ".item", array.flatten())
        elif pa.types.is_struct(kind):
            for field, child in zip(kind, array.flatten(), strict=True):
                self.feed(f"{path}.{field.name}", child)
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            present = array.drop_null()
            self._bytes(path + ":length", pc.binary_length(present))
            self._stream(path + ":value").update(_characters(present))
        else:
            present = array.drop_null()
            whole = pa.types.is_timestamp(kind) or pa.types.is_boolean(kind)
            self._bytes(path + ":value", present.cast(pa.int64()) if whole else present)

    def _stream(self, name: str) -> hashlib.blake2b:
        return self.streams.setdefault(name, hashlib.blake2b(digest_size=BYTES))

    def _bytes(self, name: str, array: pa.Array) -> None:
        values = array.to_numpy(zero_copy_only=False)
        if sys.byteorder == "big":
            values = values.byteswap()
        self._stream(name).update(np.ascontiguousarray(values).view(np.uint8).data)


def _entries(array: pa.Array) -> pa.Array:
    """A map array as lists of (key, value); Arrow's own cast loses a null in a sliced array."""
    entries = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
    offsets = pa.array(array.offsets.to_numpy())
    return pa.ListArray.from_arrays(offsets, entries, mask=array.is_null())


def _characters(array: pa.Array) -> memoryview:
    """The bytes of a string or binary array without nulls, one value after the other."""
    if not len(array):
        return memoryview(b"")
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)
    first, last = int(ends[array.offset]), int(ends[array.offset + len(array)])
    return memoryview(data)[first:last] if last > first else memoryview(b"")


def content_of(schema: pa.Schema, batches: Iterable[pa.RecordBatch], grown: Collection[str] = ()) -> str:
    """32 hexadecimal digits of the values in `batches`, which all have the columns of `schema`.

    Depends on the columns' names and types, the values and their order, and on nothing else. Columns, and
    fields of structs as `column.field`, that are in `grown` count only where they hold a value.
    """
    columns = {name: _Column() for name in schema.names}
    rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        rows += batch.num_rows
        for name, column in columns.items():
            column.feed(name, batch.column(name))
    absent = set(grown).difference(*(column.held for column in columns.values()))
    total = hashlib.blake2b(str(rows).encode(), digest_size=BYTES)
    for field in schema:
        if field.name in absent:
            continue
        total.update(f"\n{field.name} {_without(field, absent)}".encode())
        for name, stream in sorted(columns[field.name].streams.items()):
            if name.partition(":")[0] not in absent:
                total.update(f"\n{name} {stream.hexdigest()}".encode())
    return total.hexdigest()


def _without(field: pa.Field, absent: Collection[str]) -> pa.DataType:
    """The type of a column, without the fields of a struct that are absent."""
    if not pa.types.is_struct(field.type):
        return field.type
    return pa.struct([child for child in field.type if f"{field.name}.{child.name}" not in absent])
