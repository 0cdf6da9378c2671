"""How results look: tables for people on a terminal, the same tables whole when piped, files for programs.

A terminal gets tables folded to its width; a pipe gets lines as long as they need to be, without
colour, so that nothing has to be cut and `grep` finds ids. Importing this costs rich alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.control import strip_control_codes
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["table", "csv", "json", "parquet"]
PIPE_WIDTH = 100_000
TABLE_ROWS = 1_000
"""Rows that rich lays out, and that a query shows; more of them would take it seconds."""

KINDS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP"}
"""What files of each kind start with."""


def console() -> Console:
    """Standard output: the terminal's width, or as wide as it takes."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else PIPE_WIDTH, highlight=False, soft_wrap=not terminal)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under a heading each; numbers to the right."""
    rows = [list(row) for row in rows]
    if len(rows) > TABLE_ROWS:
        sys.stdout.writelines(f"{text}\n" for text in aligned(columns, rows))
        return
    shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | Decimal | None) for row in rows)
        shown.add_column(name, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell(value)) for value in row))
    console().print(shown)


def aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A table as lines of text: rich takes a second for every thousand rows."""
    cells = [[strip_control_codes(" ".join(cell(value).split("\n"))) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    for row in (columns, *cells):
        yield "  ".join(set_cell_size(text, width) for text, width in zip(row, widths, strict=True)).rstrip()
        if row is columns:
            yield rule


def line(text: str) -> None:
    """Print one line as it is: no markup is looked for, since names come from somebody's data."""
    console().print(Text(text), soft_wrap=True)


def cell(value: Any) -> str:
    """A value as a person reads it: <PNG, 312 bytes> for bytes, nothing for null, six digits of a float."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        kind = next((name for start, name in KINDS.items() if value.startswith(start)), "binary")
        return f"<{kind}, {len(value):,} bytes>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {cell(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return "[" + ", ".join(cell(item) for item in value) + "]"
    return str(value)


def write(result: pa.Table, form: Format, to: IO[bytes]) -> None:
    """Write a query's result for a program: bytes in CSV and JSON are base64, lists in CSV are JSON."""
    import duckdb
    import pyarrow.csv
    import pyarrow.parquet
    import pyarrow.types as types

    if form == "parquet":
        pyarrow.parquet.write_table(result, to, compression="zstd")
        return
    fields = [(quoted(field.name), field.type) for field in result.schema]
    texts = [f"base64({name}) AS {name}" for name, kind in fields if types.is_binary(kind)]
    if form == "json":  # which has no infinity and no NaN
        texts += [
            f"if(isfinite({name}), {name}, NULL) AS {name}"
            for name, kind in fields
            if types.is_floating(kind)
        ]
    if form == "csv":
        texts += [f"to_json({name})::VARCHAR AS {name}" for name, kind in fields if types.is_nested(kind)]
    replaced = f"REPLACE ({', '.join(texts)})" if texts else ""
    with duckdb.connect() as connection:
        connection.register("result", result)
        if form == "csv":
            plain: pa.Table = connection.sql(f"SELECT * {replaced} FROM result").to_arrow_table()
            pyarrow.csv.write_csv(plain, to)
            return
        rows = connection.execute(f"SELECT to_json(r)::VARCHAR FROM (SELECT * {replaced} FROM result) r")
        before = b"[\n"
        while batch := rows.fetchmany(10_000):
            to.write(before + ",\n".join(text for (text,) in batch).encode())
            before = b",\n"
        to.write(b"\n]\n" if before == b",\n" else b"[]\n")


def quoted(name: str) -> str:
    """A column's name in SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def plural(n: int, one: str, many: str | None = None) -> str:
    """1 row, 2 rows, 1,234 rows."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
