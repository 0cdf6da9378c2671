"""Text files line by line, whole columns of lines at a time.

Shared by CSV and JSON lines. A block of 1 MiB is split at its newlines in Arrow, so no line is ever a
Python object; the unfinished end of a block waits for the next one. Files that end in .gz, .bz2, .zst
or .lz4 are decompressed on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_BYTES = 2**20
COMPRESSIONS = ("", ".gz", ".bz2", ".zst", ".lz4")


def read_lines(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """The file's lines, blank ones too, at most `rows` at a time.

    Columns: `line` String without its newline; `is_text` Boolean, False where the bytes are not UTF-8
    (`line` then shows the offending bytes as \\xNN, so that nothing is lost).
    Raises OSError and pyarrow.ArrowException as the file's reader does.
    """
    with pa.input_stream(str(path)) as stream:
        rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
        while block := stream.read(BLOCK_BYTES):
            lines = pc.split_pattern(pa.array([rest + block], pa.large_binary()), b"\n").flatten()
            rest = lines[-1].as_py()
            yield from _frames(lines.slice(0, len(lines) - 1), rows)
        yield from _frames(pa.array([rest], pa.large_binary()), rows)


def without_blanks(lines: pl.DataFrame) -> pl.DataFrame:
    """Drop the lines that hold nothing but white space."""
    return lines.filter(pl.col("line").str.strip_chars() != "")


def _frames(lines: pa.Array, rows: int) -> Iterator[pl.DataFrame]:
    try:
        frame = pl.DataFrame({"line": pl.Series(lines.cast(pa.large_string()), dtype=pl.String)})
        frame = frame.with_columns(is_text=pl.lit(True))
    except pa.ArrowInvalid:
        frame = _escaped(lines)
    yield from frame.iter_slices(rows)


def _escaped(lines: pa.Array) -> pl.DataFrame:
    """Lines of which some are not UTF-8: DuckDB decodes each or, failing that, spells its bytes out."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("lines", pa.table({"line": lines.cast(pa.binary())}))
        found = connection.sql(
            "SELECT coalesce(try(decode(line)), line::VARCHAR) AS line, "
            "try(decode(line)) IS NOT NULL AS is_text FROM lines"
        )
        return pl.DataFrame(found.to_arrow_table())
