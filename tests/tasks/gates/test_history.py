"""What a metric usually is. Run: python -m pytest tests/tasks/gates/test_history.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from tasks.gates.history import floor_of, usual


def test_by_hand_the_scale_is_the_median_distance_from_the_median_times_1_4826() -> None:
    median, scale = usual([1, 2, 3, 4, 100], "other", rows=1)
    assert (median, scale) == (3, 1.4826)


def test_agrees_with_scipy_where_no_floor_is_in_the_way() -> None:
    values = np.random.Generator(np.random.PCG64(0)).normal(50, 20, 200)
    found = usual(list(values), "other", rows=1)
    assert found.median == np.median(values)
    assert found.scale == pytest.approx(median_abs_deviation(values, scale="normal"), rel=1e-4)


def test_a_constant_history_does_not_make_the_smallest_change_an_outlier() -> None:
    assert usual([0.0] * 20, "share", rows=1e9).scale == 0.01
    assert usual([200.0] * 20, "rows", rows=200).scale == 10
    assert usual([0.3] * 20, "ratio", rows=1).scale == 0.02
    assert usual([4.0] * 20, "deviations", rows=1).scale == 1


def test_a_share_is_no_steadier_than_a_random_draw_of_its_rows() -> None:
    assert usual([0.5] * 20, "share", rows=100).scale == pytest.approx(0.05)
    assert usual([0.5] * 20, "share", rows=2).scale > usual([0.5] * 20, "share", rows=50).scale
    assert floor_of("share", 0.0, rows=1) > 0.3


def test_a_floor_that_is_given_counts_alone() -> None:
    assert usual([0.5] * 20, "share", rows=4, floor=0.001).scale == 0.001
    assert usual([1, 2, 3, 4, 100], "share", rows=4, floor=0.001).scale == 1.4826


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40),
    st.sampled_from(["share", "rows", "ratio", "effect", "deviations"]),
)
def test_the_order_of_the_history_never_shows_and_the_scale_is_positive(
    values: list[float], unit: str
) -> None:
    assert usual(values, unit, rows=10) == usual(values[::-1], unit, rows=10)
    assert usual(values, unit, rows=10).scale > 0


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_two_bad_nights_in_seven_move_neither_beyond_the_good_ones(
    good: list[float], one: float, other: float
) -> None:
    found = usual([*good, one, other], "other", rows=1)
    assert min(good) <= found.median <= max(good)
    assert found.scale <= max(1.0, 1.4826 * (max(good) - min(good)))
