"""Caps on how many labels one run may change, compared as exact numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


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
    total, moved = int(labelled.sum()), int(changed.sum())
    all_over = exceeds(moved, total, cap)
    counts = zip(changed.tolist(), labelled.tolist(), strict=True)
    over = np.array([exceeds(part, whole, cap_per_class) for part, whole in counts], dtype=bool)
    outcome = "none was changed, all are queued for review"
    notes = [
        f"{changed[c]} of the {labelled[c]} labels of class {c} would be fixed or dropped, more than "
        f"max_fixed_per_class {cap_per_class}: {outcome}"
        for c in np.flatnonzero(over)
    ]
    if all_over:
        notes.insert(
            0,
            f"{moved} of the partition's {total} labels would be fixed or dropped, more than "
            f"max_fixed {cap}: {outcome}",
        )
    return all_over, over, notes
