"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_hardness.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data import Examples
from tasks.distill.hardness import STRATA, Hardness, covering, hardest
from tests.tasks.distill.teachers import no_teachers


def rows(dynamics: np.ndarray | None, n: int) -> Examples:
    ids = np.array([f"row-{i}" for i in range(n)], object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), dynamics=dynamics)


def learned(errors: list[float], forgotten: list[float] | None = None) -> Examples:
    """Rows of these errors and times forgotten; the margin is known where the error is."""
    margin = np.where(np.isnan(errors), np.nan, 1.0)
    columns = [margin, np.where(np.isnan(errors), np.nan, 0) if forgotten is None else forgotten, errors]
    return rows(np.stack(columns, axis=1).astype(np.float32), len(errors))


def picks(method: Hardness, examples: Examples, seed: int = 0) -> list[int]:
    return [row for (row,) in method.distill(examples, no_teachers, seed, "cpu").origins]


def budgets(sizes: list[int], budget: int) -> list[int]:
    """Algorithm 1 of CCS as printed: the smallest stratum first, each its share of what is left."""
    given, left = [0] * len(sizes), budget
    order = sorted((i for i in range(len(sizes)) if sizes[i]), key=lambda i: (sizes[i], i))
    for done, i in enumerate(order):
        given[i] = min(sizes[i], left // (len(order) - done))
        left -= given[i]
    return given


def strata(sizes: list[int]) -> np.ndarray:
    """Scores of which that many lie in each stratum; the first and the last have some."""
    middle = (np.arange(STRATA) + 0.5) / STRATA
    middle[[0, -1]] = [0, 1]
    return np.repeat(middle[: len(sizes)], sizes) if len(sizes) == STRATA else np.repeat(middle, sizes)


def test_the_hardest_come_first() -> None:
    examples = learned([0.1, 1.4, 0.5, 0.9], [3, 0, 2, 1])
    assert picks(Hardness(per_class=3), examples) == [1, 3, 2]
    assert picks(Hardness(per_class=3, score="forgetting"), examples) == [0, 2, 3]


def test_ties_are_settled_blindly_by_the_rows_keys() -> None:
    examples = learned([0.5] * 200, [1.0] * 200)
    first = picks(Hardness(score="forgetting", per_class=20), examples, seed=1)
    assert first == picks(Hardness(score="forgetting", per_class=20), examples, seed=1)
    assert first != picks(Hardness(score="forgetting", per_class=20), examples, seed=2)
    order = np.random.default_rng(0).permutation(200)
    moved = picks(Hardness(score="forgetting", per_class=20), examples.take(order), seed=1)
    assert order[moved].tolist() == first


def test_strata_of_1_5_and_100_rows_give_1_5_and_14_of_a_budget_of_20() -> None:
    sizes = [1] + [0] * 24 + [5] + [0] * 23 + [100]
    scores = strata(sizes)
    chosen = covering(scores, np.arange(106, dtype=np.uint64), 0.0)[:20]
    assert [int((scores[chosen] == score).sum()) for score in np.unique(scores)] == [1, 5, 14]


@given(st.lists(st.integers(0, 9), min_size=STRATA - 2, max_size=STRATA - 2), st.integers(0, 500))
def test_every_prefix_has_the_budgets_of_the_paper(middle: list[int], budget: int) -> None:
    sizes = [3, *middle, 5]
    scores = strata(sizes)
    chance = np.random.default_rng(budget).permutation(len(scores)).astype(np.uint64)
    order = covering(scores, chance, 0.0)
    assert sorted(order.tolist()) == list(range(len(scores)))
    stratum = np.repeat(np.arange(STRATA), sizes)[order[:budget]]
    assert np.bincount(stratum, minlength=STRATA).tolist() == budgets(sizes, min(budget, len(scores)))


def test_within_a_stratum_rows_are_drawn_by_chance() -> None:
    scores = np.zeros(1000)
    chance = np.random.default_rng(0).permutation(1000).astype(np.uint64)
    assert covering(scores, chance, 0.0).tolist() == np.argsort(chance).tolist()


def test_the_hardest_share_is_left_out_first() -> None:
    errors = np.linspace(0, 1, 100).tolist()
    chosen = picks(Hardness(per_class=100, coverage=0.3), learned(errors))
    assert sorted(chosen) == list(range(70))


def test_a_few_rows_cover_the_range_where_the_hardest_do_not() -> None:
    errors = np.random.default_rng(1).uniform(0, 1, 5000)
    chosen = errors[picks(Hardness(per_class=50, coverage=0.0), learned(errors.tolist()))]
    assert np.histogram(chosen, bins=10, range=(0, 1))[0].tolist() == [5] * 10
    assert errors[picks(Hardness(per_class=50), learned(errors.tolist()))].min() > 0.98


def test_wrong_labels_are_the_hardest_and_coverage_leaves_them_out() -> None:
    """The effect that Zheng et al. argue from, on scores as a network gives them."""
    rng = np.random.default_rng(2)
    wrong = np.arange(2000) < 200
    errors = np.where(wrong, rng.normal(1.2, 0.1, 2000), rng.gamma(1.5, 0.15, 2000)).clip(0, 1.4)
    assert wrong[picks(Hardness(per_class=100), learned(errors.tolist()))].mean() > 0.9
    assert wrong[picks(Hardness(per_class=100, coverage=0.15), learned(errors.tolist()))].mean() < 0.05


def test_rows_that_nobody_learned_come_last() -> None:
    examples = learned([np.nan, 0.2, np.nan, 0.1])
    for coverage in (None, 0.0):
        chosen = picks(Hardness(coverage=coverage), examples)
        assert set(chosen[:2]) == {1, 3}
        assert set(chosen[2:]) == {0, 2}
    assert len(picks(Hardness(per_class=1), learned([np.nan, np.nan]))) == 1
    assert picks(Hardness(coverage=0.9), learned([0.3])) == [0]


def test_equal_scores_are_one_stratum() -> None:
    assert sorted(covering(np.full(7, 0.4), np.arange(7, dtype=np.uint64), 0.0)) == list(range(7))
    assert len(hardest(np.zeros(0), np.zeros(0, np.uint64))) == 0
    assert len(covering(np.zeros(0), np.zeros(0, np.uint64), 0.5)) == 0


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="hardness needs to know how rows were learned"):
        picks(Hardness(), rows(None, 2))
    old = rows(np.array([[1, 0, 0.5], [1, 0, np.nan]], np.float32), 2)
    with pytest.raises(ValueError, match="that learned row row-1 recorded no errors; run teach again"):
        picks(Hardness(), old)
    assert len(picks(Hardness(score="forgetting"), old)) == 2
