"""JSON lines: every line an object, and a line that is none a reject.

A line that is not valid JSON, not an object, or not UTF-8 is a row with defect `broken_line`, its text
kept. Values are read by DuckDB whatever type each line gives them (a label may be `3` on one line and
`"3"` on the next); a label, id or text that is itself an object or a list, features or annotations that
are no list, and an annotation that is no object with an annotator, are `wrong_type`. A key that is absent
is a missing value: no line has to have any key. Blank lines are no rows. Cost: one pass; lines are parsed
once per mapped column, in C++. Lines before the row that reading starts at are split, because blank ones
do not count, and dropped before they are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import duckdb
import polars as pl

from tasks.ingest import BadSource
from tasks.ingest.files import File, reading
from tasks.ingest.lines import COMPRESSIONS, read_lines, without_blanks
from tasks.ingest.mapping import DEFECT, DETAIL, LINE, SOURCE, ColumnSource
from tasks.ingest.people import FIELDS


class Jsonl(ColumnSource):
    """Rows of files with one JSON object a line; images as base64, features as a list or as keys."""

    kind: Literal["jsonl"] = "jsonl"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "JSON lines"
    suffixes: ClassVar[tuple[str, ...]] = tuple(
        form + packed for form in (".jsonl", ".ndjson") for packed in COMPRESSIONS
    )

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        query = self._query()
        with duckdb.connect(config={"threads": 1, "enable_external_access": False}) as connection:
            for file in files:
                with reading(file.name, self.form):
                    for lines in self._lines(file):
                        if start < lines.height:
                            connection.register("lines", lines.slice(start).to_arrow())
                            rows = pl.DataFrame(connection.sql(query).to_arrow_table())
                            yield rows.with_columns(pl.lit(file.name).alias(SOURCE))
                        start = max(start - lines.height, 0)

    def _count(self, files: list[File]) -> int:
        total = 0
        for file in files:
            with reading(file.name, self.form):
                total += sum(lines.height for lines in self._lines(file))
        return total

    def _lines(self, file: File) -> Iterator[pl.DataFrame]:
        """The lines that are rows, broken ones too."""
        if not file.path.stat().st_size:
            raise BadSource(f"{file.name}: is empty; remove it or write its rows")
        return map(without_blanks, read_lines(file.path, self.batch_rows))

    def _query(self) -> str:
        """SQL from `lines` (line, is_text) to the mapped columns as text, and the defects found."""
        lists = self.set_lists + ([self.features] if isinstance(self.features, str) else [])
        people = [self.annotations] if self.annotations else []
        scalars = [column for column in self.columns if column not in lists + people]
        cells = [f"json_extract_string(json, {_pointer(column)}) AS {_name(column)}" for column in scalars]
        cells += [
            f"CASE WHEN json_type(json, {_pointer(column)}) = 'ARRAY' THEN "
            f"json_extract_string(json_extract(json, {_pointer(column)}), '$[*]') END AS {_name(column)}"
            for column in lists
        ]
        said = ", ".join(f"'{name}': json_extract_string(said, '$.{name}')" for name in FIELDS)
        cells += [
            f"CASE WHEN json_type(json, {_pointer(column)}) = 'ARRAY' THEN list_transform(json_extract("
            f"json_extract(json, {_pointer(column)}), '$[*]'), lambda said: {{{said}}}) END "
            f"AS {_name(column)}"
            for column in people
        ]
        lists = lists + people
        kinds = [f"json_type(json, {_pointer(column)})" for column in scalars + lists]
        nested = [f"{kind} IN ('OBJECT', 'ARRAY')" for kind in kinds[: len(scalars)]]
        nested += [f"{kind} NOT IN ('ARRAY', 'NULL')" for kind in kinds[len(scalars) :]]
        nested += [
            f"list_contains(list_transform(json_extract(json_extract(json, {_pointer(column)}), '$[*]'), "
            "lambda entry: json_type(entry) IN ('OBJECT', 'ARRAY')), true)"
            for column in self.set_lists
        ]
        wrong = ["is no single value"] * len(scalars) + ["is no list"] * len(lists)
        wrong += ["has an entry that is no single value"] * len(self.set_lists)
        untyped = " ".join(
            f"WHEN {where} THEN {_text(f'{column} {what}')}"
            for where, column, what in zip(nested, scalars + lists + self.set_lists, wrong, strict=True)
        )
        return f"""
            WITH valid AS (SELECT line, is_text, is_text AND json_valid(line) AS is_json FROM lines),
            parsed AS (
                SELECT *, CASE WHEN is_json AND json_type(line) = 'OBJECT' THEN line END AS json FROM valid
            ),
            told AS (
                SELECT *, CASE WHEN NOT is_text THEN 'is not UTF-8' WHEN NOT is_json THEN 'is not valid JSON'
                    WHEN json IS NULL THEN 'is JSON but no object' END AS broken,
                    CASE {untyped or "WHEN false THEN ''"} END AS untyped
                FROM parsed
            )
            SELECT {", ".join([*cells, ""])}
                CASE WHEN broken IS NOT NULL THEN line END AS {_name(LINE)},
                CASE WHEN broken IS NOT NULL THEN 'broken_line' WHEN untyped IS NOT NULL THEN 'wrong_type' END
                    AS {_name(DEFECT)},
                coalesce(broken, untyped) AS {_name(DETAIL)}
            FROM told"""


def _pointer(column: str) -> str:
    """The column as a JSON pointer (RFC 6901), as an SQL literal."""
    return _text("/" + column.replace("~", "~0").replace("/", "~1"))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
