"""What a metric usually is: the median of its history, give or take a robust standard deviation.

1.4826 times the median absolute deviation estimates the standard deviation of normal values (Rousseeuw &
Croux, "Alternatives to the median absolute deviation", JASA 1993) and, like the median, stays where it
is while fewer than half of the earlier values are wrong: one bad night that was published does not
widen the bound for the next. Iglewicz & Hoaglin, "How to Detect and Handle Outliers", 1993, score
outliers by it. A history that hardly moves would call the smallest change an outlier, so the deviation
has a floor; for a share it is never below what drawing the rows at random would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NORMAL = 1.4826
"""The standard deviation of a normal variable, in median absolute deviations."""

FLOORS = {"share": 0.01, "ratio": 0.02, "effect": 0.01}
"""The least deviation by unit; 1 for any other."""

COUNT_FLOOR = 0.05
"""The least deviation of a count, or of a number in the target's unit, as a share of its median."""


class Usual(NamedTuple):
    """What a metric usually is. scale: standard deviation, robustly estimated and at least the floor."""

    median: float
    scale: float


def usual(values: Sequence[float], unit: str, rows: float, floor: float | None = None) -> Usual:
    """From one value or more. rows: how many the partition has, for the sampling noise of a share;
    floor: the least scale, the unit's when None."""
    known = np.asarray(values, np.float64)
    median = float(np.median(known))
    scale = NORMAL * float(np.median(np.abs(known - median)))
    return Usual(median, max(scale, floor or floor_of(unit, median, rows)))


def floor_of(unit: str, median: float, rows: float) -> float:
    """The least deviation of a metric: a draw of `rows` rows cannot repeat a share more exactly.

    The share is shrunk towards a half by one row of each kind (Laplace), so that one which has always
    been 0 or 1 keeps some noise.
    """
    if unit == "share":
        share = (min(max(median, 0.0), 1.0) * rows + 1) / (rows + 2)
        return max(FLOORS[unit], float(np.sqrt(share * (1 - share) / max(rows, 1.0))))
    if unit == "target":
        return COUNT_FLOOR * abs(median) or 1.0
    if unit in ("rows", "bytes"):
        return max(COUNT_FLOOR * abs(median), 1.0)
    return FLOORS.get(unit, 1.0)
