"""Which rows to pay for. Run: .venv/bin/python -m pytest tests/tasks/teach/test_robust_sampling.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tasks.teach.robust_sampling import draw, gains, inclusion, robust, top

KEYS = np.arange(10_000, dtype=np.uint64)


def test_the_gain_is_what_the_margin_leaves() -> None:
    found = gains(np.array([[0.5, 0.5, 0.0], [0.1, 0.7, 0.2], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(found, [1, 0.5, 0])
    assert gains(np.ones((2, 1))).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("gain", "wrong", "p", "value"),
    [
        ([1, 0.5, 0.25], 1, [1 / 3, 2 / 3, 0], 1 / 3),
        ([1, 0.8, 0.5, 0.4], 1, [4 / 17, 5 / 17, 8 / 17, 0], 8 / 17),
        ([1, 0.8, 0.5, 0.4], 0, [1, 0, 0, 0], 1),
        ([0.5] * 4, 1, [0.25] * 4, 0.5 * 3 / 4),
        ([0.5] * 4, 3, [0.25] * 4, 0.5 * 1 / 4),
    ],
)
def test_by_hand(gain: list[float], wrong: int, p: list[float], value: float) -> None:
    found = robust(np.array(gain), wrong)
    np.testing.assert_allclose(found.p, p, rtol=1e-12)
    assert found.value == pytest.approx(value)
    assert found.support == np.count_nonzero(p)


def game(gain: np.ndarray, wrong: int, alpha: float) -> float:
    """The value by linear programming: p, the adversary's threshold t, and what is above it."""
    n = len(gain)
    costs = np.concatenate([-gain, [alpha * wrong], np.full(n, alpha)])
    above = np.hstack([np.diag(gain), -np.ones((n, 1)), -np.eye(n)])
    sums = np.concatenate([np.ones(n), np.zeros(n + 1)])[None]
    return -float(linprog(costs, above, np.zeros(n), sums, [1.0]).fun)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([1.0, 2.0]))
def test_no_distribution_guarantees_more(seed: int, n: int, alpha: float) -> None:
    random = np.random.default_rng(seed)
    gain, wrong = random.random(n) + 1e-3, int(random.integers(0, n))
    found = robust(gain, wrong, alpha)
    reached = np.sort(found.p * gain)[::-1]
    assert reached.sum() - alpha * reached[:wrong].sum() >= found.value - 1e-9 or found.value == 0
    assert found.value == pytest.approx(max(game(gain, wrong, alpha), 0.0), abs=1e-7)


def test_the_order_of_rows_and_the_unit_of_gains_do_not_matter() -> None:
    random = np.random.default_rng(0)
    gain, order = random.random(50), random.permutation(50)
    found = robust(gain, 7)
    np.testing.assert_allclose(robust(gain[order], 7).p, found.p[order], rtol=1e-12)
    scaled = robust(3 * gain, 7)
    np.testing.assert_allclose(scaled.p, found.p, rtol=1e-12)
    assert scaled.value == pytest.approx(3 * found.value)


def test_a_teacher_who_may_be_wrong_everywhere_guarantees_nothing_and_any_row_may_be_drawn() -> None:
    found = robust(np.array([1.0, 0.5, 0.0]), 3)
    assert (found.value, found.support) == (0, 3)
    assert robust(np.zeros(0), 0).support == 0
    assert robust(np.zeros(4), 1).p.tolist() == [0.25] * 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 50))
def test_chances_sum_to_the_budget_and_are_proportional_below_one(seed: int, n: int, budget: int) -> None:
    random = np.random.default_rng(seed)
    gain = random.random(n)
    plan = robust(gain, int(random.integers(0, n)))
    chances = inclusion(plan.p, gain, budget)
    assert chances.sum() == pytest.approx(min(budget, n))
    assert ((chances >= 0) & (chances <= 1)).all()
    open_ = (chances > 0) & (chances < 1)
    ratio = chances[open_] / plan.p[open_]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(open_.sum()), rtol=1e-9)
    if open_.any():
        assert (plan.p[chances == 1] * ratio[0] >= 1 - 1e-9).all()


def test_without_wrong_rows_it_is_margin_sampling() -> None:
    gain = np.array([0.1, 0.9, 0.5, 0.9, 0.3])
    chances = inclusion(robust(gain, 0).p, gain, 3)
    assert chances.tolist() == top(gain, 3).tolist() == [0, 1, 1, 1, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(0, 70))
def test_exactly_the_budget_is_drawn_and_nothing_twice(seed: int, n: int, budget: int) -> None:
    random = np.random.default_rng(seed)
    gain = random.random(n)
    chances = inclusion(robust(gain, int(random.integers(0, n))).p, gain, budget)
    rows = draw(chances, KEYS[:n], seed)
    assert len(rows) == len(set(rows.tolist())) == min(budget, n)
    assert (chances[rows] > 0).all()
    assert set(np.flatnonzero(chances == 1)) <= set(rows.tolist())


def test_each_row_is_drawn_as_often_as_its_chance_says() -> None:
    chances = np.array([0.9, 0.1, 0.5, 0.5, 1.0, 0.75, 0.25])
    times = np.zeros(7)
    for seed in range(4000):
        times[draw(chances, KEYS[:7], seed)] += 1
    np.testing.assert_allclose(times / 4000, chances, atol=0.03)  # four standard deviations at 0.5


def test_the_draw_follows_the_keys_and_not_the_places() -> None:
    random = np.random.default_rng(2)
    chances, order = inclusion(np.full(40, 1 / 40), np.ones(40), 10), random.permutation(40)
    keys = KEYS[:40]
    assert sorted(order[draw(chances, keys[order], 5)]) == draw(chances, keys, 5).tolist()
    assert draw(chances, keys, 5).tolist() != draw(chances, keys, 6).tolist()
