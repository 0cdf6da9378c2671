"""Calibration error and reliability bins. Run: python -m pytest tests/tasks/report/test_calibration.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report.calibration import expected_calibration_error, reliability

rows = st.lists(st.tuples(st.integers(0, 32767), st.booleans()), min_size=1, max_size=60)


def arrays(pairs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    weights, correct = zip(*pairs, strict=True)
    return np.array(weights) / 32767, np.array(correct)


def test_two_bins_by_hand() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.5])
    correct = np.array([True, True, False, False])
    found = reliability(confidence, correct, bins=2)
    np.testing.assert_allclose(found.confidence, [0.55, 0.85])
    np.testing.assert_array_equal(found.accuracy, [0.5, 0.5])
    np.testing.assert_array_equal(found.count, [2, 2])
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx((0.05 + 0.35) / 2)


def test_bins_hold_equal_numbers_of_rows_however_skewed_the_confidence() -> None:
    confidence = 1 - np.geomspace(1e-6, 1e-1, 150)
    assert reliability(confidence, np.ones(150, bool), bins=15).count.tolist() == [10] * 15


def test_rows_of_equal_confidence_share_a_bin() -> None:
    found = reliability(np.array([0.4, 1.0, 1.0, 1.0]), np.array([True, True, True, False]), bins=4)
    np.testing.assert_array_equal(found.count, [1, 3])
    np.testing.assert_allclose(found.accuracy, [1.0, 2 / 3])


def test_a_calibrated_teacher_scores_near_zero_and_an_overconfident_one_its_excess() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    confidence = rng.uniform(0.5, 0.8, 20_000)
    correct = rng.random(20_000) < confidence
    assert expected_calibration_error(confidence, correct) < 0.015
    assert expected_calibration_error(confidence + 0.2, correct) == pytest.approx(0.2, abs=0.01)


def test_always_sure_and_always_right_is_zero_and_always_sure_and_wrong_is_one() -> None:
    sure = np.ones(7)
    assert expected_calibration_error(sure, np.ones(7, bool)) == 0
    assert expected_calibration_error(sure, np.zeros(7, bool)) == 1


def test_one_row() -> None:
    assert expected_calibration_error(np.array([0.7]), np.array([True])) == pytest.approx(0.3)


def test_no_rows_have_no_bins_and_no_error() -> None:
    assert len(reliability(np.zeros(0), np.zeros(0, bool)).count) == 0
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_confidence_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"not in 0\.\.1"):
        reliability(np.array([0.5, bad]), np.array([True, True]))


@given(rows, st.integers(1, 20))
def test_bins_partition_the_rows_and_lie_in_order(pairs: list[tuple[int, bool]], bins: int) -> None:
    confidence, correct = arrays(pairs)
    found = reliability(confidence, correct, bins)
    assert found.count.sum() == len(pairs)
    assert len(found.count) <= bins
    assert (np.diff(found.confidence) > 0).all()
    np.testing.assert_allclose((found.count * found.accuracy).sum(), correct.sum())


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_never_shows(pairs: list[tuple[int, bool]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert expected_calibration_error(*arrays(pairs)) == expected_calibration_error(*arrays(shuffled))


@given(rows, st.integers(1, 20))
def test_the_error_lies_between_the_overall_gap_and_one(pairs: list[tuple[int, bool]], bins: int) -> None:
    confidence, correct = arrays(pairs)
    error = expected_calibration_error(confidence, correct, bins)
    assert abs(confidence.mean() - correct.mean()) - 1e-12 <= error <= 1 + 1e-12
