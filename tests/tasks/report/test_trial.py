"""The trial of the distilled set. Run: .venv/bin/python -m pytest tests/tasks/report/test_trial.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.report import metrics
from tasks.report.trial import margin


def test_three_differences_worked_by_hand() -> None:
    # differences 1, 2, 3: mean 2, deviation 1, and 4.3027 / sqrt(3) = 2.4842
    found = margin([2.0, 3.0, 5.0], [1.0, 1.0, 2.0])
    assert found == pytest.approx((2.0, 2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_more_seeds_narrow_the_interval_as_students_quantiles_do() -> None:
    five = margin([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    deviation = np.std([1, 2, 3, 4, 5], ddof=1)
    assert five.high - five.mean == pytest.approx(1.24167 * deviation, abs=1e-4)


def test_sets_that_are_equal_for_every_seed_are_not_told_apart() -> None:
    assert margin([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]) == (0, 0, 0)  # and 0 is not above 0


def test_chance_alone_is_let_through_once_in_forty() -> None:
    rng = np.random.default_rng(0)
    nights = rng.normal(size=(4000, 3))
    passed = np.mean([margin(night, [0.0] * 3).low > 0 for night in nights.tolist()])
    assert passed == pytest.approx(0.025, abs=0.0075)  # three standard errors


def test_a_lucky_fixed_set_is_let_through_more_often_and_the_documents_say_how_often() -> None:
    # the set was drawn like the random ones, once, and students add half of the spread of sets
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(4000):
        luck, sets = rng.normal(), rng.normal(size=3)
        students = rng.normal(size=(2, 3)) * 0.5
        passed += margin(luck + students[0], sets + students[1]).low > 0
    assert passed / 4000 == pytest.approx(0.065, abs=0.015)


def test_figures_are_means_over_seeds_and_nothing_without_a_trial() -> None:
    pairs = [{"distilled": 0.5, "random": 0.25}, {"distilled": 0.75, "random": 0.25}]
    found = {figure.name: figure.value for figure in metrics.trial(pairs)}
    assert found["distilled_accuracy"] == 0.625
    assert found["random_accuracy"] == 0.25
    assert found["distilled_margin"] == 0.375
    assert found["distilled_margin_low"] < 0 < found["distilled_margin_high"]
    assert metrics.trial([]) == []
