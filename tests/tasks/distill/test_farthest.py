"""k-center greedy. Run: .venv/bin/python -m pytest tests/tasks/distill/test_farthest.py"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.distill import farthest
from tasks.distill.farthest import between, farthest_first, to_point


def textbook(rows: np.ndarray, m: int) -> list[int]:
    """All distances to every new centre, float64."""
    exact = rows.astype(np.float64)
    away = [np.square(exact - exact.mean(axis=0)).sum(axis=1)]
    picks = [int(np.argmin(away[0]))]
    near = np.full(len(rows), np.inf)
    while len(picks) < min(m, len(rows)):
        near = np.minimum(near, np.square(exact - exact[picks[-1]]).sum(axis=1))
        near[picks] = -1
        picks.append(int(np.argmax(near)))
    return picks


def clouds(n: int, d: int, seed: int) -> np.ndarray:
    """Rows in a few tight clouds and some far away from all."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(9, d)) * 3
    rows = centres[rng.integers(0, 9, n)] + rng.normal(size=(n, d)) * rng.choice([0.1, 1, 4], n)[:, None]
    return rows.astype(np.float32)


def test_points_on_a_line_in_the_order_worked_by_hand() -> None:
    # mean 5.4: 5 is nearest; then 11 (distance 6); then 0 (5); then 10 and 1 are both 1 away: the lower row
    points = np.array([[0], [1], [5], [10], [11]], np.float32)
    picks, radii = farthest_first(points, 5)
    assert picks.tolist() == [2, 4, 0, 1, 3]
    assert radii.tolist() == [np.inf, 6, 5, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_picks_are_those_of_the_textbook(seed: int) -> None:
    rows = clouds(5000, 24, seed)
    assert farthest_first(rows, 300)[0].tolist() == textbook(rows, 300)


@pytest.mark.parametrize(("pool", "chunk"), [(1, 1), (7, 3), (64, 64), (399, 50)])
def test_how_many_rows_compete_at_once_changes_nothing(
    pool: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = clouds(400, 5, 1)
    expected = textbook(rows, 400)
    monkeypatch.setattr(farthest, "POOL", pool)
    monkeypatch.setattr(farthest, "CHUNK", chunk)
    assert farthest_first(rows, 400)[0].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.int8, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.integers(0, 3)),
    st.integers(1, 50),
)
def test_ties_and_copies_go_to_the_lower_row(points: np.ndarray, m: int) -> None:
    rows = points.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(farthest, "POOL", 4)
        assert farthest_first(rows, m)[0].tolist() == textbook(rows, m)


@pytest.mark.parametrize("shift", [0, 1e3, 1e6])
def test_a_cloud_far_from_the_origin_is_measured_as_well(shift: float) -> None:
    rows = np.float32(clouds(1000, 8, 2) + np.float32(shift))
    assert farthest_first(rows, 50)[0].tolist() == textbook(rows, 50)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e22, 1e30])
def test_scales_whose_squares_leave_float32_are_measured_as_well(scale: float) -> None:
    rows = (clouds(300, 8, 3) * scale).astype(np.float32)
    with np.errstate(all="ignore"):
        assert farthest_first(rows, 50)[0].tolist() == textbook(rows, 50)


def test_the_radius_is_at_most_twice_the_smallest() -> None:
    for seed in range(5):
        rows = clouds(14, 2, seed)
        away = np.sqrt([to_point(rows, row) for row in rows.astype(np.float64)])
        smallest = min(away[list(centres)].min(axis=0).max() for centres in combinations(range(14), 3))
        covered = away[farthest_first(rows, 3)[0]].min(axis=0).max()
        assert covered <= 2 * smallest
        assert covered == pytest.approx(farthest_first(rows, 4)[1][3])


def test_a_prefix_is_the_smaller_set() -> None:
    rows = clouds(3000, 6, 4)
    assert farthest_first(rows, 200)[0][:70].tolist() == farthest_first(rows, 70)[0].tolist()


def test_most_distances_are_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 20,000 x 200 that the textbook measures."""
    met = []
    meet = farthest._Cover.meet

    def counting(cover: farthest._Cover, places: np.ndarray | slice) -> None:
        met.append(int((cover.made - cover.seen[cover.pool[places]]).sum()))
        meet(cover, places)

    monkeypatch.setattr(farthest._Cover, "meet", counting)
    farthest_first(clouds(20_000, 8, 5), 200)
    assert sum(met) < 20_000 * 200 / 4


def test_a_distance_is_the_same_number_whatever_it_is_measured_with() -> None:
    rows = clouds(5000, 37, 6)
    one = to_point(rows, rows[17].astype(np.float64))
    pairs = between(rows, np.arange(5000), np.full(5000, 17))
    alone = [between(rows, np.array([i]), np.array([17]))[0] for i in range(0, 5000, 501)]
    assert one.tobytes() == pairs.tobytes()
    assert one[::501].tolist() == alone
