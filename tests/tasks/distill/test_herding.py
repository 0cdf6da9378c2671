"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_herding.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import Examples
from tasks.distill.herding import Herding, herd
from tasks.distill.vectors import unit
from tests.tasks.distill.teachers import no_teachers


def rows(embedding: np.ndarray | None, n: int) -> Examples:
    ids = np.array([f"row-{i}" for i in range(n)], object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), embedding=embedding)


def literal_herding(vectors: np.ndarray, m: int) -> list[int]:
    """Algorithm 4 of iCaRL as printed: the distance of every candidate mean, at every step."""
    mean = vectors.mean(axis=0)
    picks: list[int] = []
    for k in range(1, m + 1):
        means = (vectors + vectors[picks].sum(axis=0)) / k
        distance = np.linalg.norm(mean - means, axis=1)
        distance[picks] = np.inf
        picks.append(int(np.argmin(distance)))
    return picks


def test_four_points_on_a_line_in_the_order_worked_by_hand() -> None:
    # mean 3: 2 is nearest; then 6 - 2 = 4 is wanted: 1; then 9 - 3 = 6: 9; 0 is left
    points = np.array([[0.0], [1.0], [2.0], [9.0]])
    assert herd(points, 4) == [2, 1, 3, 0]


@pytest.mark.parametrize("seed", range(5))
def test_picks_are_those_of_the_printed_algorithm(seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(200, 16))
    assert herd(vectors, 50) == literal_herding(vectors, 50)


def test_embeddings_are_scaled_to_length_one_first() -> None:
    embedding = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    stretched = embedding * np.linspace(0.5, 100, 60, dtype=np.float32)[:, None]
    expected = [[i] for i in literal_herding(unit(embedding.astype(np.float64)), 10)]
    assert Herding().distill(rows(embedding, 60), no_teachers, 0, "cpu").origins == expected
    assert Herding().distill(rows(stretched, 60), no_teachers, 0, "cpu").origins == expected


def test_ties_go_to_the_lowest_row() -> None:
    assert herd(np.ones((5, 3)), 3) == [0, 1, 2]
    assert herd(np.array([[1.0], [-1.0], [1.0], [-1.0]]), 4) == [0, 1, 2, 3]


def test_the_mean_of_the_picks_comes_nearer_than_random_rows() -> None:
    vectors = unit(np.random.default_rng(3).normal(size=(1000, 32)) + 0.5)
    mean = vectors.mean(axis=0)

    def error(picks: list[int]) -> float:
        return float(np.linalg.norm(vectors[picks].mean(axis=0) - mean))

    rng = np.random.default_rng(4)
    random = np.mean([error(rng.choice(1000, 20, replace=False).tolist()) for _ in range(50)])
    assert error(herd(vectors, 20)) < random / 4


def test_a_prefix_is_the_smaller_set() -> None:
    vectors = np.random.default_rng(5).normal(size=(100, 4))
    assert herd(vectors, 20)[:7] == herd(vectors, 7)


def test_a_class_smaller_than_asked_gives_all_its_rows_once() -> None:
    vectors = np.random.default_rng(6).normal(size=(3, 4)).astype(np.float32)
    assert sorted(row for (row,) in Herding().distill(rows(vectors, 3), no_teachers, 0, "cpu").origins) == [
        0,
        1,
        2,
    ]
    assert Herding().distill(rows(vectors[:1], 1), no_teachers, 0, "cpu").origins == [[0]]


def test_a_zero_embedding_stays_zero() -> None:
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [0.6, 0.8]]


def test_missing_and_broken_embeddings_are_named() -> None:
    with pytest.raises(ValueError, match="herding needs embeddings"):
        Herding().distill(rows(None, 2), no_teachers, 0, "cpu")
    with pytest.raises(ValueError, match="row row-1 is not finite"):
        Herding().distill(rows(np.array([[0.0], [np.nan]], np.float32), 2), no_teachers, 0, "cpu")
