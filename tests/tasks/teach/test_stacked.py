"""The stacked ensemble. Run: .venv/bin/python -m pytest tests/tasks/teach/test_stacked.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import State
from tasks.teach.stacked import Stacked

NAMES = ("good", "poor", "guesser")


def taught(n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A good teacher, a poor one and one that guesses; labels of which a fifth are drawn anew; the truth."""
    random, k = np.random.default_rng(0), 4
    truth = random.integers(k, size=n)
    labels = np.where(random.random(n) < 0.2, random.integers(k, size=n), truth).astype(np.int32)
    strengths = np.array([4.0, 1.0, 0.0])[:, None, None]
    logits = strengths * np.eye(k)[truth] + random.normal(size=(3, n, k))
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return log_probs.astype(np.float32), labels, truth


def accuracy(pred_probs: np.ndarray, truth: np.ndarray) -> float:
    return float((pred_probs.argmax(axis=1) == truth).mean())


def test_it_is_at_least_as_good_as_its_best_teacher_which_nobody_named() -> None:
    log_probs, labels, truth = taught()
    state = Stacked().fit(NAMES, log_probs, labels)
    stacked = Stacked().apply(NAMES, log_probs, state)
    assert stacked.dtype == np.float32
    np.testing.assert_allclose(stacked.sum(axis=1), 1, atol=1e-6)
    mean = np.exp(log_probs).mean(axis=0)
    assert accuracy(stacked, truth) > accuracy(mean, truth)
    assert accuracy(stacked, truth) >= accuracy(log_probs[0], truth) - 0.002
    assert state.info["names"] == list(NAMES)
    assert state.arrays["weights"].argsort().tolist() == [2, 1, 0]


def test_views_are_judged_by_those_teachers_that_can_be_asked() -> None:
    log_probs, labels, _ = taught()
    state = Stacked().fit(NAMES, log_probs, labels)
    some = Stacked().apply(("good", "guesser"), log_probs[[0, 2]], state)
    weights = state.arrays["weights"][[0, 2]]
    alone = State(
        {**state.arrays, "weights": weights / weights.sum()}, {**state.info, "names": ["good", "guesser"]}
    )
    np.testing.assert_array_equal(some, Stacked().apply(("good", "guesser"), log_probs[[0, 2]], alone))


def test_teachers_without_any_weight_share_alike_when_only_they_are_asked() -> None:
    state = State({"weights": np.array([1.0, 0.0, 0.0])}, {"names": list(NAMES), "temperature": 1.0})
    log_probs = np.log(np.array([[[0.8, 0.2]], [[0.4, 0.6]]]))
    assert Stacked().apply(NAMES[1:], log_probs, state)[0] == pytest.approx([0.6, 0.4])


def test_no_labelled_rows_give_equal_weights() -> None:
    state = Stacked().fit(NAMES, np.zeros((3, 0, 4), np.float32), np.zeros(0, np.int32))
    assert state.arrays["weights"].tolist() == pytest.approx([1 / 3] * 3)
    assert Stacked().apply(NAMES, np.zeros((3, 0, 4), np.float32), state).shape == (0, 4)
