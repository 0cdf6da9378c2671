"""The k largest without sorting all. Run: python -m pytest tests/tasks/test_largest.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.largest import ONE, largest


def by_sorting(probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    weights = np.rint(probs.astype(np.float64) * ONE).astype(np.int16)
    classes = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    return classes, np.take_along_axis(weights, classes, axis=1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 20),
    n_classes=st.integers(1, 700),
    k=st.integers(1, 12),
    temperature=st.sampled_from([0.02, 0.1, 0.5, 3.0]),
    kind=st.sampled_from(["float32", "float64"]),
)
def test_it_is_what_sorting_all_gives(
    seed: int, n: int, n_classes: int, k: int, temperature: float, kind: str
) -> None:
    logits = np.random.default_rng(seed).normal(size=(n, n_classes)) / temperature
    probs = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    probs = (probs / probs.sum(axis=1, keepdims=True)).astype(kind)
    k = min(k, n_classes)
    for ours, theirs in zip(largest(probs, k), by_sorting(probs, k), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_ties_after_rounding_go_to_the_lower_class(kind: type) -> None:
    more = 1.6 / ONE  # rounds to 2, as do 2.4 and 2.49
    probs: np.ndarray = np.zeros((3, 400), kind)
    probs[0, [399, 300, 17, 5]] = [2 / ONE, more, 2.4 / ONE, 2.49 / ONE]
    probs[1] = 1 / 400
    classes, weights = largest(probs, 3)
    assert classes.tolist() == [[5, 17, 300], [0, 1, 2], [0, 1, 2]]
    assert weights.tolist() == [[2, 2, 2], [82, 82, 82], [0, 0, 0]]
