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

from tasks.ingest.bombs import Unpacked

BLOCK_BYTES = 2**20
LINE_BYTES = 2**24
"""A line, or a row of several, is held whole."""

COMPRESSIONS = ("", ".gz", ".bz2", ".zst", ".lz4")


def read_lines(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """The file's lines, blank ones too, at most `rows` at a time.

    Columns: `line` String without its newline; `is_text` Boolean, False where the bytes are not UTF-8
    (`line` then shows the offending bytes as \\xNN, so that nothing is lost).
    Raises OSError and pyarrow.ArrowException as the file's reader does, and ValueError for a bomb.
    """
    unpacked = Unpacked(path.stat().st_size)
    with pa.input_stream(str(path)) as stream:
        rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
        while block := stream.read(BLOCK_BYTES):
            unpacked.count(len(block))
            if len(rest) > LINE_BYTES:
                raise ValueError(f"a line is longer than {LINE_BYTES:,} bytes")
            lines = pc.split_pattern(pa.array([rest + block], pa.large_binary()), b"\n").flatten()
            rest = lines[-1].as_py()
            yield from _frames(lines.slice(0, len(lines) - 1), rows)
        yield from _frames(pa.array([rest], pa.large_binary()), rows)


def without_blanks(lines: pl.DataFrame) -> pl.DataFrame:
    """Drop the lines that hold nothing but their end."""
    return lines.filter(pl.col("line").str.strip_chars_end("\r") != "")


def join_quoted(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Lines to records that end where the number of quotes is even; ValueError if the last does not end."""
    rest = pl.DataFrame(schema={"line": pl.String, "is_text": pl.Boolean})
    for lines in frames:
        lines = pl.concat([rest, lines])
        if rest["line"].str.len_bytes().sum() > LINE_BYTES:
            begins = rest["line"][0][:40]
            raise ValueError(f"the row that begins {begins!r} is longer than {LINE_BYTES:,} bytes")
        ends = lines["line"].str.count_matches('"', literal=True).cum_sum() % 2 == 0
        record = ends.cum_sum().shift(1, fill_value=0).alias("record")
        is_whole = record < ends.sum()
        rest = lines.filter(~is_whole)
        yield (
            lines.filter(is_whole)
            .group_by(record.filter(is_whole), maintain_order=True)
            .agg(pl.col("line").str.join("\n"), pl.col("is_text").all())
            .drop("record")
        )
    if rest.height:
        raise ValueError(f"a quote is never closed, in the row that begins {rest['line'][0][:40]!r}")


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
