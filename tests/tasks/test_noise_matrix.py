"""Weights and noise from noisy labels. Run: .venv/bin/python -m pytest tests/tasks/test_noise_matrix.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import noise_matrix

PAIR = np.array([[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]])
"""Three labels in ten go to the next class."""


def opinions(
    n: int, skills: list[float], noise: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of teachers who see the truth `skill` deviations off the other classes, and say
    exactly what follows from that; noisy labels; the truth."""
    random, k = np.random.default_rng(seed), len(noise)
    truth = random.integers(k, size=n)
    skill = np.array(skills)[:, None, None]
    logits = skill * (skill * np.eye(k)[truth] + random.normal(size=(len(skills), n, k)))
    labels = np.array([random.choice(k, p=noise[c]) for c in truth])
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)), labels, truth


def test_the_best_teacher_is_found_without_any_truth() -> None:
    log_probs, labels, truth = opinions(2000, [1.0, 4.0, 2.0], PAIR)
    stack = noise_matrix.fit(log_probs, labels)
    assert stack.weights[1] > 0.9
    mixed = noise_matrix.mixture(log_probs, stack.weights, stack.temperature)
    mean = noise_matrix.mixture(log_probs, np.full(3, 1 / 3), 1.0)
    assert (mixed.argmax(axis=1) == truth).mean() > (mean.argmax(axis=1) == truth).mean()
    assert (mixed.argmax(axis=1) == truth).mean() > (labels == truth).mean() + 0.2


def test_the_noise_matrix_is_recovered_where_noise_depends_on_the_class() -> None:
    log_probs, labels, _ = opinions(8000, [4.0], PAIR)
    stack = noise_matrix.fit(log_probs, labels)
    assert np.abs(stack.noise_matrix - PAIR).sum() / np.abs(PAIR).sum() < 0.1
    np.testing.assert_allclose(stack.noise_matrix.sum(axis=1), 1)


def test_sound_labels_leave_a_matrix_near_identity() -> None:
    log_probs, labels, _ = opinions(2000, [4.0], np.eye(3))
    stack = noise_matrix.fit(log_probs, labels)
    assert np.diag(stack.noise_matrix).min() > 0.97


def test_twins_share_the_weight_and_a_guesser_gets_none() -> None:
    log_probs, labels, _ = opinions(2000, [4.0, 0.0], PAIR)
    stack = noise_matrix.fit(log_probs[[0, 0, 1]], labels)
    assert stack.weights[0] == pytest.approx(stack.weights[1], abs=1e-6)
    assert stack.weights[2] < 0.02


def test_a_teacher_that_is_too_unsure_is_sharpened() -> None:
    log_probs, labels, _ = opinions(2000, [4.0], np.eye(3))
    timid = np.log(np.exp(log_probs / 3) / np.exp(log_probs / 3).sum(axis=2, keepdims=True))
    assert noise_matrix.fit(timid, labels).temperature == pytest.approx(3, rel=0.25)


def test_the_posterior_by_hand() -> None:
    """p = (.5, .5), T = ((.8, .2), (.3, .7)), label 0: .5 * .8 / .55."""
    kept = noise_matrix.posterior(np.array([[0.5, 0.5]]), np.array([0]), np.array([[0.8, 0.2], [0.3, 0.7]]))
    assert kept[0] == pytest.approx([0.4 / 0.55, 0.15 / 0.55])


def test_a_label_that_the_matrix_rules_out_changes_nothing() -> None:
    probs = np.array([[0.0, 1.0]])
    assert noise_matrix.posterior(probs, np.array([0]), np.eye(2)).tolist() == probs.tolist()


@pytest.mark.parametrize(("n", "k"), [(0, 3), (5, 1)])
def test_without_rows_or_classes_nobody_is_preferred(n: int, k: int) -> None:
    stack = noise_matrix.fit(np.zeros((2, n, k)), np.zeros(n, np.int32))
    assert stack.weights.tolist() == [0.5, 0.5]
    assert stack.noise_matrix.tolist() == np.eye(k).tolist()


def test_a_class_without_rows_is_thought_sound() -> None:
    log_probs, labels, _ = opinions(500, [3.0], PAIR)
    wider = np.concatenate([log_probs, np.full((1, 500, 1), np.log(1e-6))], axis=2)
    stack = noise_matrix.fit(wider, labels)
    assert stack.noise_matrix[3, 3] > 0.9


def test_the_same_rows_give_the_same_bytes() -> None:
    log_probs, labels, _ = opinions(1000, [3.0, 1.0], PAIR)
    one, two = (noise_matrix.fit(log_probs, labels) for _ in range(2))
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.noise_matrix.tobytes() == two.noise_matrix.tobytes()


@given(st.permutations(range(30)), st.integers(1, 40))
def test_the_sample_is_the_same_however_rows_are_dealt(order: list[int], most: int) -> None:
    keys = np.random.default_rng(0).integers(1 << 63, size=30).astype(np.uint64)
    patch, shuffled = pytest.MonkeyPatch(), keys[order]
    with patch.context() as patched:
        patched.setattr(noise_matrix, "ROWS", most)
        chosen = noise_matrix.sample(keys, 1, 2)
        again = noise_matrix.sample(shuffled, 1, 2)
    assert len(chosen) == min(most, 30)
    assert set(shuffled[again]) == set(keys[chosen])
    assert (np.diff(again) > 0).all()


def test_large_vocabularies_are_fitted_on_fewer_rows() -> None:
    keys = np.arange(50_000, dtype=np.uint64)
    assert len(noise_matrix.sample(keys, 5, 1000)) == noise_matrix.NUMBERS // 5000
    assert len(noise_matrix.sample(keys, 5, 10)) == 50_000


def test_rows_do_not_depend_on_their_company() -> None:
    log_probs, labels, _ = opinions(101, [3.0, 1.0], PAIR)
    whole = noise_matrix.mixture(log_probs, np.array([0.3, 0.7]), 1.7)
    parts = [
        noise_matrix.mixture(log_probs[:, a:b], np.array([0.3, 0.7]), 1.7) for a, b in [(0, 1), (1, 101)]
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert noise_matrix.posterior(whole, labels, PAIR)[:1].tobytes() == (
        noise_matrix.posterior(whole[:1], labels[:1], PAIR).tobytes()
    )
