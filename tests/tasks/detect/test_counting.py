"""Counts of confident learning against cleanlab and by hand: pytest tests/tasks/detect/test_counting.py"""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.count import calibrate_confident_joint, compute_confident_joint, get_confident_thresholds
from cleanlab.filter import _keep_at_least_n_per_class

from tasks.detect import counting
from tasks.detect.counting import (
    by_class,
    calibrated,
    class_starts,
    floors,
    prune_counts,
    rounded,
    survey,
    thresholds,
)
from tests.tasks.detect.arrays import random_rows


def threshold_of(labels: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    starts = class_starts(labels, pred_probs.shape[1])
    return thresholds(by_class(pred_probs[np.arange(len(labels)), labels], labels, starts), starts)


def joint_of(labels: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """As two halves that are counted apart and added up."""
    k, floor = pred_probs.shape[1], floors(threshold_of(labels, pred_probs))
    joint = np.zeros((k, k), dtype=np.int64)
    for half in (slice(0, len(labels) // 2), slice(len(labels) // 2, len(labels))):
        guess = survey(labels[half], pred_probs[half], floor).guess
        np.add.at(joint, (labels[half][guess >= 0], guess[guess >= 0]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint


@pytest.mark.parametrize(
    ("column", "kept"),
    [([1.5, 1.5], [1, 2]), ([0.4, 0.3, 0.3], [1, 0, 0]), ([2.6, 0.5, 0.9], [3, 0, 1]), ([2.0, 3.0], [2, 3])],
)
def test_rounding_keeps_a_columns_total(column: list[float], kept: list[int]) -> None:
    """(1.5, 1.5) rounds to (2, 2), one too many, and the first of equal rests gives it back; (.4, .3, .3)
    rounds to nothing, and the largest rest gets one."""
    columns = np.array([column, column]).T
    totals = np.full(2, round(sum(column)))
    assert rounded(columns, totals).T.tolist() == [kept, kept]


def test_thresholds_are_cleanlabs_to_the_last_bit() -> None:
    """Their float32 means depend on the order of the rows, and on how NumPy pairs them."""
    absent = 0
    for seed in range(60):
        labels, pred_probs = random_rows(seed)
        ours, theirs = threshold_of(labels, pred_probs), get_confident_thresholds(labels, pred_probs)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
        absent += int(ours.dtype == np.float64)
    assert 0 < absent < 60


def test_rows_go_class_by_class_in_row_order_however_many_are_sorted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.array([2, 0, 2, 2, 0, 3, 2], dtype=np.uint16)
    starts = class_starts(labels, 4)
    assert starts.tolist() == [0, 2, 2, 6, 7]
    for part in (1, 3, 100):
        monkeypatch.setattr(counting, "PART_ROWS", part)
        assert by_class(np.arange(7), labels, starts).tolist() == [1, 4, 0, 2, 3, 6, 5]


def test_a_floor_is_what_reaches_a_threshold() -> None:
    for threshold in (np.array([0.25, 1 / 3, 2e-6, 0.9], np.float32), np.array([0.25, 1 / 3, 2.0])):
        floor, lowest = floors(threshold), threshold - 1e-6
        assert floor.dtype == np.float32
        assert np.all(floor >= lowest)
        assert np.all(np.nextafter(floor, np.float32(-1)) < lowest)


def test_halves_add_up_to_cleanlabs_confident_joint() -> None:
    off_diagonal = 0
    for seed in range(60):
        labels, pred_probs = random_rows(seed)
        theirs = compute_confident_joint(labels, pred_probs, calibrate=False)
        assert np.array_equal(joint_of(labels, pred_probs), theirs)
        off_diagonal += int(theirs.sum() - theirs.trace())
    assert off_diagonal > 500


def test_six_rows_reach_the_thresholds_of_these_classes() -> None:
    """Floors .6 and .4: (.7, .3) reaches the first alone, (.5, .5) the second alone, (.6, .4) both and is of
    its likeliest class, (.59, .39) none; (.4, .6) and (0, 1) the second."""
    pred_probs = np.array([[0.7, 0.3], [0.5, 0.5], [0.6, 0.4], [0.59, 0.39], [0.4, 0.6], [0, 1]], np.float32)
    found = survey(np.array([0, 0, 0, 0, 1, 0]), pred_probs, np.array([0.6, 0.4], np.float32))
    assert found.guess.tolist() == [0, 1, 0, -1, 1, 1]
    assert found.top.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.agrees.tolist() == [True, True, True, True, True, False]


def test_a_label_within_a_millionth_of_the_likeliest_class_agrees() -> None:
    half = np.float32(0.5)
    pred_probs = np.array([[half, half - np.float32(5e-7)], [half, half - np.float32(5e-6)], [half, half]])
    floor = np.full(2, 2, np.float32)
    assert survey(np.array([1, 1, 1]), pred_probs.astype(np.float32), floor).agrees.tolist() == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"NaN or values outside 0\.\.1"):
        survey(np.array([0]), np.array([[0.5, wrong]], np.float32), np.full(2, 0.5, np.float32))


@pytest.mark.parametrize("at_least", [0, 1, 5])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_labels_to_prune_are_cleanlabs(at_least: int, share: float) -> None:
    pruned = 0
    for seed in range(60):
        labels, pred_probs = random_rows(seed)
        joint = joint_of(labels, pred_probs)
        theirs = compute_confident_joint(labels, pred_probs)
        counts = np.bincount(labels, minlength=len(joint))
        assert np.array_equal(calibrated(joint, counts).T, theirs)
        theirs = _keep_at_least_n_per_class(theirs.T, at_least, frac_noise=share)
        ours = prune_counts(joint, counts, at_least, share)
        assert np.array_equal(ours, theirs)
        pruned += int(ours.sum() - ours.trace())
    assert pruned > 100


def test_joints_of_many_classes_are_scaled_as_cleanlab_does() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(20, 60))
        joint = rng.poisson(rng.choice([0.3, 3.0]), (k, k)) + np.diag(rng.integers(1, 200, k))
        labels = np.repeat(np.arange(k), rng.integers(1, 300, k))
        theirs = calibrate_confident_joint(np.asfortranarray(joint), labels)
        assert np.array_equal(calibrated(joint, np.bincount(labels, minlength=k)).T, theirs)
