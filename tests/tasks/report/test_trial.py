"""The trial of the distilled set. Run: .venv/bin/python -m pytest tests/tasks/report/test_trial.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.report import metrics
from tasks.report.trial import margin


def test_three_differences_worked_by_hand() -> None:
    # differences 1, 2, 3: mean 2, deviation 1, and 4.3027 * sqrt(4 / 3) = 4.9683
    found = margin([2.0, 3.0, 5.0], [1.0, 1.0, 2.0])
    assert found == pytest.approx((2.0, 2 - 4.96828, 2 + 4.96828), abs=1e-5)


def test_more_seeds_narrow_the_interval_as_students_quantiles_do() -> None:
    five = margin([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    deviation = np.std([1, 2, 3, 4, 5], ddof=1)
    assert five.high - five.mean == pytest.approx(3.04147 * deviation, abs=1e-4)


def test_sets_that_are_equal_for_every_seed_are_not_told_apart() -> None:
    assert margin([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]) == (0, 0, 0)  # and 0 is not above 0


@pytest.mark.parametrize(("students", "share"), [(0.0, 0.025), (0.5, 0.015)])
def test_a_set_drawn_like_the_random_ones_is_let_through_once_in_forty_nights_at_most(
    students: float, share: float
) -> None:
    """The set is drawn once; what students add to the spread of sets only makes it rarer."""
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(4000):
        luck, sets = rng.normal(), rng.normal(size=5)
        noise = rng.normal(size=(2, 5)) * students
        passed += margin(luck + noise[0], sets + noise[1]).low > 0
    assert passed / 4000 == pytest.approx(share, abs=0.0075)  # three standard errors


def test_a_set_five_deviations_better_is_let_through_nine_nights_in_ten() -> None:
    rng = np.random.default_rng(2)
    passed = [margin(5 + rng.normal(size=1), rng.normal(size=5)).low > 0 for _ in range(1000)]
    assert np.mean(passed) > 0.85


def test_figures_are_means_over_seeds_and_nothing_without_a_trial() -> None:
    pairs = [{"distilled": 0.5, "random": 0.25}, {"distilled": 0.75, "random": 0.25}]
    found = {figure.name: figure.value for figure in metrics.trial(pairs)}
    assert found["distilled_accuracy"] == 0.625
    assert found["random_accuracy"] == 0.25
    assert found["distilled_margin"] == 0.375
    assert found["distilled_margin_low"] < 0 < found["distilled_margin_high"]
    assert metrics.trial([]) == []
