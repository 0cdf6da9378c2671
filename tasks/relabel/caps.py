"""Caps on how many labels one run may change, compared as exact numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

OUTCOME = "none was changed, all are queued for review"


def exceeds(part: int, whole: int, cap: float) -> bool:
    """Whether part / whole > cap, for the decimal as written: 29 of 100 do not exceed 0.29, although
    0.29 * 100 is 28.999999999999996."""
    return part > Fraction(str(cap)) * whole


def overruns(
    labelled: np.ndarray, changed: np.ndarray, cap: float, cap_per_class: float
) -> tuple[bool, np.ndarray, list[str]]:
    """Whether the total exceeds `cap`, which classes exceed `cap_per_class`, and sentences on both.

    labelled, changed: (k,) int64 labels by given class, and how many of them would change. Returns a
    bool, (k,) bool, and a sentence for each cap exceeded.
    """
    all_over, note = overrun(int(labelled.sum()), int(changed.sum()), cap)
    over, notes = class_overruns(labelled, changed, cap_per_class)
    return all_over, over, note + notes


def overrun(total: int, moved: int, cap: float) -> tuple[bool, list[str]]:
    """Whether `moved` of a partition's `total` labels exceed `cap`, and a sentence if so."""
    if not exceeds(moved, total, cap):
        return False, []
    return True, [
        f"{moved} of the partition's {total} labels would be fixed or dropped, more than "
        f"max_fixed {cap}: {OUTCOME}"
    ]


def class_overruns(labelled: np.ndarray, changed: np.ndarray, cap: float) -> tuple[np.ndarray, list[str]]:
    """Which classes exceed `cap`, (k,) bool, and a sentence on each."""
    counts = zip(changed.tolist(), labelled.tolist(), strict=True)
    over = np.array([exceeds(part, whole, cap) for part, whole in counts], dtype=bool)
    return over, [
        f"{changed[c]} of the {labelled[c]} labels of class {c} would be fixed or dropped, more than "
        f"max_fixed_per_class {cap}: {OUTCOME}"
        for c in np.flatnonzero(over)
    ]
