"""What a training shows of each row. Run: .venv/bin/python -m pytest tests/tasks/teach/test_dynamics.py"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.teach.dynamics import DYNAMICS, EARLY, ERRORS, MARKS, Recorder, errors_of, margins_of, marks_of


def recorder(n: int, before: dict[str, np.ndarray] | None = None) -> Recorder:
    return Recorder(np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), before)


def shown(seen: Recorder, row: int, margins: list[float]) -> None:
    for margin in margins:
        seen.see(np.array([row]), np.array([0]), np.array([[margin, 0.0]], np.float32))


def of_row(arrays: dict[str, np.ndarray], row: int) -> list[float]:
    """Area under the margin, times forgotten, presentations."""
    mark = marks_of(np.array([row], np.uint64), np.array([0]))
    (at,) = np.flatnonzero(arrays[MARKS] == mark)
    found: list[float] = arrays[DYNAMICS][at].tolist()
    return found


def test_margins_are_of_the_label_against_the_best_other_class() -> None:
    logits = np.array([[3, 1, 0], [1, 2, 0], [5, 5, 1]], np.float32)
    assert margins_of(logits, np.array([0, 0, 1])).tolist() == [2, -1, 0]
    assert logits[0].tolist() == [3, 1, 0]


def test_errors_are_the_distance_of_the_probabilities_to_the_label() -> None:
    sure = np.array([[50, 0, 0], [50, 0, 0], [0, 0, 0], [900, -900, 0]], np.float32)
    errors = errors_of(sure, np.array([0, 1, 2, 1]))
    assert np.allclose(errors, [0, 2**0.5, (2 / 9 + 4 / 9) ** 0.5, 2**0.5])
    assert errors_of(sure[:, :2] * 0, np.array([0, 0, 1, 1])).tolist() == [0.5**0.5] * 4


def test_the_error_kept_is_that_of_an_early_presentation() -> None:
    seen = recorder(2)
    shown(seen, 0, [0, 1, 2, -9, -9])
    shown(seen, 1, [0, 3])
    errors = errors_of(np.array([[2, 0], [3, 0]], np.float32), np.zeros(2, int)).astype(np.float32)
    arrays = seen.arrays()
    by_row = dict(zip(arrays[MARKS].tolist(), arrays[ERRORS].tolist(), strict=True))
    marks = marks_of(np.arange(2, dtype=np.uint64), np.zeros(2, int)).tolist()
    assert EARLY == 3
    assert [by_row[mark] for mark in marks] == errors.tolist()


def test_a_training_that_goes_on_keeps_the_early_errors() -> None:
    first = recorder(2)
    shown(first, 0, [1] * 3)
    shown(first, 1, [1])
    second = recorder(2, first.arrays())
    shown(second, 0, [5])
    shown(second, 1, [5])
    kept = dict(zip(second.arrays()[MARKS].tolist(), second.arrays()[ERRORS].tolist(), strict=True))
    marks = marks_of(np.arange(2, dtype=np.uint64), np.zeros(2, int)).tolist()
    early, late = errors_of(np.array([[1, 0], [5, 0]], np.float32), np.zeros(2, int)).astype(np.float32)
    assert [kept[mark] for mark in marks] == [early, late]
    without = {name: array for name, array in first.arrays().items() if name != ERRORS}
    later = recorder(2, without)
    shown(later, 0, [5])
    assert np.isnan(later.arrays()[ERRORS]).tolist().count(True) >= 1


def test_the_area_is_the_mean_margin_over_the_presentations() -> None:
    seen = recorder(1)
    shown(seen, 0, [2, -1])
    assert of_row(seen.arrays(), 0) == [0.5, 1, 2]


def test_a_row_is_forgotten_when_it_was_right_and_is_wrong() -> None:
    """Right at presentations 2, 3 and 5 of six: forgotten twice; never right: each time."""
    seen = recorder(2)
    shown(seen, 0, [-1, 1, 1, -1, 1, -1])
    shown(seen, 1, [-1] * 6)
    assert of_row(seen.arrays(), 0)[1:] == [2, 6]
    assert of_row(seen.arrays(), 1)[1:] == [6, 6]


def test_a_row_that_a_batch_shows_twice_counts_twice() -> None:
    seen = recorder(2)
    logits = np.array([[1, 0], [4, 0], [-3, 0]], np.float32)
    seen.see(np.array([0, 1, 0]), np.array([0, 0, 0]), logits)
    assert of_row(seen.arrays(), 0) == [-1, 1, 2]
    assert of_row(seen.arrays(), 1) == [4, 0, 1]


def test_copies_are_one_row_and_another_label_of_one_content_is_another_row() -> None:
    seen = Recorder(np.array([5, 5, 5], np.uint64), np.array([0, 0, 1]))
    seen.see(np.array([0, 1, 2]), np.array([0, 0, 1]), np.array([[1, 0], [3, 0], [7, 0]], np.float32))
    arrays = seen.arrays()
    by_mark = dict(zip(arrays[MARKS].tolist(), arrays[DYNAMICS].tolist(), strict=True))
    first, second = marks_of(np.array([5, 5], np.uint64), np.array([0, 1])).tolist()
    assert by_mark == {first: [2, 0, 2], second: [-7, 1, 1]}


def test_rows_that_were_not_shown_are_left_out() -> None:
    assert recorder(3).arrays()[MARKS].tolist() == []
    assert recorder(0).arrays()[DYNAMICS].shape == (0, 3)
    seen = recorder(3)
    shown(seen, 1, [1])
    assert len(seen.arrays()[MARKS]) == 1


def test_a_training_that_goes_on_counts_on() -> None:
    first = recorder(3)
    shown(first, 0, [1, -1, 1])
    shown(first, 1, [-2, -4])
    second = recorder(2, first.arrays())
    shown(second, 0, [3, -2])
    shown(second, 1, [3])
    assert np.allclose(of_row(second.arrays(), 0), [0.4, 2, 5])
    assert np.allclose(of_row(second.arrays(), 1), [-1, 0, 3])  # right at last, and not forgotten since
    assert of_row(recorder(2, first.arrays()).arrays(), 1) == [-3, 2, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5)), max_size=40), st.integers(1, 7))
def test_how_presentations_are_dealt_into_batches_changes_nothing(
    presentations: list[tuple[int, int]], size: int
) -> None:
    alone, dealt = recorder(5), recorder(5)
    for row, margin in presentations:
        shown(alone, row, [margin])
    for start in range(0, len(presentations), size):
        rows, margins = np.array(presentations[start : start + size]).T
        logits = np.stack([margins, 0 * margins], axis=1).astype(np.float32)
        dealt.see(rows, 0 * rows, logits)
    for name, array in alone.arrays().items():
        assert dealt.arrays()[name].tobytes() == array.tobytes()


@given(st.integers(0, 2**64 - 1), st.integers(1, 10**4))
def test_one_content_with_several_labels_has_as_many_marks(key: int, k: int) -> None:
    labels = np.arange(-1, k, dtype=np.int32)
    assert len(np.unique(marks_of(np.full(k + 1, key, np.uint64), labels))) == k + 1
