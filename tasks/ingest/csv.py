"""CSV: every line a row, and a line that is none a reject.

CSV has no way to say where a broken row ends. The rule here: a row is one line, so a line with too many
or too few fields, with a field that begins with a quote and does not end with one, or that is not UTF-8
is a `broken_line`, and the next line starts afresh. With `newlines_in_values` a row may span lines: it
ends at the first newline before which the number of quotes is even. That is what spreadsheets write, but
a single stray quote then swallows rows up to the next one, and if none comes, the file cannot be read.
Lines without any character are no rows. An empty field is a missing one. Cost: one pass; lines are
checked by a regular expression in Polars and taken apart by Arrow. Which line a row is on cannot be known
without looking at every line before it, so reading from a row on splits those into lines, and drops them
before they are checked and taken apart.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import polars as pl
import pyarrow as pa
import pyarrow.csv
from pydantic import Field, model_validator

from tasks.ingest import BadSource
from tasks.ingest.files import File, reading
from tasks.ingest.lines import COMPRESSIONS, join_quoted, read_lines, without_blanks
from tasks.ingest.mapping import DEFECT, DETAIL, LINE, OWN, SOURCE, ColumnSource

_ROW = OWN + "row"


class Csv(ColumnSource):
    """Rows of CSV files with a header line, in UTF-8; images as base64, features as columns."""

    kind: Literal["csv"] = "csv"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "CSV"
    suffixes: ClassVar[tuple[str, ...]] = tuple(
        form + packed for form in (".csv", ".tsv") for packed in COMPRESSIONS
    )

    delimiter: str = Field(default=",", pattern=r"^[\t ,;:|~^]$", description="what separates fields")
    newlines_in_values: bool = Field(default=False, description="whether quoted fields may hold newlines")

    @model_validator(mode="after")
    def _check_features(self) -> Csv:
        if isinstance(self.features, str):
            raise ValueError("features of a csv source is a list of columns; a CSV field holds no lists")
        if self.set_lists:
            raise ValueError("labels and truths of a csv source are lists of columns of 0 and 1, one a class")
        if self.annotations:
            raise ValueError(
                "annotations are lists, and a CSV field holds none; give annotators, a column each"
            )
        return self

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        for file in files:
            with reading(file.name, self.form):
                for names, lines in self.lines(file):
                    if start < lines.height:
                        rows = self._fields(lines.slice(start), names)
                        yield rows.with_columns(pl.lit(file.name).alias(SOURCE))
                    start = max(start - lines.height, 0)

    def _count(self, files: list[File]) -> int:
        total = 0
        for file in files:
            with reading(file.name, self.form):
                total += sum(lines.height for _, lines in self.lines(file))
        return total

    def lines(self, file: File) -> Iterator[tuple[list[str], pl.DataFrame]]:
        """The header's names, and the lines that are rows, broken ones too."""
        names: list[str] | None = None
        records = read_lines(file.path, self.batch_rows)
        if self.newlines_in_values:
            records = join_quoted(records)
        for lines in map(without_blanks, records):
            if not lines.height:
                continue
            if names is None:
                names = self._header(lines["line"][0], file.name)
                lines = lines.slice(1)
            yield names, lines
        if names is None:
            raise BadSource(f"{file.name}: is empty; a CSV file has at least a header line")

    def _header(self, line: str, name: str) -> list[str]:
        names = next(csv.reader([line.rstrip("\r")], delimiter=self.delimiter))
        twice = next((column for column, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            raise BadSource(f"{name}: has two columns named {twice}; rename one in the header line")
        self.check_columns(names, name)
        return names

    def _fields(self, lines: pl.DataFrame, names: list[str]) -> pl.DataFrame:
        """Rows as text to the mapped columns as text, broken rows in place."""
        separator = re.escape(self.delimiter)
        field = rf'(?:"(?:[^"]|"")*"|[^"{separator}\r\n][^{separator}\r\n]*)?'
        is_closed = pl.col("line").str.contains(rf"^{field}(?:{separator}{field})*\r?$")
        lines = lines.with_row_index(_ROW).with_columns(
            detail=pl.when(~pl.col("is_text"))
            .then(pl.lit("is not UTF-8"))
            .when(~is_closed)
            .then(pl.lit("has a quote that is not closed at the end of its field"))
        )
        whole = lines.filter(pl.col("detail").is_null())
        parsed, ragged = self._parse(whole["line"], names)
        good = whole.select(_ROW).filter(~pl.int_range(whole.height).is_in(list(ragged)))
        bad = lines.join(good, on=_ROW, how="anti").select(
            _ROW,
            pl.coalesce(
                "detail",
                pl.col(_ROW).replace_strict(
                    {whole[_ROW][at]: found for at, found in ragged.items()},
                    default=None,
                    return_dtype=pl.String,
                ),
            ).alias(DETAIL),
            pl.col("line").alias(LINE),
            pl.lit("broken_line").alias(DEFECT),
        )
        return pl.concat([good.hstack(parsed), bad], how="diagonal").sort(_ROW).drop(_ROW)

    def _parse(self, lines: pl.Series, names: list[str]) -> tuple[pl.DataFrame, dict[int, str]]:
        """The mapped columns of the rows with the right number of fields, and what is wrong with others."""
        ragged: dict[int, str] = {}

        def reject(row: Any) -> str:
            ragged[row.number - 1] = f"has {row.actual_columns} fields, not {row.expected_columns}"
            return "skip"

        if lines.is_empty():
            return pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String)), ragged
        table = pyarrow.csv.read_csv(
            pa.py_buffer("\n".join(lines).encode()),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=2**31 - 1),
            pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                invalid_row_handler=reject,
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=self.columns,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        return pl.DataFrame(table), ragged
