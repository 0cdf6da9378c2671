"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_neighbourhoods.py"""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from tasks.distill.facilities import greedy
from tasks.distill.neighbourhoods import WIDEST, groups, merged, moved, nearest, partition
from tasks.distill.vectors import unit
from tests.tasks.distill.test_facilities import cloud, value


def cells_of(rows: np.ndarray, k: int, seed: int = 0) -> list[np.ndarray]:
    return partition(rows, k, np.random.default_rng(seed).permutation(len(rows))[: 64 * k])


def test_cells_hold_every_row_once_and_none_is_wide() -> None:
    rows = cloud(3000, 8, 0)
    rows[:1500] = rows[0]  # one heap of copies
    cells = cells_of(rows, 10)
    assert sorted(np.concatenate(cells).tolist()) == list(range(3000))
    assert all((np.diff(cell) > 0).all() for cell in cells)
    assert min(map(len, cells)) > 0
    assert max(map(len, cells)) <= WIDEST * 300


def test_cells_keep_clusters_together() -> None:
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 4, 800)
    rows = (np.eye(4, 16)[cluster] + 0.05 * rng.normal(size=(800, 16))).astype(np.float32)
    first = [int(np.flatnonzero(cluster == c)[0]) for c in range(4)]
    sample = np.concatenate([first, np.arange(200)])
    assert [set(cluster[cell]) for cell in partition(rows, 4, sample)] == [{0}, {1}, {2}, {3}]


def test_merged_order_is_greedy_of_the_function_whose_cells_are_strangers() -> None:
    rows = cloud(600, 12, 2)
    cells = cells_of(rows, 7)
    cell_of = np.empty(600, int)
    for number, cell in enumerate(cells):
        cell_of[cell] = number
    exact = rows.astype(np.float64)
    strangers = np.where(cell_of[:, None] == cell_of, np.maximum(exact @ exact.T, 0), 0)
    best = np.zeros(600)
    for pick in islice(merged(rows, cells), 80):
        gains = np.maximum(strangers - best, 0).sum(axis=1)
        assert gains[pick] >= gains.max() * (1 - 1e-5)
        best = np.maximum(best, strangers[pick])


def test_one_cell_is_the_whole() -> None:
    rows = cloud(500, 12, 3)
    whole = [row for row, _ in islice(greedy(rows, keep=False), 50)]
    assert list(islice(merged(rows, [np.arange(500)]), 50)) == whole


@pytest.mark.parametrize("seed", range(3))
def test_moving_picks_never_loses_value_and_mostly_beats_exact_greedy(seed: int) -> None:
    rows = cloud(2500, 24, seed, clusters=40)
    exact = [row for row, _ in islice(greedy(rows), 40)]
    picks = np.array(list(islice(merged(rows, cells_of(rows, 8)), 40)))
    values = [value(rows, picks.tolist())]
    for _ in range(3):
        picks = moved(rows, picks)
        values.append(value(rows, picks.tolist()))
        assert len(set(picks.tolist())) == 40
    assert (np.diff(values) >= 0).all()
    assert values[0] > 0.97 * value(rows, exact)
    assert values[-1] > value(rows, exact)


def test_a_pick_moves_to_the_middle_of_its_rows_by_hand() -> None:
    # Angles 0, 10, 20 and 90 degrees; picks at 0 and 90: 0, 10, 20 are nearer to 0, and 10 is their middle.
    angles = np.radians([0, 10, 20, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert moved(rows, np.array([0, 3])).tolist() == [1, 3]
    assert moved(rows, np.array([3, 0])).tolist() == [3, 1]


def test_picks_that_are_copies_of_each_other_stay_apart() -> None:
    rows = unit(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32))
    assert sorted(moved(rows, np.array([0, 1])).tolist()) == [0, 1]


def test_nearest_is_the_most_similar_and_the_first_in_ties() -> None:
    rows = np.array([[2, 0], [0, 3], [-1, 0], [0, 0]], np.float32)
    chosen = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    place, similar = nearest(rows, chosen)
    assert place.tolist() == [1, 0, 0, 0]
    assert similar.tolist() == [1, 1, 0, 0]


def test_groups_are_ascending_and_may_be_empty() -> None:
    found = groups(np.array([2, 0, 2, 0]), 4)
    assert [group.tolist() for group in found] == [[1, 3], [], [0, 2], []]
