"""The tables of a store in DuckDB: read-only, of one release, with the encodings undone.

A connection is in memory and sees the data files of one release and nothing else: after the views
are made, access to any other file, to the network and to extensions is shut off and the settings
are locked. One folder stays open, the one that large sorts spill to; so each connection has one of
its own, of a name that cannot be guessed, which DuckDB makes when it needs it and removes. Files in
a bucket are read through Python: DuckDB's own way there is an extension that it would download.

`select` adds what DuckDB cannot be told to refuse: a statement is parsed to its tree, and a tree
with anything but reads in it is turned down. That matters: DuckDB calls `WITH x AS (INSERT ...)
SELECT ...` a SELECT too, and `query('...')` hides a statement in a string.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, Literal

import duckdb
import pyarrow as pa

from storage import classes, releases, scan
from storage.errors import StoreError, Unreachable
from storage.store import Store
from storage.tables import TABLES
from storage.task import ONE_CLASS, task_of

ONE = 32767
"""The int16 that stands for probability 1."""

_P = f"[w / {ONE}::DOUBLE FOR w IN weights] AS p"
_LIST = "[class_name(c) FOR c IN {}]"
_NAMES = _LIST.format("classes") + " AS class_names"
DECODED: dict[str, list[str]] = {
    "rows": [
        "class_name(label) AS label_name",
        "class_name(truth) AS truth_name",
        _LIST.format("labels") + " AS label_names",
        _LIST.format("truths") + " AS truth_names",
    ],
    "soft_labels": [
        _P,
        f"given_weight / {ONE}::DOUBLE AS given_p",
        f"tail / {ONE}::DOUBLE AS tail_p",
        _NAMES,
    ],
    "issues": [
        "class_name(suggested_label) AS suggested_name",
        _LIST.format("doubted") + " AS doubted_names",
    ],
    "labels": [
        "class_name(given) AS given_name",
        "class_name(label) AS label_name",
        _LIST.format("given_labels") + " AS given_names",
        _LIST.format("labels") + " AS label_names",
    ],
    "reviews": ["class_name(label) AS label_name", _LIST.format("labels") + " AS label_names"],
    "reinforcements": [_P, f"tail / {ONE}::DOUBLE AS tail_p", _NAMES],
    "distilled": ["class_name(label) AS label_name", _P, _NAMES],
}
"""Columns that the views have beside those of the table."""

STORY = """
CREATE VIEW story AS
SELECT
    rows.partition, rows.id, rows.source, rows.position, rows.split,
    coalesce(labels.given, rows.label) AS given, class_name(coalesce(labels.given, rows.label)) AS given_name,
    labels.label, labels.label_name, labels.action, labels.confidence, labels.reason, labels.decided_by,
    coalesce(labels.given_labels, rows.labels) AS given_labels, labels.labels,
    coalesce(labels.given_names, rows.label_names) AS given_names, labels.label_names,
    coalesce(labels.given_target, rows.target) AS given_target, labels.target,
    found.is_issue, found.p_error, found.detectors,
    opinion.top_label, class_name(opinion.top_label) AS top_name, opinion.top_p, opinion.top_value,
    opinion.teachers,
    person.reviews, coalesce(stored.views, 0) AS views,
    rows.duplicate_of, rows.truth, rows.truth_name, rows.truths, rows.truth_names, rows.target_truth
FROM rows
LEFT JOIN labels ON labels.partition = rows.partition AND labels.id = rows.id
LEFT JOIN (
    SELECT partition, id, bool_or(is_issue) AS is_issue,
        coalesce(max(p_error) FILTER (detector = 'combined'), max(p_error)) AS p_error,
        list(detector ORDER BY detector) FILTER (is_issue) AS detectors
    FROM issues GROUP BY partition, id
) AS found ON found.partition = rows.partition AND found.id = rows.id
LEFT JOIN (
    SELECT partition, id, count(*) AS teachers,
        arg_min(classes[1], (teacher NOT IN ('mean', 'stacked'), teacher)) AS top_label,
        arg_min(p[1], (teacher NOT IN ('mean', 'stacked'), teacher)) AS top_p,
        arg_min(value, (teacher NOT IN ('mean', 'stacked'), teacher)) AS top_value
    FROM soft_labels GROUP BY partition, id
) AS opinion ON opinion.partition = rows.partition AND opinion.id = rows.id
LEFT JOIN (
    SELECT partition, id, list({
        'reviewer': reviewer, 'label': label, 'label_name': label_name, 'labels': labels,
        'label_names': label_names, 'target': target, 'decided_at': decided_at, 'note': note
    } ORDER BY decided_at) AS reviews
    FROM reviews GROUP BY partition, id
) AS person ON person.partition = rows.partition AND person.id = rows.id
LEFT JOIN (
    SELECT partition, id, count(*) AS views FROM reinforcements GROUP BY partition, id
) AS stored ON stored.partition = rows.partition AND stored.id = rows.id
"""
"""One row an example: what came in, what was found, what was decided and why. The top soft label is
the ensemble's (`mean`), or that of the first teacher by name where no ensemble was stored."""

QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}
_GAP = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
EXPLAIN = re.compile(
    rf"{_GAP}EXPLAIN\b(?:{_GAP}ANALYZE\b|{_GAP}\(\s*(?:ANALYZE|FORMAT)\b[^)]*\))*",
    re.IGNORECASE | re.DOTALL,
)


MEMORY, SPILL, RESULT_BYTES, SECONDS, BATCH_ROWS = "50%", "16GB", 2**31, 600.0, 2048
"""What a query may take: of the machine's memory, of its disk where that is not enough, of result, of
time. DuckDB does not count what a single value takes while it is made, as `repeat('x', 1000000000)`."""


TOLD = re.compile(r"^(?:storage\.errors\.Unreachable|FileNotFoundError): (.+)$", re.MULTILINE)


class QueryError(StoreError):
    """The statement cannot be run on the tables of a store; the message says why."""


def connect(store: Store, release: int | Literal["live"] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with a view a table, `story`, and `classes` (index, name).

    `release` is a number, "live" for the tables as they are now, or None for the newest published
    release, and the tables as they are where nothing was published. A table that a release does not
    have is an empty view; `releases` is always as it is now.
    """
    files = {table: list(map(store.disk.uri, paths)) for table, paths in files_of(store, release).items()}
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "memory_limit": MEMORY,
            "max_temp_directory_size": SPILL,
            "temp_directory": f"{tempfile.gettempdir()}/winnow-{secrets.token_hex(8)}",
        }
    )
    store.disk.open_to(connection)
    connection.execute(f"SET VARIABLE class_names = {scan.literal(classes.vocabulary(store))}")
    connection.execute("CREATE MACRO class_name(i) AS getvariable('class_names')[i + 1]")
    connection.execute(
        "CREATE VIEW classes AS SELECT unnest(range(len(getvariable('class_names'))))::INTEGER AS index, "
        "unnest(getvariable('class_names')) AS name"
    )
    of_task = task_of(store) != ONE_CLASS
    for table, uris in files.items():
        columns = ", ".join(["*", *DECODED.get(table, [])])
        rows = scan.query(table, uris, of_task)
        connection.execute(f"CREATE VIEW {table} AS SELECT {columns} FROM ({rows})")
    connection.execute(STORY)
    connection.execute(
        f"SET allowed_paths = {scan.literal([uri for uris in files.values() for uri in uris])}"
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def files_of(store: Store, release: int | Literal["live"] | None) -> dict[str, list[str]]:
    """The data files of every table at a release, as `connect` reads it."""
    chosen = releases.get(store, release) if isinstance(release, int) else None
    if release is None:
        chosen = releases.published(store)
    if chosen is None:
        return {table: store.file_uris(table) for table in TABLES}
    live = {"releases": store.file_uris("releases")}
    return {table: live.get(table) or releases.files_of(store, chosen, table) for table in TABLES}


def select(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The result of a single SELECT, or EXPLAIN of one, on a connection of `connect`.

    Raises QueryError for everything else, and for what DuckDB cannot run.
    """
    try:
        statement = _single(connection, sql)
        inner = statement
        if _type(statement) == duckdb.StatementType.EXPLAIN:
            inner = _single(connection, EXPLAIN.sub("", statement.query, count=1))
        _refuse_all_but_reading(connection, inner)
        return _fetched(connection, statement.query)
    except duckdb.PermissionException as error:
        raise QueryError(
            "a query can read the tables of its store and no other file; name a table"
        ) from error
    # While a result is fetched, DuckDB's errors come through Arrow.
    except (duckdb.Error, pa.ArrowException) as error:
        if "INTERRUPT Error" in str(error):
            raise QueryError(f"the query ran for more than {SECONDS:,.0f} s; ask for less at once") from error
        told = TOLD.search(str(error))
        if told:  # by what reads a bucket; DuckDB quotes the whole traceback
            raise Unreachable(told[1]) from None
        raise QueryError(str(error).strip().splitlines()[0]) from error


def _fetched(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The result, as long as it is neither too slow nor too large."""
    timer = threading.Timer(SECONDS, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        with connection.sql(sql).to_arrow_reader(BATCH_ROWS) as reader:
            batches: list[pa.RecordBatch] = []
            size = 0
            for batch in reader:
                size += batch.nbytes
                if size > RESULT_BYTES:
                    raise QueryError(
                        f"the result is larger than {RESULT_BYTES:,} bytes; aggregate, LIMIT it, or read the "
                        "tables themselves, which are Delta tables"
                    )
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    finally:
        timer.cancel()


def _single(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"this is {len(statements)} statements; give exactly one SELECT")
    return statements[0]


def _type(statement: duckdb.Statement) -> duckdb.StatementType:
    try:
        return statement.type
    except ValueError:  # DuckDB knows more kinds than its Python does
        raise QueryError("this kind of statement is refused; a query can only SELECT") from None


def _refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    """Raises QueryError unless the statement is made of queries on tables and harmless functions."""
    kind = _type(statement)
    if kind != duckdb.StatementType.SELECT:
        raise QueryError(f"{kind.name} statements are refused; a query can only SELECT")
    [(tree,)] = connection.execute("SELECT json_serialize_sql($1)", [statement.query]).fetchall()
    parsed = json.loads(tree)
    if parsed["error"]:
        raise QueryError(f"this statement is refused; write it as a plain SELECT ({parsed['error_message']})")
    for node in _nodes(parsed):
        name = node["type"]
        if name.endswith("_NODE") and name not in QUERIES:
            what = name.removesuffix("_NODE").removesuffix("_QUERY")
            raise QueryError(f"{what} inside a query is refused; a query can only SELECT")
        if name == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in TABLE_FUNCTIONS:
            function = node["function"]["function_name"]
            raise QueryError(
                f"the table function {function} is refused; read the tables of the store by name"
            )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parsed statement that has a type, at any depth."""
    stack = [tree]
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            if isinstance(found.get("type"), str):
                yield found
            stack.extend(found.values())
        elif isinstance(found, list):
            stack.extend(found)
