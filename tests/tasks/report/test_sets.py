"""Figures of sets of classes. Run: .venv/bin/python -m pytest tests/tasks/report/test_sets.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score

from tasks.data import ACTIONS, Decisions, Issues, SoftLabels
from tasks.report import metrics
from tasks.report.sets import coded, f1_macro, f1_micro, judged, student, teach

NONE = [-1, -1, -1]


def sets(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int8).reshape(len(rows), -1)


def ids(n: int) -> np.ndarray:
    return np.array([f"row{i}" for i in range(n)], dtype=object)


def test_equal_sets_have_one_code_and_a_row_without_labels_has_none() -> None:
    first, second = coded(sets([1, 0, 0], [0, 0, 0], NONE), sets([0, 0, 0], [1, 0, 1], [1, 0, 0]))
    assert first[0] == second[2]
    assert first[1] == second[0]
    assert first[2] == -1
    assert len({*first[:2], second[1]}) == 3


@drawn(arrays.arrays(np.int8, (8, 11), elements=st.integers(0, 1)))
def test_codes_are_equal_where_sets_are(drawn_sets: np.ndarray) -> None:
    (codes,) = coded(drawn_sets)
    same = (drawn_sets[:, None] == drawn_sets[None]).all(axis=2)
    assert ((codes[:, None] == codes[None]) == same).all()


def test_measures_of_four_rows_by_hand() -> None:
    """Of the first class 2 of 3 answers of yes are right and 1 is missed: F1 = 4 / 6. Of the second one is
    right of one, one is missed: 2 / 3. The third is given to none, and nobody says so."""
    p = np.array([[0.9, 0.1, 0.1], [0.8, 0.9, 0.1], [0.7, 0.1, 0.1], [0.2, 0.1, 0.1]])
    found = judged(p, sets([1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]))
    assert found["f1_macro"] == pytest.approx(2 / 3)
    assert found["f1_micro"] == pytest.approx(2 * 3 / (4 + 5))
    assert found["exact_match"] == 0.5


def test_where_no_class_is_given_or_said_there_is_no_f1() -> None:
    found = judged(np.full((2, 2), 0.1), np.zeros((2, 2), np.int8))
    assert "f1_macro" not in found
    assert found["exact_match"] == 1
    assert np.isnan(f1_macro(np.zeros((1, 1), bool), np.zeros((1, 1))))


@drawn(arrays.arrays(np.int8, (2, 9, 3), elements=st.integers(0, 1)))
def test_f1_is_scikit_learns(drawn_sets: np.ndarray) -> None:
    said, true = drawn_sets
    for ours, average in ((f1_micro, "micro"), (f1_macro, "macro")):
        theirs = f1_score(true, said, average=average, zero_division=np.nan)
        assert ours(said == 1, true) == pytest.approx(theirs, nan_ok=True)


def test_teachers_are_judged_by_what_is_given_and_where_it_is_known_by_the_truth() -> None:
    given = sets([1, 0], [0, 1], [-1, -1])
    soft = SoftLabels.from_independent(ids(3), given, np.array([[0.9, 0.2], [0.8, 0.9], [0.1, 0.9]]))
    figures = {f.name: f.value for f in teach({"linear": soft}, given, sets([-1, -1], [1, 1], [0, 1]))}
    assert figures["teacher_linear_exact_match_given"] == 0.5
    assert figures["teacher_linear_exact_match_truth"] == 1
    assert figures["teacher_linear_f1_macro_truth"] == 1
    assert figures["teacher_linear_ece_truth"] == pytest.approx((0.2 + 0.1 + 0.1 + 0.1) / 4, abs=1e-4)
    assert not [
        name for name in {f.name for f in teach({"linear": soft}, given, given * 0 - 1)} if "truth" in name
    ]


def test_flags_and_changes_are_judged_by_whole_sets() -> None:
    given, truth = sets([1, 0], [0, 1], [1, 1]), sets([1, 0], [1, 1], [1, 1])
    after = sets([1, 0], [1, 1], [0, 1])
    codes, true, decided = coded(given, truth, after)
    flagged = np.array([False, True, True])
    issues = Issues(ids(3), np.array([0.9, 0.1, 0.2], np.float32), flagged, codes, np.zeros(3, np.float32))
    found = {f.name: f.value for f in metrics.detect({"x": issues}, codes, true, ["x"])}
    assert found["detection_precision"] == 0.5
    assert found["detection_recall"] == found["detection_average_precision"] == 1
    action = np.array([ACTIONS.index(a) for a in ("keep", "fix", "fix")], np.int8)
    decisions = Decisions(ids(3), codes, decided, action, np.ones(3, np.float32), ids(3), ids(3))
    relabelled = {f.name: f.value for f in metrics.relabel(decisions, true)}
    assert relabelled["share_changed"] == pytest.approx(2 / 3)
    assert relabelled["label_accuracy_given"] == relabelled["label_accuracy_curated"] == pytest.approx(2 / 3)


def test_a_student_that_could_not_be_measured_has_no_figure() -> None:
    assert [(f.name, f.value) for f in student({"given": (0.5, 0.7), "curated": ()})] == [("f1_given", 0.6)]
