"""Seeds come from the data alone: pytest tests/tasks/test_seeds.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.seeds import folds_of, mix, seed_of, uniform

cases = settings(deadline=None, max_examples=60)
KEYS = np.random.Generator(np.random.PCG64(7)).integers(0, 2**64, 20_000, dtype=np.uint64)


def test_mix_gives_the_published_first_outputs_of_splitmix64() -> None:
    """Vigna's splitmix64.c from state 0: its n-th output is the finaliser of n times the gamma."""
    first = [int(mix(np.zeros(1, np.uint64), n)[0]) for n in (1, 2, 3)]
    assert first == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_a_seed_is_the_same_in_every_process_and_version() -> None:
    assert seed_of("digits", "2026-01-01", {"kind": "linear", "c": 1.0}, 3) == 5091696953553285930


@cases
@given(st.lists(st.one_of(st.text(), st.integers(), st.booleans()), max_size=4))
def test_seeds_fit_63_bits(parts: list[object]) -> None:
    assert 0 <= seed_of(*parts) < 2**63


def test_key_order_does_not_matter_and_everything_else_does() -> None:
    assert seed_of({"a": 1, "b": 2}) == seed_of({"b": 2, "a": 1})
    distinct = [("a", "b"), ("ab",), ("b", "a"), ("a", "b", 0), (["a", "b"],), ("a", 1), ("a", "1")]
    assert len({seed_of(*parts) for parts in distinct}) == len(distinct)


def test_a_numpy_number_is_the_number_it_holds() -> None:
    assert seed_of(np.int64(3), np.float32(0.5)) == seed_of(3, 0.5)


def test_an_object_whose_text_may_hold_its_address_is_refused() -> None:
    with pytest.raises(TypeError):
        seed_of(object())


@cases
@given(st.integers(0, 2**63 - 1), st.permutations(range(50)))
def test_a_rows_bits_do_not_depend_on_the_rows_around_it(seed: int, order: list[int]) -> None:
    some = KEYS[:50]
    assert np.array_equal(mix(some, seed)[order], mix(some[order], seed))
    assert mix(some[:1], seed)[0] == mix(some, seed)[0]


def test_uniform_is_flat_in_0_to_1_and_unrelated_between_seeds() -> None:
    first, second = uniform(KEYS, 1), uniform(KEYS, 2)
    assert first.min() >= 0
    assert first.max() < 1
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-squared of 19 degrees at p = 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03  # four standard errors of 20,000 pairs


@pytest.mark.parametrize("folds", [2, 3, 4, 10])
def test_folds_are_even_and_equal_keys_share_one(folds: int) -> None:
    dealt = folds_of(KEYS, folds)
    assert dealt.dtype == np.int16
    counts = np.bincount(dealt, minlength=folds)
    assert len(counts) == folds
    assert np.all(np.abs(counts - 20_000 / folds) < 4.5 * np.sqrt(20_000 / folds))
    assert np.array_equal(folds_of(np.concatenate([KEYS, KEYS]), folds), np.tile(dealt, 2))


def test_no_rows_are_legal() -> None:
    none = np.zeros(0, np.uint64)
    assert mix(none, 5).shape == uniform(none, 5).shape == folds_of(none, 4).shape == (0,)


def test_input_keys_are_left_alone() -> None:
    keys = np.arange(4, dtype=np.uint64)
    mix(keys, 9)
    assert keys.tolist() == [0, 1, 2, 3]
