"""Reject rows by an SQL expression over their columns, evaluated by DuckDB.

`allow` keeps the rows for which it is true, `deny` rejects those for which it is; where it is NULL a row
is neither, as in SQL's WHERE. An expression comes from a configuration file and is not trusted: it is
parsed and bound before anything runs, must be a single true-or-false value of one row, and may hold no
subquery, no window, no aggregate and no function whose value differs from call to call. The connection
that evaluates it can open no file and see no Python variable. Cost: one vectorised pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import duckdb
import polars as pl
from pydantic import Field, ValidationInfo, field_validator, model_validator

from tasks.ingest import Filter

_COLUMNS = (
    "source VARCHAR, position BIGINT, id VARCHAR, split VARCHAR, label VARCHAR, labels VARCHAR[], "
    "target DOUBLE, image BLOB, text VARCHAR, features FLOAT[], content_hash VARCHAR, seen BOOLEAN"
)
"""What a condition may read: not `truth` and its kind, which are for measuring only."""

_FORBIDDEN = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a *",
    "PARAMETER": "a parameter",
}

_CLOCKS = {"current_time", "current_timestamp", "current_localtime", "current_localtimestamp"}
_CLOCKS |= {"localtime", "localtimestamp"}
"""Functions that DuckDB's catalogue does not list, or lists as though they were constant."""


class Where(Filter):
    """Keep rows by `allow`, reject rows by `deny`; give one or both."""

    kind: Literal["where"] = "where"
    revision: ClassVar[int] = 1

    allow: str | None = Field(
        default=None, description="an SQL condition that a row must meet, as label <> 'x'"
    )
    deny: str | None = Field(default=None, description="an SQL condition that a row must not meet")

    @model_validator(mode="after")
    def _check_given(self) -> Where:
        if self.allow is None and self.deny is None:
            raise ValueError("where needs allow or deny, or both")
        return self

    @field_validator("allow", "deny")
    @classmethod
    def _check_expression(cls, expression: str | None, info: ValidationInfo) -> str | None:
        if expression is not None:
            check(expression, str(info.field_name))
        return expression

    def reasons(self, rows: pl.DataFrame) -> pl.Series:
        """Raises ValueError where an expression fails on a row, as a cast of text to a number can."""
        allow, deny = self.allow or "true", self.deny or "false"
        conditions = f"(\n{allow}\n) IS TRUE AS allowed, (\n{deny}\n) IS TRUE AS denied"
        with connect() as connection:
            connection.register("rows", rows.with_row_index("__row").to_arrow())
            try:
                found = pl.DataFrame(
                    connection.sql(f"SELECT {conditions} FROM rows ORDER BY __row").to_arrow_table()
                )
            except duckdb.Error as error:
                raise ValueError(f"where: {_first_line(error)}; use TRY_CAST or TRY(…)") from error
        reason = (
            pl.when(pl.col("denied"))
            .then(pl.lit(f"denied: {self.deny}"))
            .when(~pl.col("allowed"))
            .then(pl.lit(f"not_allowed: {self.allow} is not true"))
        )
        return found.select(reason=reason).to_series()


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory that can reach nothing else."""
    connection = duckdb.connect(config={"threads": 1, "python_enable_replacements": False})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def check(expression: str, name: str) -> None:
    """Raise ValueError, saying what is wrong, unless `expression` is one condition on one row."""
    with connect() as connection:
        _check_tree(connection, expression, f"{name}: {expression!r}")
        connection.execute(f"CREATE TABLE rows ({_COLUMNS})")
        try:
            (result,) = connection.sql(f"SELECT (\n{expression}\n) FROM (FROM rows)").types
        except duckdb.Error as error:
            raise ValueError(f"{name}: {_first_line(error)}") from error
        if str(result) != "BOOLEAN":
            raise ValueError(f"{name}: {expression!r} is {result}, must be true or false")


def _check_tree(connection: duckdb.DuckDBPyConnection, expression: str, place: str) -> None:
    """Refuse what is more than one expression, what sees other rows, and what may change its answer."""
    row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{expression}\n)"]).fetchone()
    parsed: dict[str, Any] = json.loads(row[0]) if row else {}
    if parsed.get("error", True) or not expression.strip():
        raise ValueError(
            f"{place} is not one SQL expression ({parsed.get('error_message') or 'it is empty'})"
        )
    names: set[str] = set()
    for node in _nodes(parsed["statements"]):
        if node["class"] in _FORBIDDEN:
            raise ValueError(f"{place} has {_FORBIDDEN[node['class']]}; use the row's columns only")
        # `current_date` and its kind are written, and parsed, like columns.
        names.update(name.lower() for name in (node.get("function_name", ""), *node.get("column_names", [])))
    clock = next(iter(sorted(names & _CLOCKS)), None)
    if clock:
        raise ValueError(f"{place} calls {clock}, which changes from night to night; leave it out")
    functions = connection.execute(
        "SELECT DISTINCT function_name, function_type, stability, macro_definition FROM duckdb_functions() "
        "WHERE list_contains(?, function_name) ORDER BY ALL",
        [sorted(names)],
    )
    for function, kind, stability, definition in functions.fetchall():
        if kind == "macro":
            _check_tree(connection, definition, f"{place} calls {function}, which")
        elif kind != "scalar" or stability != "CONSISTENT":
            raise ValueError(f"{place} calls {function}, whose value is not the row's alone; leave it out")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression of a parsed statement."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
