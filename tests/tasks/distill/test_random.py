"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_random.py"""

from __future__ import annotations

import numpy as np

from tasks.data import Examples
from tasks.distill.random import Random
from tests.tasks.distill.teachers import no_teachers


def rows(keys: np.ndarray) -> Examples:
    return Examples(np.array([str(key) for key in keys], object), keys, np.zeros(len(keys), np.int32))


def chosen(keys: np.ndarray, per_class: int, seed: int = 0) -> list[int]:
    distilled = Random(per_class=per_class).distill(rows(keys), no_teachers, seed, "cpu")
    assert distilled.images is None
    assert distilled.features is None
    return [row for (row,) in distilled.origins]


KEYS = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)


def test_rows_are_different_and_a_prefix_is_the_smaller_sample() -> None:
    ten = chosen(KEYS, 10)
    assert len(set(ten)) == 10
    assert chosen(KEYS, 4) == ten[:4]


def test_the_same_rows_win_in_any_order() -> None:
    order = np.random.default_rng(1).permutation(len(KEYS))
    assert [KEYS[i] for i in chosen(KEYS, 10)] == [KEYS[order][i] for i in chosen(KEYS[order], 10)]


def test_a_row_that_leaves_changes_at_most_one_choice() -> None:
    ten = chosen(KEYS, 10)
    left = np.delete(np.arange(len(KEYS)), ten[3])
    again = [int(left[i]) for i in chosen(KEYS[left], 10)]
    assert again[:9] == ten[:3] + ten[4:]


def test_every_row_is_equally_likely() -> None:
    counts = np.bincount([i for seed in range(4000) for i in chosen(KEYS[:20], 5, seed)], minlength=20)
    assert np.abs(counts / 4000 - 0.25).max() < 0.035  # five standard deviations


def test_a_class_smaller_than_asked_gives_all_its_rows_once() -> None:
    assert sorted(chosen(KEYS[:3], 10)) == [0, 1, 2]
    assert chosen(KEYS[:1], 10) == [0]
