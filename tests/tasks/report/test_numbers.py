"""Figures of numbers, by hand and against scikit-learn. Run: pytest tests/tasks/report/test_numbers.py"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tasks.data import ACTIONS, Decisions, SoftLabels
from tasks.gates.history import floor_of
from tasks.report import numbers
from tasks.report.metrics import detect
from tests.tasks.detect.numbers import judged, noisy, numbered


def figures(values: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    ids = np.array([f"{i}" for i in range(len(given))], dtype=object)
    soft = SoftLabels.from_values(ids, given, values)
    return {figure.name: figure.value for figure in numbers.teach({"linear": soft}, given, truth)}


def test_errors_are_scikit_learns() -> None:
    given, values, _ = noisy(200, 0)
    found = figures(values, given, np.full(200, np.nan))
    assert found == pytest.approx(
        {
            "teacher_linear_mae_given": mean_absolute_error(given, values),
            "teacher_linear_rmse_given": root_mean_squared_error(given, values),
            "teacher_linear_r2_given": r2_score(given, values),
        }
    )


def test_rows_without_a_number_count_nowhere() -> None:
    nan = np.nan
    found = figures(np.array([1.0, 5.0, 2.0]), np.array([1.0, nan, 4.0]), np.array([nan, 4.0, nan]))
    assert found["teacher_linear_mae_given"] == 1.0
    assert found["teacher_linear_mae_truth"] == 1.0
    assert "teacher_linear_r2_truth" not in found, "one number has no spread"
    assert figures(np.zeros(1), np.full(1, nan), np.full(1, nan)) == {}


def test_a_number_is_wrong_that_is_off_by_more_than_a_deviation() -> None:
    given, truth = np.array([1.0, 1.0, 1.0, np.nan]), np.array([2.0, 3.5, np.nan, 9.0])
    assert numbers.verdicts(given, truth, 2.0).tolist() == [0, 1, -1, 0]


def test_detection_is_measured_on_what_is_wrong() -> None:
    from tasks.detect.outre import Outre

    given, predicted, wrong = noisy(500, 1)
    rows = numbered(given, predicted)
    clean = np.where(wrong, predicted, given)
    truth = numbers.verdicts(given, clean, 2.0)
    found = detect({"outre": judged(Outre(), rows)}, rows.labels, truth, ["outre"])
    value = {figure.name: figure.value for figure in found}
    assert value["detection_precision"] == 1.0
    assert value["detection_average_precision"] > 0.95


def test_decisions_by_hand() -> None:
    before, after = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, np.nan, 5.0, np.nan])
    text = np.full(4, "", dtype=object)
    action = np.array([ACTIONS.index(a) for a in ("keep", "drop", "human", "review")], np.int8)
    codes = np.zeros(4, np.int32)
    decided = Decisions(text, codes, codes, action, np.ones(4, np.float32), text, text, before, after)
    found = {f.name: f.value for f in numbers.relabel(decided, np.array([1.0, 4.0, 5.0, 9.0]))}
    assert found["share_changed"] == 0.25
    assert found["share_dropped"] == found["share_human"] == found["share_kept"] == 0.25
    assert found["label_mae_given"] == pytest.approx(4 / 3)
    assert found["label_mae_curated"] == 0.0
    nothing = decided.take(np.zeros(0, np.int64))
    assert numbers.relabel(nothing, np.zeros(0)) == []


def test_what_is_usual_of_an_error_has_a_floor_in_its_own_unit() -> None:
    assert floor_of(numbers.UNIT, 40.0, 100) == 2.0
    assert floor_of(numbers.UNIT, 0.0, 100) == 1.0
