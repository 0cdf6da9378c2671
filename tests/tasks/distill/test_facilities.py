"""Exact greedy. Run: .venv/bin/python -m pytest tests/tasks/distill/test_facilities.py"""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.distill import facilities
from tasks.distill.facilities import first_bounds, gains, greedy, leading, similarities
from tasks.distill.vectors import unit


def cloud(n: int, d: int, seed: int, clusters: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(clusters, d))[rng.integers(0, clusters, n)] + 0.6 * rng.normal(size=(n, d))
    return unit(rows.astype(np.float32))


def value(rows: np.ndarray, picks: list[int]) -> float:
    """F as it is written."""
    exact = rows.astype(np.float64)
    return float(np.maximum(exact @ exact[picks].T, 0).max(axis=1, initial=0).sum())


def naive(similar: np.ndarray, m: int) -> list[int]:
    """All gains at every step, by the sums of `gains`; (n, n) float32."""
    best = np.zeros(len(similar), np.float32)
    picks: list[int] = []
    for _ in range(m):
        added = gains(similar, np.arange(len(similar)), best)
        added[picks] = -1
        picks.append(int(np.argmax(added)))
        best = np.maximum(best, similar[picks[-1]])
    return picks


def picked(rows: np.ndarray, m: int, keep: bool = True) -> list[int]:
    return [row for row, _ in islice(greedy(rows, keep), m)]


def test_three_directions_in_the_order_worked_by_hand() -> None:
    # Cosines of rows 0 and 1: 0.8; row 2 is opposite to 0 (nothing) and at -0.8 to 1 (nothing); row 3 at
    # 0.6 to 1 and 0 to 0 and 2. First sums: 1.8, 1 + .8 + .6 = 2.4, 1, 1.6.
    # Then 2 adds 1, 0 adds .2, 3 adds .4.
    rows = np.array([[1, 0], [0.8, 0.6], [-1, 0], [0, 1]], np.float32)
    order = list(greedy(rows))
    assert [row for row, _ in order] == [1, 2, 3, 0]
    assert np.allclose([gain for _, gain in order], [2.4, 1, 0.4, 0.2])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep", [True, False])
def test_lazy_picks_are_those_of_all_gains_at_every_step(seed: int, keep: bool) -> None:
    rows = cloud(1300, 16, seed)
    every = np.concatenate([similarities(rows, np.arange(s, min(s + 64, 1300))) for s in range(0, 1300, 64)])
    assert picked(rows, 90, keep) == naive(rows @ rows.T if keep else every, 90)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_copies_and_opposites_keep_to_the_order_of_rows_in_ties(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.eye(3, dtype=np.float32)[rng.integers(0, 3, n)] * rng.choice([1, -1, 0], n)[:, None]
    rows = rows.astype(np.float32)
    assert picked(rows, n) == naive(rows @ rows.T, n)


def test_a_gain_computed_anew_never_exceeds_an_earlier_one() -> None:
    """To the last bit: what makes lazy evaluation exact."""
    rng = np.random.default_rng(0)
    rows = cloud(3000, 32, 1)
    similar, places = rows @ rows.T, np.arange(3000)
    best = np.zeros(3000, np.float32)
    known = gains(similar, places, best)
    for pick in rng.integers(0, 3000, 25):
        best = np.maximum(best, similar[pick])
        again = gains(similar, places, best)
        assert (again <= known).all()
        known = again


def test_a_similarity_is_the_same_number_whichever_are_asked_for() -> None:
    rows = cloud(2001, 48, 2)
    asked = np.random.default_rng(3).permutation(2001)[:64]
    together = similarities(rows, asked)
    for place in range(0, 64, 9):
        assert similarities(rows, asked[place : place + 5])[0].tobytes() == together[place].tobytes()


@pytest.mark.parametrize("n", [1, 50, 1024, 2500])
def test_first_bounds_are_bounds_and_close(n: int) -> None:
    rows = cloud(n, 384, 4)
    exact = gains(rows @ rows.T, np.arange(n), np.zeros(n, np.float32))
    bounds = first_bounds(rows)
    assert (bounds >= exact).all()
    assert (bounds <= exact * 1.001 + n * 1e-3).all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 40))
def test_leading_are_the_greatest_with_the_lower_place_first(values: list[int], m: int) -> None:
    bounds = np.array(values, np.float64)
    assert leading(bounds, m).tolist() == np.argsort(-bounds, kind="stable")[:m].tolist()


def test_greedy_is_within_its_guarantee_of_the_best_set() -> None:
    for seed in range(5):
        rows = cloud(12, 2, seed)
        best = max(value(rows, list(some)) for some in combinations(range(12), 3))
        assert value(rows, picked(rows, 3)) >= (1 - 1 / np.e) * best


def test_gains_sum_to_the_value_and_fall() -> None:
    rows = cloud(700, 20, 5)
    order = list(islice(greedy(rows), 60))
    added = np.array([gain for _, gain in order])
    assert np.allclose(np.cumsum(added), [value(rows, [r for r, _ in order[: k + 1]]) for k in range(60)])
    assert (np.diff(added) <= 1e-9).all()


def test_few_gains_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 2,000 x 100 of the textbook."""
    asked = []

    def counting(similar: np.ndarray, places: np.ndarray, best: np.ndarray) -> np.ndarray:
        asked.append(len(places))
        return gains(similar, places, best)

    monkeypatch.setattr(facilities, "gains", counting)
    picked(cloud(2000, 16, 6), 100)
    assert sum(asked) < 2000 * 100 / 10


def test_all_rows_come_out_once_those_without_direction_last() -> None:
    rows = cloud(90, 4, 7)
    rows[[3, 40]] = 0
    order = picked(rows, 1000)
    assert sorted(order) == list(range(90))
    assert order[-2:] == [3, 40]
    assert picked(rows[:1], 5) == [0]
