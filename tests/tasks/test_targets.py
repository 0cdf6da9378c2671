"""Stored weights to targets. Run with: python -m pytest tests/tasks/test_targets.py"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.data import ONE, SoftLabels
from tasks.targets import densify, normalised, one_hot


def weights(*p: float) -> np.ndarray:
    return np.asarray(np.rint(np.array([p]) * ONE), np.int16)


def test_what_is_not_listed_shares_the_rest_evenly() -> None:
    dense = densify(np.array([[2, 0]], np.int32), weights(0.6, 0.3), 4)
    assert np.allclose(dense, [[0.3, 0.05, 0.6, 0.05]], atol=2e-5)


def test_where_every_class_is_listed_there_is_nothing_to_share() -> None:
    dense = densify(np.array([[1, 0, 2]], np.int32), weights(0.5, 0.3, 0.2), 3)
    assert np.allclose(dense, [[0.3, 0.5, 0.2]], atol=2e-5)


def test_weights_that_round_to_more_than_one_still_sum_to_one() -> None:
    dense = densify(np.array([[0, 1]], np.int32), np.array([[ONE, 3]], np.int16), 5)
    assert dense.min() >= 0
    assert abs(dense.sum() - 1) < 1e-6


def test_no_rows_give_no_targets() -> None:
    assert densify(np.zeros((0, 0), np.int32), np.zeros((0, 0), np.int16), 3).shape == (0, 3)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12), st.integers(1, 12))
def test_listed_probabilities_come_back_and_rows_sum_to_one(counts: list[int], top_k: int) -> None:
    p = np.array([counts]) / sum(counts)
    n = np.array(["a"], object), np.array([-1], np.int32)
    soft = SoftLabels.from_pred_probs(*n, p, top_k)
    dense = densify(soft.classes, soft.weights, len(counts))
    assert abs(dense.sum() - 1) < 1e-6
    listed = soft.classes[0]
    assert np.allclose(dense[0, listed], p[0, listed], atol=1e-3)
    assert dense[0, listed].min() >= np.delete(dense[0], listed).max(initial=0)


def test_one_hot_has_a_one_where_the_label_is() -> None:
    assert one_hot(np.array([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_rounded_probabilities_sum_to_one_again_in_their_own_type() -> None:
    found = normalised(np.array([[0.6, 0.3], [0.5, 0.5]], np.float32))
    assert found.dtype == np.float32
    assert np.allclose(found, [[2 / 3, 1 / 3], [0.5, 0.5]])
