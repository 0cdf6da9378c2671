"""People's decisions, read and laid over the machine's: pytest tests/tasks/relabel/test_reviews.py"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data import ACTIONS, Decisions
from tasks.relabel.reviews import REVIEWS, overrule, read_reviews

NAMES = ("shirt", "coat")
NOW = "2026-11-23T12:00:00Z"


def read(**columns: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    table, problems = read_reviews(pa.table(columns), NAMES, NOW)
    assert table.schema.equals(REVIEWS)
    return table.to_pylist(), problems


def decisions(n: int = 3) -> Decisions:
    return Decisions(
        ids=np.array([f"row{i}" for i in range(n)], dtype=object),
        given=np.zeros(n, np.int32),
        label=np.full(n, 1, np.int32),
        action=np.full(n, ACTIONS.index("fix"), np.int8),
        confidence=np.full(n, 0.97, np.float32),
        reason=np.full(n, "because", dtype=object),
        decided_by=np.full(n, "threshold", dtype=object),
    )


def reviews(*rows: tuple[str, int | None, str, int, str | None]) -> pa.Table:
    """Rows (id, label, reviewer, day of November 2026, note)."""
    names = ("id", "label", "reviewer", "decided_at", "note")
    made = [(i, label, who, datetime(2026, 11, day, tzinfo=UTC), note) for i, label, who, day, note in rows]
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in made], schema=REVIEWS)


def test_a_class_name_becomes_its_index_and_an_empty_one_drops_the_row() -> None:
    rows, problems = read(id=["a", "b", "c"], label=["coat", "", None], reviewer=["Ana", "Bo", " Cy "])
    assert problems == []
    assert [row["label"] for row in rows] == [1, None, None]
    assert rows[2] == {
        "id": "c",
        "label": None,
        "reviewer": "Cy",
        "decided_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
        "note": None,
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T09:30", datetime(2026, 11, 22, 9, 30, tzinfo=UTC)),
        ("2026-11-22 09:30:15.25", datetime(2026, 11, 22, 9, 30, 15, 250_000, tzinfo=UTC)),
        ("2026-11-22T09:30:00Z", datetime(2026, 11, 22, 9, 30, tzinfo=UTC)),
        ("2026-11-22T09:30+02:00", datetime(2026, 11, 22, 7, 30, tzinfo=UTC)),
        ("2026-11-22T09:30:00.123456789-0530", datetime(2026, 11, 22, 15, 0, 0, 123_456, tzinfo=UTC)),
        ("", datetime(2026, 11, 23, 12, tzinfo=UTC)),
    ],
)
def test_times_are_iso_8601_and_utc_unless_they_say_otherwise(written: str, meant: datetime) -> None:
    rows, problems = read(id=["a"], label=["coat"], reviewer=["Ana"], decided_at=[written])
    assert problems == []
    assert rows[0]["decided_at"] == meant


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_times_that_a_reader_already_recognised_are_taken(zone: str | None) -> None:
    times = pa.array([datetime(2026, 1, 1, 3)], pa.timestamp("ms", tz=zone))
    table = pa.table({"id": ["a"], "label": ["coat"], "reviewer": ["Ana"], "decided_at": times})
    read_table, problems = read_reviews(table, NAMES, NOW)
    assert problems == []
    assert read_table["decided_at"].to_pylist() == [datetime(2026, 1, 1, 3, tzinfo=UTC)]


def test_every_bad_row_gets_a_sentence_and_the_good_ones_are_read() -> None:
    rows, problems = read(
        id=["a", "b", None, "d", "e", "f"],
        label=["coat", "cota", "coat", "coat", "coat", "shirt"],
        reviewer=["Ana", "Ana", "Ana", "  ", "Ana", "Ana"],
        decided_at=["", "", "", "", "yesterday", "2026-02-30"],
    )
    assert [row["id"] for row in rows] == ["a"]
    assert problems == [
        "row 2: id 'b' is given the unknown class 'cota'; use one of shirt, coat, "
        "or leave it empty to drop the row",
        "row 3 has no id; copy it from the exported file",
        "row 4: id 'd' has no reviewer; write who decided",
        "row 5: id 'e' has decided_at 'yesterday', which is no date; write it like 2026-11-22T09:30",
        "row 6: id 'f' has decided_at '2026-02-30', which is no date; write it like 2026-11-22T09:30",
    ]


def test_repeated_decisions_count_once_and_contradictory_ones_not_at_all() -> None:
    rows, problems = read(
        id=["a", "b", "a", "c", "b", "c"],
        label=["coat", "coat", "coat", "coat", "shirt", ""],
        reviewer=["Ana", "Ana", "Ana", "Ana", "Bo", "Ana"],
        decided_at=["2026-11-01"] * 5 + ["2026-11-02"],
    )
    assert [(row["id"], row["label"]) for row in rows] == [("a", 1), ("c", 1), ("c", None)]
    assert problems == [
        "row 2: id 'b' has different decisions of the same moment in rows 2, 5; keep one of them",
        "row 5: id 'b' has different decisions of the same moment in rows 2, 5; keep one of them",
    ]


def test_missing_columns_are_named() -> None:
    rows, problems = read(id=["a"], class_name=["coat"])
    assert rows == []
    assert problems == [
        "the file has no column label; it needs id, label, reviewer",
        "the file has no column reviewer; it needs id, label, reviewer",
    ]


def test_a_csv_file_whose_ids_and_classes_look_like_numbers_is_read() -> None:
    text = b"id,label,reviewer,decided_at,note\n7,1,Ana,2026-11-22T09:30:00Z,\n8,,Bo,,blurred\n"
    table, problems = read_reviews(pyarrow.csv.read_csv(io.BytesIO(text)), ("0", "1"), NOW)
    assert problems == []
    assert table["id"].to_pylist() == ["7", "8"]
    assert table["label"].to_pylist() == [1, None]
    assert table["decided_at"].to_pylist()[0] == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert table["note"].to_pylist() == [None, "blurred"]


def test_a_long_vocabulary_is_not_listed_whole() -> None:
    table = pa.table({"id": ["a"], "label": ["x"], "reviewer": ["Ana"]})
    _, problems = read_reviews(table, tuple(f"class{i}" for i in range(100)), NOW)
    assert "class11, …, or leave it empty" in problems[0]


def test_an_empty_file_is_legal() -> None:
    none = pa.table({name: pa.array([], pa.string()) for name in ("id", "label", "reviewer")})
    table, problems = read_reviews(none, NAMES, NOW)
    assert (table.num_rows, problems) == (0, [])


def test_a_present_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="now is 'noon', which is no ISO 8601 time"):
        read_reviews(pa.table({"id": ["a"], "label": ["coat"], "reviewer": ["Ana"]}), NAMES, "noon")


def test_a_persons_decision_replaces_the_machines_and_leaves_other_rows_alone() -> None:
    before = decisions()
    people = reviews(
        ("row1", None, "Ana", 1, "  too blurred "), ("row2", 0, "Bo", 1, None), ("row9", 0, "Bo", 1, None)
    )
    after = overrule(before, people)
    assert after.ids.tolist() == before.ids.tolist()
    assert after.label.tolist() == [1, -1, 0]
    assert [ACTIONS[a] for a in after.action] == ["fix", "human", "human"]
    assert after.confidence == pytest.approx([0.97, 1, 1])
    assert after.reason.tolist() == ["because", "decided by Ana: too blurred", "decided by Bo"]
    assert after.decided_by.tolist() == ["threshold", "Ana", "Bo"]
    assert after.given.tolist() == [0, 0, 0]
    assert after.to_arrow()["action"].to_pylist() == ["fix", "human", "human"]


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(5)))
def test_the_latest_decision_wins_then_the_last_name_in_any_order(order: list[int]) -> None:
    people = reviews(
        ("row0", 0, "Zoe", 1, "early"),
        ("row0", 1, "Ana", 3, "late"),
        ("row0", 0, "Bo", 2, None),
        ("row1", 1, "Ana", 2, "tie"),
        ("row1", None, "Bo", 2, "tie"),
    ).take(order)
    after = overrule(decisions(), people)
    assert after.label.tolist() == [1, -1, 1]
    assert after.decided_by.tolist() == ["Ana", "Bo", "threshold"]


def test_no_reviews_and_no_rows_change_nothing() -> None:
    before = decisions()
    assert overrule(before, REVIEWS.empty_table()).to_arrow().equals(before.to_arrow())
    assert len(overrule(before.take(np.arange(0)), reviews(("row0", 0, "Ana", 1, None)))) == 0


def test_overruling_twice_is_overruling_once() -> None:
    people = reviews(("row1", None, "Ana", 1, None))
    once = overrule(decisions(), people)
    assert overrule(once, people).to_arrow().equals(once.to_arrow())
