"""Scores into probabilities. Run: .venv/bin/python -m pytest tests/tasks/detect/test_calibration.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.detect.calibration import calibrate, error_odds, logistic, p_error


def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds scores of which the first is too sure by a factor of three and the second is noise; whether
    the label is wrong; the probability of it."""
    random = np.random.default_rng(seed)
    odds = random.normal(-2, 2, n)
    probability = 1 / (1 + np.exp(-odds))
    x = np.stack([3 * odds, random.normal(size=n)], axis=1)
    return x, random.random(n) < probability, probability


def test_probabilities_mean_what_they_say_on_rows_that_nobody_decided_on() -> None:
    x, wrong, _ = world(2000, 0)
    arrays = calibrate(x, wrong, np.arange(2000) % 5)
    others, _, probability = world(20_000, 1)
    said = p_error(others, arrays)
    assert np.abs(said - probability).mean() < 0.02
    raw = 1 / (1 + np.exp(-others[:, 0]))
    assert np.abs(raw - probability).mean() > 0.08


def test_many_useless_scores_do_not_make_few_decisions_look_sure() -> None:
    """In sample, thirty noise scores tell sixty decisions apart; on the folds left out they tell nothing."""
    random = np.random.default_rng(0)
    x, wrong = random.normal(size=(60, 30)), random.random(60) < 0.5
    arrays = calibrate(x, wrong, np.arange(60) % 5)
    said = p_error(random.normal(size=(1000, 30)), arrays)
    coef, intercept = logistic((x - arrays["mean"]) / arrays["scale"], wrong)
    naive = 1 / (1 + np.exp(-(random.normal(size=(1000, 30)) @ coef + intercept)))
    assert said.std() < naive.std() / 2


def test_people_who_found_no_error_give_laplaces_share() -> None:
    coef, intercept = logistic(np.zeros((8, 2)), np.zeros(8, dtype=bool))
    assert coef.tolist() == [0, 0]
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(0.1)


def test_a_row_does_not_depend_on_its_company() -> None:
    x, wrong, _ = world(300, 0)
    arrays = calibrate(x, wrong, np.arange(300) % 5)
    parts = [p_error(x[a:b], arrays) for a, b in [(0, 1), (1, 37), (37, 300)]]
    assert np.concatenate(parts).tobytes() == p_error(x, arrays).tobytes()


def test_a_constant_score_is_no_evidence_and_no_division_by_zero() -> None:
    x, wrong, _ = world(300, 0)
    arrays = calibrate(np.column_stack([x, np.ones(300)]), wrong, np.arange(300) % 5)
    assert np.isfinite(p_error(np.column_stack([x, np.ones(300)]), arrays)).all()


def test_quality_becomes_the_log_odds_of_an_error() -> None:
    assert error_odds(np.array([0.5, 0.9]))[:2] == pytest.approx([0, -np.log(9)])
    assert np.isfinite(error_odds(np.array([0.0, 1.0]))).all()
