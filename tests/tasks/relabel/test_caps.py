"""Caps compare counts, not rounded shares: pytest tests/tasks/relabel/test_caps.py"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.relabel.caps import exceeds, overruns


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(1, 10**6))
def test_a_cap_in_percent_is_met_by_exactly_that_many(percent: int, hundreds: int) -> None:
    cap, whole, part = float(f"{percent / 100:.2f}"), 100 * hundreds, percent * hundreds
    assert not exceeds(part, whole, cap)
    assert exceeds(part + 1, whole, cap)


def test_nothing_of_nothing_exceeds_no_cap() -> None:
    assert not exceeds(0, 0, 0.0)


def test_a_cap_in_scientific_notation_is_read() -> None:
    assert exceeds(2, 100_000, 1e-05)
    assert not exceeds(1, 100_000, 1e-05)


def test_the_whole_and_its_classes_are_judged_apart() -> None:
    labelled, changed = np.array([10, 0, 90]), np.array([6, 0, 4])
    over_all, over_class, notes = overruns(labelled, changed, 0.1, 0.5)
    assert (over_all, over_class.tolist(), len(notes)) == (False, [True, False, False], 1)
    over_all, over_class, notes = overruns(labelled, changed, 0.09, 0.6)
    assert (over_all, over_class.tolist(), len(notes)) == (True, [False, False, False], 1)
