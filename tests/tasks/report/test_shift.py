"""How far samples are apart, at the least. Run: python -m pytest tests/tasks/report/test_shift.py"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, chi2_contingency, ncx2, norm

from tasks.report import shift

counts = st.lists(st.integers(0, 60), min_size=2, max_size=12).map(lambda c: np.array(c, np.int64))


def draw(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def normal(n: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return draw(seed).normal(mean, scale, (n, 8)).astype(np.float32)


def test_the_deviations_are_the_normal_quantile_of_the_confidence() -> None:
    assert norm.cdf(shift.DEVIATIONS) == pytest.approx(shift.CONFIDENCE, abs=1e-12)


def test_two_samples_of_one_distribution_cannot_be_told_apart() -> None:
    accuracy, n = shift.two_sample_accuracy(normal(300, 0), normal(300, 1), 0, "cpu")
    assert n == 300
    assert abs(accuracy - 0.5) < 3 / (2 * np.sqrt(n))
    assert shift.least_distance(accuracy, n) == 0


@pytest.mark.slow
def test_accuracies_of_equal_distributions_have_the_papers_null_distribution() -> None:
    found = [
        shift.two_sample_accuracy(normal(100, 2 * i), normal(100, 2 * i + 1), i, "cpu")[0] for i in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=3 * 0.05 / np.sqrt(200))
    assert np.std(found) == pytest.approx(1 / (2 * np.sqrt(100)), rel=0.2)


@pytest.mark.parametrize(
    "other", [normal(200, 1, mean=1.5), normal(200, 1, scale=4.0)], ids=["mean", "spread"]
)
def test_a_difference_in_mean_or_in_spread_alone_is_found(other: np.ndarray) -> None:
    accuracy, n = shift.two_sample_accuracy(normal(200, 0), other, 0, "cpu")
    assert accuracy > 0.85
    assert 2 * accuracy - 1 > shift.least_distance(accuracy, n) > 0.4


def test_the_test_is_the_same_each_time_and_depends_on_no_global_state() -> None:
    found = []
    for noise in (0, 1):
        np.random.seed(noise)
        found.append(shift.two_sample_accuracy(normal(50, 0), normal(50, 1, mean=0.3), 7, "cpu"))
    assert found[0] == found[1]


def test_a_constant_sample_and_a_single_row_a_side_are_no_error() -> None:
    zeros = np.zeros((40, 8), np.float32)
    assert shift.two_sample_accuracy(zeros, zeros, 0, "cpu") == (0.5, 40)
    assert shift.two_sample_accuracy(zeros, normal(40, 0), 0, "cpu")[0] > 0.8
    assert 0 <= shift.two_sample_accuracy(normal(2, 0), normal(2, 1), 0, "cpu")[0] <= 1


def test_the_distance_is_what_the_accuracy_shows_beyond_its_noise() -> None:
    assert shift.least_distance(0.5, 100) == 0
    assert shift.least_distance(1.0, 10**12) == pytest.approx(1, abs=1e-4)
    assert shift.least_distance(0.9, 100) == pytest.approx(0.8 - 2 * shift.DEVIATIONS * 0.05)


def test_the_shift_of_classes_is_the_least_that_explains_their_chi_square() -> None:
    now, before = np.array([54, *[18] * 9]), np.array([130] * 10)
    found, n, m = shift.class_shift(now, before), now.sum(), before.sum()
    statistic, _, freedom, _ = chi2_contingency([now, before], correction=False)
    noncentrality = found**2 * n * m / (n + m)
    assert ncx2.sf(statistic, freedom, noncentrality) == pytest.approx(1 - shift.CONFIDENCE, rel=1e-6)


def test_with_many_rows_the_least_shift_is_the_shift() -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    found = shift.class_shift((p * 10**7).astype(np.int64), (q * 10**7).astype(np.int64))
    assert found == pytest.approx(np.sqrt(((p - q) ** 2 / ((p + q) / 2)).sum()), rel=0.01)


def test_draws_from_equal_shares_hardly_ever_seem_to_shift() -> None:
    for shares in (np.full(10, 0.1), draw(1).dirichlet(np.ones(200))):
        rng = draw(0)
        draws = [(rng.multinomial(150, shares), rng.multinomial(1000, shares)) for _ in range(1000)]
        for measure in (shift.class_shift, shift.class_jump):
            assert np.mean([measure(now, before) > 0 for now, before in draws]) <= 0.005


def test_a_class_that_trebled_and_half_of_the_classes_gone_do_shift() -> None:
    before = np.array([140] * 10)
    assert shift.class_shift(np.array([60, *[20] * 9]), before) > 0.1
    assert shift.class_shift(np.array([*[20] * 5, *[0] * 5]), before) > 0.5


@given(counts, st.randoms(use_true_random=False))
def test_a_sample_never_shifts_from_itself_nor_do_the_names_of_classes_count(
    now: np.ndarray, random: object
) -> None:
    assert shift.class_shift(now, now) == 0
    order = list(range(len(now)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before = np.arange(len(now)) * 9
    assert shift.class_shift(now[order], before[order]) == pytest.approx(
        shift.class_shift(now, before), abs=1e-6
    )


def test_a_jump_is_the_limit_on_a_ratio_of_shares() -> None:
    now, before = np.array([54, *[18] * 9]), np.array([130] * 10)
    limit = beta.ppf(0.001 / 20, 54, 131)
    assert shift.class_jump(now, before) == pytest.approx(limit / (1 - limit) * 1300 / 216 - 1)
    many = 10**7
    assert shift.class_jump(np.array([2, 8]) * many, np.array([1, 9]) * many) == pytest.approx(1, abs=0.01)
    assert shift.class_jump(np.array([1, 9]) * many, np.array([2, 8]) * many) == pytest.approx(1, abs=0.01)


def test_a_class_that_vanished_jumped_where_it_was_common_and_a_rare_one_did_not() -> None:
    before = np.array([300, 1, *[100] * 8])
    assert shift.class_jump(np.array([0, 0, *[20] * 8]), before) > 1
    assert shift.class_jump(np.array([60, 2, *[20] * 8]), before) == 0


@pytest.mark.parametrize("measure", [shift.class_shift, shift.class_jump, shift.new_classes])
def test_no_rows_on_a_side_are_no_shift(measure: Callable[[np.ndarray, np.ndarray], float]) -> None:
    some, none = np.array([5, 6]), np.array([0, 0])
    assert measure(some, none) == measure(none, some) == measure(none[:0], none[:0]) == 0


def test_a_share_at_the_least_is_clopper_and_pearsons_limit() -> None:
    hits, n = np.array([0, 1, 10, 10]), np.array([10, 10, 10, 1000])
    found = shift.least_share(hits, n)
    assert found[0] == 0
    assert found[2] == pytest.approx(0.001**0.1)
    assert list(found[1:]) == pytest.approx(list(beta.ppf(0.001, hits[1:], n[1:] - hits[1:] + 1)))
    assert (found <= hits / n).all()


def test_a_rise_within_the_noise_of_two_samples_is_none() -> None:
    assert shift.least_rise(0.12, 100, 0.1, 100) == 0
    assert shift.least_rise(0.1, 100, 0.5, 100) == 0
    assert shift.least_rise(0.0, 3, 0.0, 3) == 0
    assert shift.least_rise(0.5, 10**9, 0.1, 10**9) == pytest.approx(0.4, abs=1e-3)


def test_new_classes_are_what_the_earlier_sample_should_have_seen() -> None:
    before = np.array([100, 100, 0])
    assert shift.new_classes(np.array([80, 80, 40]), before) == pytest.approx(beta.ppf(0.001, 40, 161))
    assert shift.new_classes(np.array([100, 100, 0]), before) == 0
    # A fifth of the earlier rows are of classes seen once: as many more must be expected.
    many = np.array([80, *[1] * 20, *[0] * 20])
    assert shift.new_classes(np.array([80, *[0] * 20, *[1] * 20]), many) == 0


def test_a_row_is_close_to_one_within_the_tolerance_of_its_own_length() -> None:
    points = np.array([[10, 0], [0, 10], [0, 0]], np.float32)
    others = np.array([[10, 0.09], [0, 10.2]], np.float32)
    assert shift.close(points, others, 0.01, chunk=2).tolist() == [True, False, False]
    assert shift.close(points, others[:0], 0.01).tolist() == [False] * 3
    assert shift.close(points[:0], others, 0.01).tolist() == []
