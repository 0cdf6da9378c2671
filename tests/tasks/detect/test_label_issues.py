"""Flags of rows in memory against cleanlab: pytest tests/tasks/detect/test_label_issues.py"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cleanlab.filter import find_label_issues

from tasks.detect import blocks, cuts, pruning
from tasks.detect.cuts import NO_ROWS, ONE_CLASS, PRUNING, find
from tasks.detect.label_issues import judge
from tests.tasks.detect.arrays import random_rows

MODES = (
    *PRUNING,
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)


def cleanlabs(labels: np.ndarray, pred_probs: np.ndarray, **options: object) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_label_issues(labels, pred_probs, n_jobs=1, **options)


@pytest.mark.parametrize("mode", MODES)
def test_flags_are_cleanlabs_with_zeros_ties_and_absent_classes(mode: str) -> None:
    compared = flagged = tied = 0
    for seed in range(120):
        labels, pred_probs = random_rows(seed)
        options = {"filter_by": mode, "min_examples_per_class": (1, 0, 5)[seed % 3]}
        options |= {"frac_noise": (1.0, 0.5, 0.3)[seed // 2 % 3]} if mode in PRUNING else {}
        ours, _, found = judge(labels, pred_probs, **options)
        if found.refusal:
            assert not ours.any()
            continue
        theirs = cleanlabs(labels, pred_probs, **options)
        assert np.array_equal(ours, theirs), f"seed {seed}"
        compared, flagged = compared + 1, flagged + int(theirs.sum())
        tied += len(found.tied_margin) + len(found.tied_given) + len(found.tied_score)
    assert compared > 100
    assert flagged > 100
    assert (tied > 0) == (mode not in ("confident_learning", "predicted_neq_given"))


@pytest.mark.parametrize("mode", MODES)
def test_flags_are_cleanlabs_in_classes_large_enough_for_an_unstable_sort(mode: str) -> None:
    """NumPy's default sort keeps the order of equals only in short arrays."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 6000)
    pred_probs = rng.dirichlet(np.full(4, 0.4), 6000)
    pred_probs[np.arange(6000), labels] += 0.7
    pred_probs = np.round(pred_probs / pred_probs.sum(axis=1, keepdims=True) * 20) / 20
    pred_probs = pred_probs.astype(np.float32)
    ours, _, found = judge(labels, pred_probs, mode)
    assert ours.any()
    assert np.array_equal(ours, cleanlabs(labels, pred_probs, filter_by=mode))
    if mode == "prune_by_noise_rate":
        assert len(found.tied_margin) > 20


@pytest.mark.parametrize("mode", MODES)
def test_neither_blocks_nor_threads_nor_memory_change_a_flag(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [random_rows(seed) for seed in range(12)]
    before = [judge(labels, pred_probs, mode)[0] for labels, pred_probs in cases]
    for module, name, value in (
        (blocks, "NUMBERS", 60),
        (blocks, "THREADS", 5),
        (pruning, "WAITING", 2),
        (cuts, "TIED_NUMBERS", 5),
    ):
        monkeypatch.setattr(module, name, value)
    after = [judge(labels, pred_probs, mode)[0] for labels, pred_probs in cases]
    assert any(flags.any() for flags in before)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_single_row_of_a_class_is_never_flagged() -> None:
    pred_probs = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]], np.float32)
    for mode in PRUNING:
        flags, _, _ = judge(np.array([0, 1, 0, 0]), pred_probs, mode, min_examples_per_class=0)
        assert not flags[1]


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_is_refused_where_cleanlab_raises_or_flags_nothing(only: int) -> None:
    pred_probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.2, 0.8]], np.float32)
    labels = np.full(4, only)
    for mode in MODES:
        flags, _, found = judge(labels, pred_probs, mode)
        assert found.refusal == ONE_CLASS
        assert not flags.any()
        if only == 0 and mode in (*PRUNING, "confident_learning"):
            assert not cleanlabs(labels, pred_probs, filter_by=mode).any()
        else:
            with pytest.raises(ValueError, match="at least 2 classes"):
                cleanlabs(labels, pred_probs, filter_by=mode)


def test_no_rows_are_refused() -> None:
    found, seen = find(lambda: iter(()), 3, "prune_by_noise_rate")
    assert found.refusal == NO_ROWS
    assert found.thresholds.tolist() == [2, 2, 2]
    assert found.confident_joint.tolist() == np.eye(3).tolist()
    assert len(seen.labels) == 0


def test_nan_is_refused_before_it_is_flagged() -> None:
    with pytest.raises(ValueError, match="NaN"):
        judge(np.array([0, 1]), np.array([[0.5, np.nan], [0.5, 0.5]], np.float32))
