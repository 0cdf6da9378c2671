"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_facility_location.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import Examples
from tasks.distill.facility_location import FacilityLocation
from tests.tasks.distill.teachers import no_teachers
from tests.tasks.distill.test_facilities import cloud, naive, value


def picks_of(embedding: np.ndarray | None, n: int, seed: int = 0, **fields: int) -> list[int]:
    ids = np.array([f"row-{i}" for i in range(n)], object)
    rows = Examples(ids, np.arange(n, dtype=np.uint64) * 77, np.zeros(n, np.int32), embedding=embedding)
    made = FacilityLocation.model_validate(fields).distill(rows, no_teachers, seed, "cpu")
    assert made.images is None
    assert all(len(origin) == 1 for origin in made.origins)
    return [row for (row,) in made.origins]


def test_picks_are_those_of_textbook_greedy_on_cosines() -> None:
    rows = cloud(400, 10, 0)
    stretched = rows * np.linspace(0.5, 8, 400, dtype=np.float32)[:, None]
    assert picks_of(stretched, 400, per_class=30) == naive(rows @ rows.T, 30)


def test_a_prefix_is_the_smaller_set_without_rounds() -> None:
    rows = cloud(1000, 10, 1)
    for cells in (1, 5):
        assert picks_of(rows, 1000, cells=cells, per_class=60)[:25] == picks_of(
            rows, 1000, cells=cells, per_class=25
        )


def test_cells_and_rounds_come_near_exact_greedy() -> None:
    rows = cloud(3000, 24, 2, clusters=30)
    exact = value(rows, picks_of(rows, 3000, per_class=60))
    assert value(rows, picks_of(rows, 3000, per_class=60, cells=10)) > 0.97 * exact
    assert value(rows, picks_of(rows, 3000, per_class=60, cells=10, rounds=3)) > 0.995 * exact
    assert value(rows, picks_of(rows, 3000, per_class=60, rounds=3)) > exact


def test_the_seed_decides_cells_and_nothing_else() -> None:
    rows = cloud(900, 10, 3)
    assert picks_of(rows, 900, seed=1) == picks_of(rows, 900, seed=2)
    assert picks_of(rows, 900, seed=1, cells=9) == picks_of(rows, 900, seed=1, cells=9)
    assert picks_of(rows, 900, seed=1, cells=9) != picks_of(rows, 900, seed=2, cells=9)


@pytest.mark.parametrize("fields", [{}, {"cells": 3}, {"cells": 100, "rounds": 2}])
def test_a_class_smaller_than_asked_gives_all_its_rows_once(fields: dict[str, int]) -> None:
    for n in (1, 2, 7):
        assert sorted(picks_of(cloud(n, 4, n), n, **fields)) == list(range(n))


def test_copies_come_last() -> None:
    rows = np.repeat(cloud(20, 16, 4), 2, axis=0)
    assert len({row // 2 for row in picks_of(rows, 40, per_class=20)}) == 20


def test_missing_and_broken_embeddings_are_named() -> None:
    with pytest.raises(ValueError, match="facility_location needs embeddings"):
        picks_of(None, 2)
    with pytest.raises(ValueError, match="the embedding of row row-0 is not finite"):
        picks_of(np.array([[np.inf], [0]], np.float32), 2)
