"""The figures of a partition whose rows have numbers, beside those that every task has.

Errors are in the target's own unit, so that people can read them; R^2 compares nights. Where the right number
is known, a given one counts as wrong for measuring detection when it is off by more than a deviation of the
window's right ones: what is less, no detector of numbers claims to see. Cost: linear in rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.data import Decisions, SoftLabels
from tasks.report import Figure
from tasks.report.metrics import shares, snake

UNIT = "target"


def teach(opinions: Mapping[str, SoftLabels], given: np.ndarray, truth: np.ndarray) -> list[Figure]:
    """Mean absolute error, root mean squared error and R^2 of every teacher, out of sample, against given and
    true numbers (n,) float64, NaN where there is none."""
    figures = []
    for teacher, soft in opinions.items():
        assert soft.values is not None
        for against, numbers in (("given", given), ("truth", truth)):
            known = np.isfinite(numbers)
            name = f"teacher_{snake(teacher)}"
            found = errors(numbers[known], soft.values[known])
            figures += [Figure("teach", f"{name}_{what}_{against}", *value) for what, value in found.items()]
    return figures


def errors(right: np.ndarray, said: np.ndarray) -> dict[str, tuple[float, str]]:
    """Figures of predictions (m,), each with its unit; none of no rows, no R^2 of equal numbers."""
    if not len(right):
        return {}
    off = np.abs(said - right)
    squares, spread = float(np.square(off).mean()), float(right.var())
    found = {"mae": (float(off.mean()), UNIT), "rmse": (float(np.sqrt(squares)), UNIT)}
    return found | ({"r2": (1 - squares / spread, "ratio")} if spread > 0 else {})


def verdicts(given: np.ndarray, truth: np.ndarray, deviation: float) -> np.ndarray:
    """Which given numbers are wrong: (n,) int32, 1 for wrong, 0 for right, -1 where the truth is not known.
    A row's given label being 0, this is what `metrics.detect` takes for the truth."""
    wrong = np.abs(given - truth) > deviation
    return np.where(np.isfinite(truth), wrong, -1).astype(np.int32)


def relabel(decisions: Decisions, truth: np.ndarray) -> list[Figure]:
    """What was decided, and how far given and curated numbers are off where the truth is known."""
    assert decisions.before is not None
    assert decisions.after is not None
    if not len(decisions):
        return []
    before, after = decisions.before, decisions.after
    changed = np.isfinite(before) & np.isfinite(after) & (before != after)
    figures = shares(decisions, changed)
    for arm, numbers in (("given", before), ("curated", after)):
        known = np.isfinite(numbers) & np.isfinite(truth)
        if known.any():
            off = float(np.abs(numbers - truth)[known].mean())
            figures.append(Figure("relabel", f"label_mae_{arm}", off, UNIT))
    return figures
