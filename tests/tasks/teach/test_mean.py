"""The mean of teachers. Run: .venv/bin/python -m pytest tests/tasks/teach/test_mean.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import State
from tasks.teach.mean import Mean


def logs(probs: list[list[list[float]]]) -> np.ndarray:
    return np.log(np.maximum(np.array(probs), 1e-12)).astype(np.float32)


def mean_of(log_probs: np.ndarray) -> np.ndarray:
    names = [f"teacher{number}" for number in range(len(log_probs))]
    return Mean().apply(names, log_probs, State({}, {}))


def test_two_teachers_that_are_sure_of_different_classes_come_out_as_one_half_each() -> None:
    mean = mean_of(logs([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert mean.dtype == np.float32
    assert mean.tolist() == [[0.5, 0.5]]


def test_probabilities_are_averaged_and_not_logits() -> None:
    mean = mean_of(logs([[[0.9, 0.1]], [[0.5, 0.5]]]))
    np.testing.assert_allclose(mean, [[0.7, 0.3]], atol=1e-7)  # logits would give .75, .25


def test_one_teacher_is_its_own_mean() -> None:
    np.testing.assert_allclose(mean_of(logs([[[0.2, 0.3, 0.5]]])), [[0.2, 0.3, 0.5]], atol=1e-7)


def test_rows_sum_to_one_and_do_not_depend_on_their_company() -> None:
    random = np.random.default_rng(0)
    log_probs = np.log(random.dirichlet(np.ones(7), size=(5, 101))).astype(np.float32)
    mean = mean_of(log_probs)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-6)
    parts = [mean_of(log_probs[:, a:b]) for a, b in [(0, 1), (1, 64), (64, 101)]]
    assert np.concatenate(parts).tobytes() == mean.tobytes()


def test_no_rows_give_no_rows() -> None:
    assert mean_of(np.zeros((2, 0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_of_two_differently_wrong_teachers_beats_each(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 2000)
    signal = 1.5 * np.eye(4)[truth]
    teachers = np.stack([signal + random.normal(size=signal.shape) for _ in range(2)])
    log_probs = (teachers - np.log(np.exp(teachers).sum(axis=2, keepdims=True))).astype(np.float32)
    alone = [(teacher.argmax(axis=1) == truth).mean() for teacher in log_probs]
    assert (mean_of(log_probs).argmax(axis=1) == truth).mean() > max(alone) + 0.02
