"""Views and what they refuse. Run with: python -m pytest tests/storage/test_query.py"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pytest

from storage import classes, query, releases
from storage.query import QueryError, connect, select
from storage.store import Store
from storage.tables import TABLES
from tests.storage.helpers import labels, metrics, put, rows

P = "2026-01-01"


@pytest.fixture
def curated(store: Store) -> Store:
    """Two rows that went through every stage, and one that only arrived."""
    classes.extend(store, ["cat", "dog", "cow"])
    put(store, "rows", P, rows(["a", "b", "c"], [0, 1, None], truth=1))
    soft = {
        "id": ["a", "a", "b"],
        "teacher": ["convnet", "mean", "convnet"],
        "fold": [0, -1, 0],
        "classes": [[0, 1], [1, 0], [2, 0]],
        "weights": [[32767, 0], [16384, 8191], [32767, 0]],
        "given_weight": [32767, 8191, 0],
        "tail": [0, 8192, 0],
    }
    put(store, "soft_labels", P, soft)
    issues = {
        "id": ["a", "a", "b"],
        "detector": ["x", "y", "x"],
        "score": [0.1, 0.6, 0.9],
        "is_issue": [True, False, False],
        "suggested_label": pa.array([1, 1, None], pa.int32()),
        "p_error": [0.75, 0.5, 0.25],
    }
    put(store, "issues", P, issues)
    put(store, "labels", P, labels(["a", "b"], [0, 1], [1, 1]))
    seen = datetime(2026, 1, 2, tzinfo=UTC)
    put(store, "reviews", P, {"id": ["a"], "label": [1], "reviewer": ["bo"], "decided_at": [seen]})
    views = {
        "id": ["a", "a"],
        "draw": [0, 1],
        "transform": pa.array(
            [{"flip": True}, {"flip": False}], TABLES["reinforcements"].field("transform").type
        ),
        "classes": [[1], [1]],
        "weights": [[32767], [32767]],
        "tail": [0, 0],
    }
    put(store, "reinforcements", P, views)
    return store


def asked(store: Store, sql: str, release: int | Literal["live"] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = select(connect(store, release), sql).to_pylist()
    return found


# What the views show


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_nothing_wrote_is_an_empty_view_of_the_right_columns(store: Store, table: str) -> None:
    result = select(connect(store), f"SELECT * FROM {table}")
    assert result.num_rows == 0
    assert result.schema.names[: len(TABLES[table])] == TABLES[table].names


def test_an_empty_view_and_a_full_one_have_the_same_types(curated: Store, tmp_path: Path) -> None:
    empty = connect(Store(str(tmp_path / "none"), "d").open(create=True))
    full = connect(curated)
    for view in [*TABLES, "story", "classes"]:
        sql = f"DESCRIBE {view}"
        types = [
            [(row["column_name"], row["column_type"]) for row in select(c, sql).to_pylist()]
            for c in (empty, full)
        ]
        assert types[0] == types[1], view


def test_encodings_are_undone(curated: Store) -> None:
    [row] = asked(curated, "SELECT p, given_p, tail_p, class_names FROM soft_labels WHERE teacher = 'mean'")
    assert row["p"] == [16384 / 32767, 8191 / 32767]
    assert (row["given_p"], row["tail_p"]) == (8191 / 32767, 8192 / 32767)
    assert row["class_names"] == ["dog", "cat"]
    assert asked(curated, "SELECT DISTINCT p, tail_p FROM reinforcements") == [{"p": [1.0], "tail_p": 0.0}]
    assert asked(curated, "SELECT label_name, truth_name FROM rows ORDER BY id")[0] == {
        "label_name": "cat",
        "truth_name": "dog",
    }
    assert asked(curated, "SELECT given_name, label_name FROM labels WHERE id = 'a'") == [
        {"given_name": "cat", "label_name": "dog"}
    ]
    names = asked(curated, "SELECT suggested_name FROM issues ORDER BY id, detector")
    assert names == [{"suggested_name": name} for name in ("dog", "dog", None)]
    assert asked(curated, "FROM classes")[2] == {"index": 2, "name": "cow"}


def test_a_partition_is_text_whatever_it_looks_like(store: Store) -> None:
    for partition in ("2026-01-01", "7", "site=a"):
        put(store, "metrics", partition, metrics(["a"]))
    found = select(connect(store), "SELECT partition FROM metrics ORDER BY partition")
    assert found.schema.field("partition").type == pa.string()
    assert found["partition"].to_pylist() == ["2026-01-01", "7", "site=a"]


def test_the_story_of_a_row_is_one_row(curated: Store) -> None:
    found = asked(curated, "SELECT * FROM story ORDER BY id")
    assert [row["id"] for row in found] == ["a", "b", "c"]
    a, b, c = found
    assert (a["given_name"], a["label_name"], a["action"], a["reason"]) == ("cat", "dog", "fix", "because")
    assert (a["is_issue"], a["p_error"], a["detectors"]) == (True, 0.75, ["x"])
    assert (a["top_name"], a["top_p"], a["teachers"]) == ("dog", 16384 / 32767, 2)
    assert (a["views"], a["truth_name"]) == (2, "dog")
    assert [review["reviewer"] for review in a["reviews"]] == ["bo"]
    assert (b["top_name"], b["action"], b["views"], b["reviews"]) == ("cow", "keep", 0, None)
    assert (c["given"], c["action"], c["p_error"], c["top_p"]) == (None, None, None, None)


# Which release


def test_readers_get_the_newest_published_release_and_live_only_if_asked(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    assert asked(store, "SELECT id FROM metrics") == [{"id": "a"}]
    releases.publish(store, "p", None, [], {"metrics": first.version})
    second = put(store, "metrics", "p", metrics(["b"]), "f2")
    releases.publish(store, "p", None, [], {"metrics": second.version}, "held")
    assert asked(store, "SELECT id FROM metrics") == [{"id": "a"}]
    assert asked(store, "SELECT id FROM metrics", "live") == [{"id": "b"}]
    assert asked(store, "SELECT id FROM metrics", 1) == [{"id": "a"}]
    assert asked(store, "SELECT id FROM metrics", 2) == [{"id": "b"}]
    assert asked(store, "SELECT release FROM releases ORDER BY 1", 1) == [{"release": 1}, {"release": 2}]
    releases.rollback(store, 1)
    assert asked(store, "SELECT id FROM metrics") == [{"id": "a"}]


def test_a_table_that_a_release_does_not_name_is_empty_in_it(store: Store) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    put(store, "rows", "p", rows(["a"], [0]))
    releases.publish(store, "p", None, [], {"metrics": ref.version})
    assert asked(store, "FROM rows") == []


def test_an_open_connection_keeps_its_release(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    connection = connect(store)
    put(store, "metrics", "p", metrics(["b"]), "f2")
    assert select(connection, "SELECT id FROM metrics").to_pylist() == [{"id": "a"}]


# What is allowed


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM rows",
        "FROM rows",
        "TABLE rows",
        "VALUES (1)",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x;",
        "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x WHERE a < 3) FROM x",
        "SELECT id FROM rows UNION ALL SELECT id FROM labels",
        "SELECT unnest([1, 2]), * FROM range(3)",
        "SELECT * FROM rows PIVOT (count(*) FOR label IN (0, 1))",
        "DESCRIBE rows",
        "SUMMARIZE rows",
        "SHOW TABLES",
        "EXPLAIN SELECT * FROM rows",
        "-- why\nEXPLAIN /* slow */ ANALYZE SELECT * FROM rows",
        "EXPLAIN (FORMAT json) SELECT * FROM rows",
        "SELECT 'INSERT_QUERY_NODE', 'read_text(''/etc/passwd'')', 'a; b'",
        "SELECT date_trunc('day', decided_at), decided_at::VARCHAR FROM reviews",
    ],
)
def test_a_select_is_run(curated: Store, sql: str) -> None:
    assert select(connect(curated), sql).num_columns > 0


# What is refused

TABLE_FUNCTION = "the table function"
ONLY_SELECT = "a query can only SELECT"
REFUSED = [
    ("SELECT * FROM read_text('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM read_blob('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM read_csv('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM READ_CSV_AUTO('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM main.read_json('https://example.org/x')", TABLE_FUNCTION),
    ("SELECT * FROM sniff_csv('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM glob('/**')", TABLE_FUNCTION),
    ("SELECT * FROM parquet_metadata('{inside}')", TABLE_FUNCTION),
    ("SELECT * FROM read_parquet('{inside}')", TABLE_FUNCTION),
    ("SELECT * FROM read_parquet('{other}')", TABLE_FUNCTION),
    ("SELECT * FROM read_text('{inside}')", TABLE_FUNCTION),
    ("SELECT (SELECT max(content) FROM read_text('/etc/passwd'))", TABLE_FUNCTION),
    ("SELECT * FROM rows WHERE id IN (SELECT content FROM read_text('/etc/passwd'))", TABLE_FUNCTION),
    ("FROM rows JOIN LATERAL (FROM read_text('/etc/passwd')) ON true", TABLE_FUNCTION),
    ("WITH x AS (FROM read_text('/etc/passwd')) FROM x", TABLE_FUNCTION),
    ("SUMMARIZE FROM read_text('/etc/passwd')", TABLE_FUNCTION),
    ("EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')", TABLE_FUNCTION),
    ("SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')", TABLE_FUNCTION),
    ("SELECT * FROM query_table('rows')", TABLE_FUNCTION),
    ("SELECT * FROM json_execute_serialized_sql('x')", TABLE_FUNCTION),
    ("SELECT * FROM duckdb_secrets()", TABLE_FUNCTION),
    ("SELECT * FROM duckdb_settings()", TABLE_FUNCTION),
    ("SELECT * FROM enable_logging()", TABLE_FUNCTION),
    ("SELECT * FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)", TABLE_FUNCTION),
    ("SELECT * FROM '/etc/passwd'", "does not exist"),
    ("SELECT * FROM '{other}'", "no other file"),
    ("SELECT * FROM 'https://example.org/x.parquet'", r"no other file|does not exist"),
    ("SELECT * FROM secret_frame", "does not exist"),
    ("COPY rows TO '{new}'", ONLY_SELECT),
    ("COPY (SELECT 1) TO '{new}' (FORMAT parquet)", ONLY_SELECT),
    ("WITH x AS (COPY (SELECT 1) TO '{new}') FROM x", "COPY inside a query"),
    ("CREATE TABLE t (a INT)", ONLY_SELECT),
    ("CREATE OR REPLACE VIEW rows AS SELECT 1", ONLY_SELECT),
    ("DROP VIEW rows", ONLY_SELECT),
    ("INSERT INTO rows VALUES (1)", ONLY_SELECT),
    ("UPDATE rows SET id = 'x'", ONLY_SELECT),
    ("DELETE FROM rows", ONLY_SELECT),
    ("WITH x AS (INSERT INTO rows VALUES (1) RETURNING *) FROM x", "INSERT inside a query"),
    ("WITH x AS (UPDATE rows SET id = 'x' RETURNING *) FROM x", "UPDATE inside a query"),
    ("WITH x AS (DELETE FROM rows RETURNING *) FROM x", "DELETE inside a query"),
    ("ATTACH '{new}'", ONLY_SELECT),
    ("INSTALL httpfs", ONLY_SELECT),
    ("LOAD httpfs", ONLY_SELECT),
    ("SET enable_external_access = true", ONLY_SELECT),
    ("RESET lock_configuration", ONLY_SELECT),
    ("SET VARIABLE class_names = ['x']", ONLY_SELECT),
    ("PRAGMA database_list", ONLY_SELECT),
    ("PRAGMA enable_profiling", ONLY_SELECT),
    ("CALL pragma_version()", ONLY_SELECT),
    ("CHECKPOINT", ONLY_SELECT),
    ("EXPORT DATABASE '{new}'", ONLY_SELECT),
    ("IMPORT DATABASE '{new}'", r"only SELECT|no other file|Cannot open|Error"),
    ("PREPARE x AS SELECT 1", ONLY_SELECT),
    ("EXECUTE x", ONLY_SELECT),
    ("BEGIN", ONLY_SELECT),
    ("CREATE SECRET s (TYPE s3)", ONLY_SELECT),
    ("EXPLAIN ANALYZE CREATE TABLE t (a INT)", ONLY_SELECT),
    ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{new}'", ONLY_SELECT),
    ("EXPLAIN EXPLAIN ANALYZE CREATE TABLE t (a INT)", r"only SELECT|Parser Error"),
    ("/* EXPLAIN */ DROP VIEW rows", ONLY_SELECT),
    ("SELECT 1; SELECT 2", "this is 2 statements"),
    ("SELECT 1; DROP VIEW rows", "this is 2 statements"),
    ("", "this is 0 statements"),
    ("-- nothing", "this is 0 statements"),
    ("SELECT colour FROM rows", "Binder Error"),
    ("SELEC 1", "Parser Error"),
    ("SELECT $1", r"[Pp]arameter"),
]


@dataclass(frozen=True)
class Shelf:
    """A connection to a release, a file that it lists, and one of the same table that it does not."""

    connection: duckdb.DuckDBPyConnection
    inside: str
    other: str


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    store = Store(str(tmp_path_factory.mktemp("shelf")), "digits").open(create=True)
    ref = put(store, "rows", "p", rows(["a"], [0]))
    releases.publish(store, "p", None, [], {"rows": ref.version})
    put(store, "rows", "q", rows(["b"], [0]))
    inside, other = store.file_uris("rows")
    return Shelf(connect(store), inside, other)


@pytest.mark.parametrize(("sql", "message"), REFUSED, ids=[sql for sql, _ in REFUSED])
def test_everything_else_is_refused_in_a_sentence(
    shelf: Shelf, tmp_path: Path, sql: str, message: str
) -> None:
    new = tmp_path / "new.parquet"
    secret_frame = pa.table({"a": [1]})
    with pytest.raises(QueryError, match=message) as refused:
        select(shelf.connection, sql.format(inside=shelf.inside, other=shelf.other, new=new))
    assert "\n" not in str(refused.value)
    assert not new.exists()
    assert select(shelf.connection, "SELECT id FROM rows").to_pylist() == [{"id": "a"}]  # it is still of use
    del secret_frame


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM glob('/**')",
        "COPY (SELECT 1) TO '{new}'",
        "ATTACH '{new}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_paths = ['/etc/passwd']",
        "SELECT * FROM secret_frame",
    ],
)
def test_duckdb_itself_refuses_too_without_the_parser_in_front(
    store: Store, tmp_path: Path, sql: str
) -> None:
    secret_frame = pa.table({"a": [1]})
    put(store, "rows", "p", rows(["a"], [0]))
    other = tmp_path / "other.parquet"
    other.write_bytes(Path(store.file_uris("rows")[0]).read_bytes())
    with pytest.raises(duckdb.Error):
        connect(store).execute(sql.format(other=other, new=tmp_path / "new.parquet")).fetchall()
    del secret_frame


def test_a_class_name_is_data_and_never_sql(store: Store) -> None:
    hostile = ["'); DROP VIEW rows; --", "é'\"", "{x}", "a\nb"]
    classes.extend(store, hostile)
    put(store, "rows", "p", rows(["a"], [0]))
    assert [row["name"] for row in asked(store, "FROM classes")] == hostile
    assert asked(store, "SELECT label_name FROM rows") == [{"label_name": hostile[0]}]


def test_every_release_file_and_only_those_are_open(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    connection = connect(store)
    [[allowed]] = connection.execute("SELECT current_setting('allowed_paths')").fetchall()
    assert [path for path in allowed if path.endswith(".parquet")] == store.file_uris("metrics")
    assert query.files_of(store, "live")["metrics"] == store.file_uris("metrics")
