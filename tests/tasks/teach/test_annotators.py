"""People as a teacher. Run: .venv/bin/python -m pytest tests/tasks/teach/test_annotators.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.data import Annotations, Examples
from tasks.teach import BadTraining
from tasks.teach.annotators import Annotators
from tasks.teach.dawid_skene import shares
from tasks.teach.votes import votes_of
from tests.tasks.teach.examples import digits, in_parts


def said(*rows: dict[str, int]) -> Annotations:
    """What people said of each row, by name."""
    kind = pa.list_(pa.struct([("annotator", pa.string()), ("label", pa.int32())]))
    lists = [[{"annotator": name, "label": label} for name, label in row.items()] or None for row in rows]
    ids = np.array([f"row-{i}" for i in range(len(rows))], dtype=object)
    return Annotations.from_arrow(ids, pa.chunked_array([pa.array(lists, kind)]))


def examples(annotations: Annotations) -> Examples:
    n = len(annotations)
    return Examples(
        annotations.ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), annotations=annotations
    )


def crowd(n: int = 600, right: tuple[float, ...] = (0.9, 0.7, 0.7, 0.5, 0.5)) -> tuple[Examples, np.ndarray]:
    """Digits' classes as five people see them, each of whom leaves out a fifth; and the truth."""
    _, truth = digits(n)
    random = np.random.default_rng(3)
    labels = (truth[:, None] + random.integers(1, 10, (n, len(right)))) % 10
    labels = np.where(random.random(labels.shape) < right, truth[:, None], labels)
    given = random.random(labels.shape) < 0.8
    people = [
        {f"p{j}": int(row[j]) for j in np.flatnonzero(on)} for row, on in zip(labels, given, strict=True)
    ]
    return examples(said(*people)), truth


def judged(rows: Examples, k: int = 10, teacher: Annotators | None = None) -> np.ndarray:
    teacher = teacher or Annotators()
    said = teacher.predict(teacher.fit(rows, k, 0, "cpu"), rows, k, "cpu")[0]
    return np.asarray(np.exp(said.astype(np.float64)))


def test_annotations_are_taken_and_joined_row_by_row() -> None:
    rows = said({"a": 1, "b": 2}, {}, {"c": 3}, {"a": 4, "c": 5, "b": 6})
    assert rows.counts.tolist() == [2, 0, 1, 3]
    assert rows.rows.tolist() == [0, 0, 2, 3, 3, 3]
    part = rows.take(np.array([3, 1, 0]))
    assert part.ids.tolist() == ["row-3", "row-1", "row-0"]
    assert (part.annotators.tolist(), part.classes.tolist()) == (["a", "c", "b", "a", "b"], [4, 5, 6, 1, 2])
    assert rows.take(np.array([False, False, True, False])).classes.tolist() == [3]
    again = Annotations.concat(
        [rows.take(np.array([0])), rows.take(np.array([], int)), rows.take(np.array([2]))]
    )
    assert (again.counts.tolist(), again.classes.tolist()) == ([2, 1], [1, 2, 3])
    assert examples(rows).take(np.array([2])).annotations.classes.tolist() == [3]  # type: ignore[union-attr]


def test_it_knows_whom_to_believe() -> None:
    rows, truth = crowd(1797)
    assert rows.annotations is not None
    teacher = Annotators()
    state = teacher.fit(rows, 10, 0, "cpu")
    assert state.info["annotators"] == ["p0", "p1", "p2", "p3", "p4"]
    np.testing.assert_allclose(state.arrays["quality"], [0.9, 0.7, 0.7, 0.5, 0.5], atol=0.05)
    assert state.arrays["labels"].sum() == rows.annotations.counts.sum()
    majority = shares(votes_of(rows.annotations, state.info["annotators"], 10), 10).argmax(axis=1)
    assert (judged(rows).argmax(axis=1) == truth).mean() > (majority == truth).mean() + 0.02


def test_a_row_that_nobody_labelled_has_the_shares_of_the_classes() -> None:
    teacher = Annotators()
    state = teacher.fit(examples(said(*[{"a": 0, "b": 0}] * 3, {"a": 1, "b": 1})), 2, 0, "cpu")
    found = np.exp(teacher.predict(state, examples(said({})), 2, "cpu"))
    np.testing.assert_allclose(found[0, 0], state.arrays["prior"], atol=1e-5)


def test_a_new_annotator_counts_as_the_crowd_and_a_new_class_gets_a_millionth() -> None:
    teacher = Annotators()
    rows, _ = crowd()
    state = teacher.fit(rows, 10, 0, "cpu")
    found = np.exp(teacher.predict(state, examples(said({"new": 3}, {"p0": 11}, {"p0": 3})), 12, "cpu")[0])
    assert found.shape == (3, 12)
    assert found[0].argmax() == 3
    assert found[0, 3] < found[2, 3]
    np.testing.assert_allclose(found[:, 10:], 1e-6, rtol=1e-2)
    np.testing.assert_allclose(found[1, :10], state.arrays["prior"], atol=1e-4)


def test_a_class_that_no_row_of_the_window_has_is_left_out_of_what_is_learned() -> None:
    teacher = Annotators()
    state = teacher.fit(examples(said({"a": 0, "b": 0}, {"a": 1, "b": 7})), 2, 0, "cpu")
    assert state.arrays["confusion"].shape == (3, 2, 2)
    assert state.arrays["labels"].tolist() == [2, 1]


def test_a_rows_answer_does_not_depend_on_the_others_and_repeats_to_the_bit() -> None:
    rows, _ = crowd()
    teacher = Annotators()
    state = teacher.fit(rows, 10, 0, "cpu")
    whole = teacher.predict(state, rows, 10, "cpu")[0]
    for part in in_parts(600):
        assert teacher.predict(state, rows.take(part), 10, "cpu")[0].tobytes() == whole[part].tobytes()
    again = teacher.fit(rows, 10, 1, "cpu")
    assert {k: v.tobytes() for k, v in again.arrays.items()} == {
        k: v.tobytes() for k, v in state.arrays.items()
    }


def test_no_rows_are_judged_to_no_rows_and_missing_annotations_are_named() -> None:
    teacher = Annotators()
    rows, _ = crowd(50)
    state, none = teacher.fit(rows, 10, 0, "cpu"), rows.take(np.arange(0))
    assert teacher.predict(state, none, 10, "cpu").shape == (1, 0, 10)
    with pytest.raises(BadTraining, match="finds no row that people labelled"):
        teacher.fit(none, 10, 0, "cpu")
    with pytest.raises(BadTraining, match="map annotators or annotations of the source"):
        teacher.predict(state, replace(rows, annotations=None), 10, "cpu")
