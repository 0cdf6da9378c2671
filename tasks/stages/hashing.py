"""What a row is called: SHA-256 by DuckDB, a vector at a time."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_of(parts: Any) -> str:
    """32 hexadecimal digits of JSON-able data, independent of key order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of_array(values: np.ndarray, layout: str) -> str:
    """The same of numbers in a layout of their own, such as "<i4"."""
    return hashlib.blake2b(values.astype(layout).tobytes(), digest_size=16).hexdigest()


def content_hashes(batch: pa.RecordBatch, payload: str | None) -> pa.Array:
    """Hexadecimal SHA-256 of each payload; of the id or the position where a row has no payload."""
    place = pc.coalesce(batch["id"], pc.cast(batch["position"], pa.string()))
    body = as_bytes(batch[payload]) if payload else pa.nulls(batch.num_rows, pa.binary())
    rows = pa.table({"body": body, "place": place})
    return hashed(rows, "coalesce(sha256(body), sha256(place))")


def row_ids(partition: str, content: pa.Array, occurrence: np.ndarray) -> pa.Array:
    """Ids for rows that came without one: from the partition, the content, and how many equal rows
    came before. Unlike the position, that survives a row being inserted or removed elsewhere."""
    rows = pa.table({"content": content, "occurrence": occurrence})
    return hashed(rows, f"left(sha256('{partition}' || chr(10) || content || chr(10) || occurrence), 32)")


def hashed(rows: pa.Table, expression: str) -> pa.Array:
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.sql(f"SELECT {expression} AS hash FROM rows").to_arrow_table()
    hashes: pa.Array = found["hash"].combine_chunks()
    return hashes


def as_bytes(column: pa.Array) -> pa.Array:
    """A payload column as bytes; a list of float32 as the bytes of its values."""
    if pa.types.is_binary(column.type):
        return column
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    offsets = column.offsets.to_numpy() * np.int32(4)
    values = column.values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    data = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(values))]
    joined = pa.Array.from_buffers(pa.binary(), len(column), data)
    return pc.if_else(column.is_valid(), joined, pa.scalar(None, pa.binary()))
