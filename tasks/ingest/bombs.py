"""Files that are small and unpack to anything: how much of them is read before they are refused.

A dictionary page with one value of a megabyte, and a run-length that says "that one, a billion times",
are 50 kB of Parquet; gzip packs a thousand to one, zstd ten thousand. Data does neither: what unpacks to
more than a thousand times its size is a bomb, or as good as one. It is refused once it has unpacked to
256 MiB, and until then held in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RATIO, FREE_BYTES = 1000, 2**28
"""How often its own size a file may unpack to, and what any may."""

ROWS_A_BYTE, VALUES_A_BYTE = 8, 64
"""How many rows, and how many numbers in lists, a byte of a Parquet file may stand for."""

PIECE_BYTES, READ_BYTES = 2**26, 2**26
"""How large a batch is, and what reading one may take if all values are as long as they can be."""


class Unpacked:
    """Counts what has come out of a file of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._limit, self._seen = max(size * RATIO, FREE_BYTES), 0

    def counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, as long as they are not too much."""
        for batch in batches:
            self.count(batch.nbytes)
            yield batch

    def count(self, n_bytes: int) -> None:
        """Raises ValueError once it is too much."""
        self._seen += n_bytes
        if self._seen > self._limit:
            raise ValueError(f"it unpacks to more than {self._limit:,} bytes, {RATIO:,} times its size")


def refuse_repetition(metadata: pq.FileMetaData, size: int) -> None:
    """Raises ValueError for a Parquet file of `size` bytes that says one thing too often to be data."""
    if metadata.num_rows > max(1_000_000, size * ROWS_A_BYTE):
        raise ValueError(f"it claims {metadata.num_rows:,} rows in {size:,} bytes")
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.num_values > max(50_000_000, size * VALUES_A_BYTE):
                raise ValueError(f"it claims {chunk.num_values:,} values of one column in {size:,} bytes")
            if chunk.total_uncompressed_size > max(READ_BYTES, chunk.total_compressed_size * RATIO):
                raise ValueError(f"a column of it unpacks to {chunk.total_uncompressed_size:,} bytes")


def rows_a_read(path: Path, metadata: pq.FileMetaData, columns: list[str], rows: int) -> int:
    """How many rows to ask for at a time, at most `rows`: each may be the longest value of a dictionary.

    Values outside of a dictionary are there once each and repeat nothing. A dictionary is looked at only
    if its column is large enough to hold a value that matters.
    """
    longest = 1
    for group in range(metadata.num_row_groups):
        for chunk in map(metadata.row_group(group).column, range(metadata.num_columns)):
            name = chunk.path_in_schema
            large = chunk.total_uncompressed_size * rows > READ_BYTES
            if (
                large
                and chunk.has_dictionary_page
                and chunk.physical_type == "BYTE_ARRAY"
                and name in columns
            ):
                longest = max(longest, longest_in_dictionary(path, group, name))
    return int(np.clip(READ_BYTES // longest, 1, rows))


def longest_in_dictionary(path: Path, group: int, column: str) -> int:
    """The bytes of the longest value in a column chunk's dictionary page."""
    with pq.ParquetFile(path, read_dictionary=[column]) as file:
        for batch in file.iter_batches(1, [group], [column], use_threads=False):
            return int(pc.max(pc.binary_length(batch.column(0).dictionary)).as_py() or 1)
    return 1


def in_pieces(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Small batches joined to some of at most about `rows` rows or PIECE_BYTES."""
    held: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    for batch in batches:
        held.append(batch)
        n_rows, n_bytes = n_rows + batch.num_rows, n_bytes + batch.nbytes
        if n_rows >= rows or n_bytes >= PIECE_BYTES:
            yield pa.concat_batches(held)
            held, n_rows, n_bytes = [], 0, 0
    if held:
        yield pa.concat_batches(held)
