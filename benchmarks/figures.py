"""What a benchmark measures: figures, with the goal each is held to."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "≥": operator.ge,
    "≤": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@dataclass(frozen=True)
class Figure:
    """One measured number.

    goal: a comparison and a number, such as "≥ 0.977", or None where the number is only told. peer:
    what it is compared with, such as "cleanlab 2.9.0", or None. Raises ValueError on another goal.
    """

    name: str
    value: float
    unit: str = ""
    goal: str | None = None
    peer: str | None = None

    def __post_init__(self) -> None:
        if self.goal is not None:
            split_goal(self.goal)

    @property
    def holds(self) -> bool:
        """Whether the goal is met; a figure without one holds, one that is NaN never does."""
        if math.isnan(self.value):
            return False
        if self.goal is None:
            return True
        comparison, bound = split_goal(self.goal)
        return COMPARISONS[comparison](self.value, bound)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


def split_goal(goal: str) -> tuple[str, float]:
    """ "≥ 0.977" -> ("≥", 0.977)."""
    comparison, _, bound = goal.partition(" ")
    try:
        number = float(bound)
    except ValueError:
        number = math.nan
    if comparison not in COMPARISONS or math.isnan(number):
        raise ValueError(f"goal {goal!r} is none; write one of {' '.join(COMPARISONS)}, a space and a number")
    return comparison, number


def shown(value: float, unit: str = "") -> str:
    """A value as people read it: at most four significant digits, whole numbers in full."""
    digits = f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"
    return f"{digits} {unit}".strip()
