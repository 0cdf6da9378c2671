"""Decisions on sets and on numbers: pytest tests/tasks/relabel/test_reviews_of_tasks.py"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from tasks.data import ACTIONS, Decisions
from tasks.given import labels_of
from tasks.method import Task
from tasks.relabel.reviews import JOINT, overrule, read_reviews, schema_of

NAMES = ("red", "round", "big")
NOW = "2026-11-23T12:00:00Z"


def read(task: Task, *labels: str | None) -> tuple[list[Any], list[str]]:
    """What each label means, and the sentences on those that mean nothing."""
    n = len(labels)
    table, problems = read_reviews(
        pa.table({"id": [f"row{i}" for i in range(n)], "label": list(labels), "reviewer": ["Ana"] * n}),
        NAMES,
        NOW,
        task,
    )
    assert table.schema.equals(schema_of(task))
    return table[1].to_pylist(), problems


def decided(after: np.ndarray) -> Decisions:
    n = len(after)
    return Decisions(
        ids=np.array([f"row{i}" for i in range(n)], dtype=object),
        given=np.zeros(n, np.int32),
        label=labels_of(after),
        action=np.full(n, ACTIONS.index("fix"), np.int8),
        confidence=np.full(n, 0.97, np.float32),
        reason=np.full(n, "because", dtype=object),
        decided_by=np.full(n, "threshold", dtype=object),
        before=after * 0,
        after=after,
    )


def people(task: Task, *rows: tuple[str, Any, int]) -> pa.Table:
    """Rows (id, what is decided, day of November 2026), by Ana."""
    schema = schema_of(task)
    made = [(i, value, "Ana", datetime(2026, 11, day, tzinfo=UTC), None) for i, value, day in rows]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in made], schema=schema)


def test_names_joined_by_a_bar_are_a_set_the_bar_alone_an_empty_one_and_nothing_drops_the_row() -> None:
    meant, problems = read("multi_label", "big|red", " round ", "red | big | red", "|", "", None)
    assert problems == []
    assert meant == [[0, 2], [1], [0, 2], [], None, None]


def test_a_set_with_a_name_that_is_no_class_is_refused_whole() -> None:
    meant, problems = read("multi_label", "red|blue", "red")
    assert meant == [[0]]
    assert problems == [
        "row 1: id 'row0' is given 'red|blue', which holds an unknown class; join some of red, round, big "
        "by |, write | alone where none applies, or leave it empty to drop the row"
    ]


@settings(deadline=None, max_examples=40)
@drawn(st.sets(st.integers(0, 2)))
def test_a_set_written_as_it_is_exported_is_read_as_it_was(classes: set[int]) -> None:
    written = JOINT.join(NAMES[c] for c in sorted(classes)) or JOINT
    assert read("multi_label", written) == ([sorted(classes)], [])


def test_numbers_are_read_and_what_is_none_is_refused() -> None:
    meant, problems = read("regression", "3.5", "-1e3", "", "many", "inf")
    assert meant == [3.5, -1000.0, None]
    assert [problem.split(", which")[0] for problem in problems] == [
        "row 4: id 'row3' is given 'many'",
        "row 5: id 'row4' is given 'inf'",
    ]


def test_different_sets_of_one_moment_clash_and_equal_ones_count_once() -> None:
    table = pa.table({"id": ["a", "a", "b", "b"], "label": ["red", "big", "|", "|"], "reviewer": ["Ana"] * 4})
    good, problems = read_reviews(table, NAMES, NOW, "multi_label")
    assert good["labels"].to_pylist() == [[]]
    assert len(problems) == 2


def test_peoples_sets_are_laid_over_the_machines() -> None:
    machine = decided(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], np.int8))
    found = overrule(
        machine,
        people(
            "multi_label",
            ("row1", [0, 2], 1),
            ("row1", [2], 2),
            ("row2", None, 1),
            ("row3", [], 1),
            ("x", [], 1),
        ),
    )
    assert found.after is not None
    assert found.after.tolist() == [[1, 0, 0], [0, 0, 1], [-1, -1, -1], [0, 0, 0]]
    assert found.label.tolist() == [0, 0, -1, 0]
    assert found.before is machine.before
    assert found.to_arrow()["action"].to_pylist() == ["fix", "human", "human", "human"]
    assert found.to_arrow()["labels"].to_pylist() == [[0], [2], None, []]


@pytest.mark.parametrize("twice", [False, True])
def test_peoples_numbers_are_laid_over_the_machines(twice: bool) -> None:
    said = people("regression", ("row0", 2.5, 1), ("row2", None, 1))
    found = overrule(decided(np.array([1.0, np.nan, 3.0])), said)
    found = overrule(found, said) if twice else found
    assert found.to_arrow()["target"].to_pylist() == [2.5, None, None]
    assert found.label.tolist() == [0, -1, -1]


def test_no_reviews_of_sets_change_nothing() -> None:
    machine = decided(np.array([[1, 0, 0]], np.int8))
    nobody = schema_of("multi_label").empty_table()
    assert overrule(machine, nobody).to_arrow().equals(machine.to_arrow())
