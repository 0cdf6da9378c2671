"""Temperature scaling. Run: .venv/bin/python -m pytest tests/tasks/teach/test_temperature.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tasks.teach.temperature import NOISE, TEMPERATURES, best_temperature, nll_grid, scale


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def calibrated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (n, 5) and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(n, 5))
    return log_softmax(logits), (logits + random.gumbel(size=logits.shape)).argmax(axis=1).astype(np.int32)


def as_if_clean(grid: np.ndarray) -> np.ndarray:
    """The grid of Guo et al.'s own likelihood, without a correction for wrong labels."""
    return np.repeat(grid[:, :1], len(NOISE), axis=1)


def calibration_error(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error over 15 bins of confidence: Guo et al. 2017, equation 3."""
    confidence, hit = np.exp(log_probs).max(axis=1), log_probs.argmax(axis=1) == labels
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(hit[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return float(sum(gaps))


def test_a_row_is_counted_as_its_negative_log_likelihood_in_units_of_a_millionth() -> None:
    grid = nll_grid(np.log([[0.25, 0.75]]), np.array([0]))
    assert grid.dtype == np.int64
    assert grid[24, 0] == round(np.log(4) * 2**20)  # T = 1
    at_two = -np.log(0.5 / (0.5 + np.sqrt(0.75)))  # square roots of the probabilities, normalised
    assert grid[32, 0] == round(at_two * 2**20)
    with_noise = -np.log(0.9 * 0.25 + 0.1 / 2)  # a tenth of the labels drawn from two classes
    assert grid[24, list(NOISE).index(0.1)] == round(with_noise * 2**20)


def test_the_grid_runs_from_an_eighth_to_eight_through_one() -> None:
    assert (TEMPERATURES[0], TEMPERATURES[24], TEMPERATURES[48]) == (0.125, 1.0, 8.0)


@pytest.mark.parametrize(("factor", "expected"), [(3.0, 3.0), (1.0, 1.0), (0.4, 0.4)])
def test_logits_multiplied_by_a_factor_are_divided_by_it(factor: float, expected: float) -> None:
    log_probs, labels = calibrated(20_000)
    assert best_temperature(nll_grid(factor * log_probs, labels)) == pytest.approx(expected, rel=0.03)


def test_the_parabola_finds_what_an_optimiser_over_the_rows_finds() -> None:
    log_probs, labels = calibrated(3000, seed=1)
    overconfident = 2.3 * log_probs

    def likelihood(log_t: float) -> float:
        return float(-log_softmax(overconfident / np.exp(log_t))[np.arange(len(labels)), labels].sum())

    exact = np.exp(minimize_scalar(likelihood, bounds=(-2, 2), method="bounded", options={"xatol": 1e-9}).x)
    assert best_temperature(as_if_clean(nll_grid(overconfident, labels))) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_random_labels_do_not_move_the_temperature(share: float) -> None:
    log_probs, labels = calibrated(20_000)
    random = np.random.default_rng(2)
    noisy = np.where(random.random(len(labels)) < share, random.integers(0, 5, len(labels)), labels)
    grid = nll_grid(2.0 * log_probs, noisy)
    assert best_temperature(grid) == pytest.approx(2.0, rel=0.05)
    assert best_temperature(as_if_clean(grid)) > 2.2, "the plain fit softens towards the noisy labels"


def test_calibration_error_falls_and_no_answer_changes() -> None:
    log_probs, labels = calibrated(8000)
    overconfident = 3 * log_probs
    fitted = best_temperature(nll_grid(overconfident[:4000], labels[:4000]))
    scaled = scale(overconfident[4000:], fitted)
    before = calibration_error(log_softmax(overconfident[4000:]), labels[4000:])
    assert calibration_error(scaled, labels[4000:]) < before / 3
    np.testing.assert_array_equal(scaled.argmax(axis=1), overconfident[4000:].argmax(axis=1))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 2**32 - 1))
def test_grids_add_up_bit_for_bit_over_any_cut_in_any_order(cuts: list[int], seed: int) -> None:
    log_probs, labels = calibrated(300)
    labels = np.where(np.arange(300) % 7 == 0, -1, labels)
    order = np.random.default_rng(seed).permutation(300)
    parts = np.split(order, sorted(cuts))
    merged = sum((nll_grid(log_probs[p], labels[p]) for p in reversed(parts)), np.zeros((49, 13), np.int64))
    np.testing.assert_array_equal(merged, nll_grid(log_probs, labels))


def test_rows_without_a_label_do_not_count() -> None:
    log_probs, labels = calibrated(50)
    masked = np.where(np.arange(50) < 20, labels, -1)
    np.testing.assert_array_equal(nll_grid(log_probs, masked), nll_grid(log_probs[:20], labels[:20]))


def test_no_labelled_row_leaves_probabilities_as_they_are() -> None:
    assert best_temperature(nll_grid(np.zeros((0, 3)), np.zeros(0, np.int32))) == 1.0
    assert best_temperature(nll_grid(np.log([[0.5, 0.5]]), np.array([-1]))) == 1.0
    np.testing.assert_allclose(np.exp(scale(np.log([[0.2, 0.8]]), 1.0)), [[0.2, 0.8]], atol=1e-7)


def test_of_equal_minima_the_one_nearest_one_is_taken() -> None:
    uniform = nll_grid(np.log(np.full((3, 4), 0.25)), np.array([0, 1, 2]))  # any temperature is as good
    assert best_temperature(uniform) == 1.0


def test_a_minimum_at_an_end_of_the_grid_is_that_end() -> None:
    always_right = np.log([[0.6, 0.4]])
    assert best_temperature(nll_grid(always_right, np.array([0]))) == TEMPERATURES[0]
    assert best_temperature(nll_grid(always_right, np.array([1]))) == TEMPERATURES[-1]


def test_scaling_divides_logits_and_normalises() -> None:
    scaled = scale(np.log([[0.2, 0.8]]), 2.0)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(np.exp(scaled), [[1 / 3, 2 / 3]], atol=1e-7)  # square roots: 1 to 2


def test_one_class_and_extreme_logits_stay_finite() -> None:
    assert scale(np.zeros((2, 1)), 0.5).tolist() == [[0.0], [0.0]]
    extreme = np.array([[0.0, -1000.0]])
    assert np.isfinite(scale(extreme, 0.125)).all()
    assert (nll_grid(extreme, np.array([1])) > 0).all()


def test_the_other_folds_temperature_does_not_move_with_a_rows_own_label() -> None:
    log_probs, labels = calibrated(90)
    folds = np.arange(90) % 3
    flipped = np.where(folds == 0, (labels + 1) % 5, labels)

    def fitted_for_fold_0(given: np.ndarray) -> float:
        grids = [nll_grid(log_probs[folds == f], given[folds == f]) for f in (1, 2)]
        return best_temperature(grids[0] + grids[1])

    assert fitted_for_fold_0(labels) == fitted_for_fold_0(flipped)
    assert best_temperature(nll_grid(log_probs, labels)) != best_temperature(nll_grid(log_probs, flipped))
