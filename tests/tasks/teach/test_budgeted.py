"""Two teachers and a budget. Run: .venv/bin/python -m pytest tests/tasks/teach/test_budgeted.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.teach import teacher_of
from tasks.teach.budgeted import Budgeted, estimated_error
from tasks.teach.linear import Linear
from tests.tasks.teach.examples import digits

ORACLE = {"kind": "precomputed", "path": "oracle.parquet", "teachers": ["oracle"]}


def budgeted(**changes: Any) -> Budgeted:
    fields = {"kind": "budgeted", "cheap": {"kind": "linear", "c": 0.01}, "expensive": ORACLE, "budget": 10}
    teacher = teacher_of({**fields, **changes})
    assert isinstance(teacher, Budgeted)
    return teacher


def log_probs(*margins: float) -> np.ndarray:
    """Rows of two classes with these margins."""
    first = (1 + np.array(margins)) / 2
    found: np.ndarray = np.log(np.stack([first, 1 - first], axis=1).clip(1e-9)).astype(np.float32)
    return found


def test_it_is_spelled_as_two_teachers_in_one() -> None:
    teacher = budgeted()
    assert teacher.cheap == Linear(c=0.01)
    assert teacher.names() == ("budgeted",)
    assert teacher.looks_at() == {"embedding", "nothing"}
    asked = teacher.answered_by(np.array([True, False]))
    assert asked.tolist() == ["budgeted:oracle", "budgeted:linear"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cheap": ORACLE}, "cheap is precomputed, must be a teacher that is trained here"),
        ({"expensive": {"kind": "linear"}}, "expensive is linear, must be one teacher not trained here"),
        ({"expensive": {**ORACLE, "teachers": ["a", "b"]}}, "must be one teacher not trained here"),
        ({"cheap": {"kind": "linear", "c": -1}}, "greater than 0"),
        ({"cheap": {"kind": "liner"}}, "liner"),
        ({"budget": 0}, "budget"),
        ({"harm": 3}, "harm"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        budgeted(**changes)


def test_a_budgeted_teacher_is_nobodys_cheap_one() -> None:
    with pytest.raises(ValidationError, match="cheap is budgeted"):
        budgeted(cheap={"kind": "budgeted", "cheap": {"kind": "linear"}, "expensive": ORACLE, "budget": 1})


def test_the_identity_is_that_of_both_teachers_and_the_oracles_content(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "oracle.parquet"
    pq.write_table(pa.table({"id": ["a"], "oracle": [[1.0]]}), file)
    here = budgeted(expensive={**ORACLE, "path": str(file)}).identity()
    assert here["cheap"] == Linear(c=0.01).identity()
    assert here["expensive"]["path"] not in (None, str(file))
    assert budgeted().identity() != here
    assert budgeted(budget=11).identity() != budgeted().identity()


def test_it_learns_and_judges_as_the_cheap_teacher_does() -> None:
    rows, _ = digits(300)
    teacher, cheap = budgeted(), Linear(c=0.01)
    ours, theirs = teacher.fit(rows, 10, 0, "cpu"), cheap.fit(rows, 10, 0, "cpu")
    assert (
        teacher.predict(ours, rows, 10, "cpu").tobytes() == cheap.predict(theirs, rows, 10, "cpu").tobytes()
    )


def test_without_errors_it_asks_about_the_smallest_margins() -> None:
    said, keys = log_probs(0.9, 0.1, 0.5, 0.2), np.arange(4, dtype=np.uint64)
    places, why = budgeted(budget=2).chosen(said, keys, 0.0)
    assert places.tolist() == [1, 3]
    assert why == {"wrong": 0, "support": 1, "value": pytest.approx(0.9, abs=1e-5)}


def test_with_errors_it_spreads_over_the_support() -> None:
    margins = np.linspace(0, 0.99, 100)
    places, why = budgeted(budget=10).chosen(log_probs(*margins), np.arange(100, dtype=np.uint64), 0.3)
    assert why["wrong"] == 30
    assert 30 < why["support"] < 100
    assert len(places) == 10
    assert places.max() < why["support"]
    assert places.tolist() != list(range(10))


def test_the_same_partition_draws_the_same_rows_in_any_order() -> None:
    random = np.random.default_rng(0)
    said, keys, order = log_probs(*random.random(60)), np.arange(60, dtype=np.uint64), random.permutation(60)
    places, _ = budgeted().chosen(said, keys, 0.2)
    again, _ = budgeted().chosen(said[order], keys[order], 0.2)
    assert sorted(order[again].tolist()) == places.tolist()


def test_a_budget_beyond_the_partition_asks_about_all_of_it_and_no_row_about_none() -> None:
    said, keys = log_probs(0.5, 0.6), np.arange(2, dtype=np.uint64)
    assert budgeted(budget=5).chosen(said, keys, 0.5)[0].tolist() == [0, 1]
    assert budgeted().chosen(said[:0], keys[:0], 0.5)[0].tolist() == []


def test_the_error_is_what_label_noise_does_not_explain() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 3000)
    labels = np.where(random.random(3000) < 0.1, (truth + 1) % 3, truth)
    believed = np.where(random.random(3000) < 0.05, (truth + 2) % 3, truth)
    said = np.full((3000, 3), 0.02)
    said[np.arange(3000), believed] = 0.96
    disagrees = (believed != labels).mean()
    assert disagrees > 0.13
    assert 0.0 <= estimated_error(said, labels) < 0.06
    assert estimated_error(said, np.full(3000, -1)) == 0
    assert estimated_error(np.ones((5, 1)), np.zeros(5, int)) == 0
