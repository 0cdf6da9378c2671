"""Noise from agreement. Run: .venv/bin/python -m pytest tests/tasks/detect/test_consensus.py"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.detect.consensus import counts, solve, wrong

T = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.02, 0.08, 0.9]])
P = np.array([0.5, 0.3, 0.2])


def triples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of rows and of their two nearest, drawn from T and P."""
    random = np.random.default_rng(0)
    truth = random.choice(3, n, p=P)
    drawn = (random.random((n, 3))[:, :, None] > T.cumsum(axis=1)[truth][:, None]).sum(axis=2)
    return drawn[:, 0], drawn[:, 1:]


def test_two_rows_are_counted_alone_in_pairs_and_in_triples() -> None:
    one, pairs, three = counts(np.array([0, 2]), np.array([[1, 1], [2, 0]]), 3)
    assert one.tolist() == [1, 0, 1]
    assert np.argwhere(pairs).tolist() == [[0, 1], [2, 2]]
    assert np.argwhere(three).tolist() == [[0, 1, 1], [2, 2, 0]]
    assert three.sum() == pairs.sum() == one.sum() == 2


def test_a_hundred_thousand_triples_give_the_matrix_they_were_drawn_from() -> None:
    transition, prior = solve(*counts(*triples(100_000), 3))
    np.testing.assert_allclose(transition, T, atol=0.03)
    np.testing.assert_allclose(prior, P, atol=0.03)


def test_what_it_finds_explains_the_counts() -> None:
    exact = [P @ T, np.einsum("c,ca,cb->ab", P, T, T), np.einsum("c,ca,cb,cd->abd", P, T, T, T)]
    transition, prior = solve(*(1e6 * each for each in exact))
    explained = np.einsum("c,ca,cb,cd->abd", prior, transition, transition, transition)
    np.testing.assert_allclose(explained, exact[2], atol=2e-3)


def test_a_share_is_bayes_and_is_bent_back_where_it_leaves_the_unit_interval() -> None:
    labels = 1000 * P @ T
    np.testing.assert_allclose(wrong(T, P, labels), 1 - T.diagonal() * P / (P @ T))
    np.testing.assert_allclose(wrong(np.eye(2), np.array([0.6, 0.4]), np.array([50, 50])), [0.05, 0.2])
    np.testing.assert_allclose(wrong(np.eye(2), np.array([1.0, 0]), np.array([0, 100])), [0.95, 0.95])


def test_without_counts_labels_are_mostly_right() -> None:
    transition, prior = solve(*counts(np.zeros(0, int), np.zeros((0, 2), int), 4))
    assert (transition.diagonal() > 0.9).all()
    np.testing.assert_allclose(prior, 0.25)


def test_the_same_counts_give_the_same_bits() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first, second = (solve(*counts(*triples(1000), 3)) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


@pytest.mark.parametrize("k", [1, 2])
def test_one_class_and_two_are_legal(k: int) -> None:
    transition, prior = solve(*counts(np.zeros(9, int), np.zeros((9, 2), int), k))
    np.testing.assert_allclose(transition.sum(axis=1), 1)
    assert prior[0] > 0.9
