"""SQL that can do nothing but reject rows. Run: python -m pytest tests/tasks/ingest/test_where.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.ingest.where import Where, connect

ROWS = pl.DataFrame(
    {
        "label": ["cat", "dog", None, "cat"],
        "text": ["12", "7", "30", None],
        "position": [0, 1, 2, 3],
        "features": [[1.0, 2.0], [3.0], [], [0.5]],
        "seen": [False, True, False, False],
    },
    schema_overrides={"features": pl.List(pl.Float32)},
)


def test_allow_keeps_what_it_is_true_for() -> None:
    reason = "not_allowed: label = 'cat' is not true"
    assert Where(allow="label = 'cat'").reasons(ROWS).to_list() == [None, reason, reason, None]


def test_deny_rejects_what_it_is_true_for() -> None:
    assert Where(deny="label = 'cat'").reasons(ROWS).to_list() == [
        "denied: label = 'cat'",
        None,
        None,
        "denied: label = 'cat'",
    ]


def test_deny_outranks_allow() -> None:
    reasons = Where(allow="position < 2", deny="seen").reasons(ROWS).to_list()
    assert [reason and reason.split(":")[0] for reason in reasons] == [
        None,
        "denied",
        "not_allowed",
        "not_allowed",
    ]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("try_cast(text AS INTEGER) > 10", [0, 2]),
        ("list_max(features) < 3 -- a comment", [0, 3]),
        ("regexp_matches(text, '^[0-9]$')", [1]),
        ("label IN ('dog', 'fox') OR label IS NULL", [1, 2]),
        ("len(list_filter(features, lambda x: x > 1)) = 1", [0, 1]),
        ("text LIKE '%;%' OR position = 3", [3]),
    ],
)
def test_conditions_are_duckdbs(condition: str, kept: list[int]) -> None:
    reasons = Where(allow=condition).reasons(ROWS)
    assert [row for row, reason in enumerate(reasons) if reason is None] == kept


def test_rows_stay_in_order_and_none_is_fine() -> None:
    n = 300_000
    rows = ROWS.clear().join(pl.DataFrame({"position": range(n)}), on="position", how="right")
    reasons = Where(deny="position % 3 = 0").reasons(rows)
    assert reasons.is_not_null().to_list() == [i % 3 == 0 for i in range(n)]
    assert Where(deny="seen").reasons(ROWS.clear()).to_list() == []


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("seen; DROP TABLE rows", "not one SQL expression"),
        ("seen) FROM rows; --", "not one SQL expression"),
        ("seen) --", "not one SQL expression"),
        ("seen FROM other", "not one SQL expression"),
        ("label =", "not one SQL expression"),
        ("", "not one SQL expression"),
        ("label IN (SELECT content FROM read_text('/etc/passwd'))", "a subquery"),
        ("EXISTS (FROM rows)", "a subquery"),
        ("row_number() OVER () > 3", "a window function"),
        ("count(*) > 3", r"calls count_star|a \*"),
        ("max(position) > 3", "calls max"),
        ("random() < 0.5", "calls random"),
        ("now() > '2026-01-01'", "calls now"),
        ("current_date > '2026-01-01'", "calls current_date"),
        ("ago(INTERVAL 1 DAY) < '2026-01-01'", "calls ago, which.* calls current_timestamp"),
        ("current_localtimestamp() > '2026-01-01'", "calls current_localtimestamp"),
        ("CURRENT_DATE > '2026-01-01'", "calls current_date"),
        ("pg_catalog.NOW() > '2026-01-01'", "calls now"),
        ("position.Max() > 3", "calls max"),
        ("truth <> label", "truth"),
        ("rowid > 3", "rowid"),
        ("geomean(position) > 1", "calls geomean, which calls"),
        ("COLUMNS(*)", r"a \*"),
        ("position = ?", "a parameter"),
        ("colour = 'red'", "colour"),
        ("position", "is BIGINT, must be true or false"),
        ("(seen, seen)", "must be true or false"),
        ("read_text('/etc/passwd')", "read_text"),
        ("nonsense(label)", "nonsense"),
    ],
)
def test_anything_but_one_condition_on_one_row_is_refused(condition: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Where(deny=condition)
    with pytest.raises(ValidationError, match="allow"):
        Where(allow=condition)


def test_one_condition_is_needed() -> None:
    with pytest.raises(ValidationError, match="allow or deny"):
        Where()


def test_a_condition_that_fails_on_a_row_says_so() -> None:
    with pytest.raises(ValueError, match=r"where: .*Could not convert.*TRY_CAST"):
        Where(deny="label::INTEGER = 1").reasons(ROWS)


@pytest.mark.parametrize(
    "statement",
    ["FROM read_text('{}')", "COPY (SELECT 1) TO '{}'", "ATTACH '{}'", "FROM ROWS", "SET threads = 2"],
)
def test_its_connection_reaches_nothing(tmp_path: Path, statement: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with (
        connect() as connection,
        pytest.raises(Exception, match=r"disabled|Permission|does not exist|locked"),
    ):
        connection.execute(statement.format(secret))
    assert secret.read_text() == "secret"


def test_identity_is_the_conditions() -> None:
    fields: dict[str, Any] = Where(deny="seen").identity()
    assert fields == {"kind": "where", "allow": None, "deny": "seen", "revision": 1}
