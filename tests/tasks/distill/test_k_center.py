"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_k_center.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import Examples
from tasks.distill.k_center import KCenter
from tests.tasks.distill.teachers import no_teachers


def rows(embedding: np.ndarray | None, n: int) -> Examples:
    ids = np.array([f"row-{i}" for i in range(n)], object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), embedding=embedding)


def test_points_on_a_line_in_the_order_worked_by_hand() -> None:
    # mean 4.75: 1 is nearest; 11 is 10 away; then 0 and 10 are both 1 away: the lower row
    points = np.array([[0], [1], [7], [11]], np.float32)
    found = KCenter(per_class=3).distill(rows(points, 4), no_teachers, 0, "cpu")
    assert found.origins == [[2], [0], [3]]
    assert found.images is None
    assert found.features is None


def test_it_covers_clusters_that_a_blind_draw_of_that_size_misses() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1, 2, 3, 4], [960, 10, 10, 10, 10])
    points = (10 * np.eye(5)[cluster] + 0.3 * rng.normal(size=(1000, 5))).astype(np.float32)
    found = KCenter(per_class=5).distill(rows(points, 1000), no_teachers, 0, "cpu")
    assert {int(cluster[row]) for (row,) in found.origins} == {0, 1, 2, 3, 4}


def test_a_class_smaller_than_asked_gives_all_its_rows_once() -> None:
    points = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    found = KCenter().distill(rows(points, 3), no_teachers, 0, "cpu").origins
    assert sorted(row for (row,) in found) == [0, 1, 2]
    assert KCenter().distill(rows(points[:1], 1), no_teachers, 0, "cpu").origins == [[0]]


def test_missing_and_broken_embeddings_are_named() -> None:
    with pytest.raises(ValueError, match="k_center needs embeddings"):
        KCenter().distill(rows(None, 2), no_teachers, 0, "cpu")
    with pytest.raises(ValueError, match="k_center: the embedding of row row-1 is not finite"):
        KCenter().distill(rows(np.array([[0], [np.nan]], np.float32), 2), no_teachers, 0, "cpu")
