"""Residual: targets far from what teachers that never saw them predict.

The score is that of cleanlab's `regression.rank` with method "residual", exp(-|y - f|), of target and
prediction divided by the deviation of the window's targets: the published score depends on the unit, so
that metres and millimetres would rank alike and be flagged differently. A target is flagged as cleanlab's
Datalab does it, below `threshold` times the window's median score: with 0.05, where its residual is three
deviations larger than the median residual.

Assumes that errors are larger than what teachers cannot explain; where the noise of good targets grows with
the target, large ones are flagged first (`outre` looks at both). A score is no probability of an error, and
the better number is the teachers' own. Cost: O(n).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.targets import NO_ROWS, findings, learned, spread
from tasks.method import Task


class Residual(Detector):
    """How far a target lies from its prediction."""

    kind: Literal["residual"] = "residual"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "cleanlab, regression.rank, method residual"
    tasks: ClassVar[frozenset[Task]] = frozenset({"regression"})

    threshold: float = Field(
        0.05, gt=0, lt=1, description="share of the window's median score below which a target is flagged"
    )

    def fit(self, window: Window) -> State:
        """Arrays `deviation` and `limit` (1,) float64: of the window's targets, and the score below which one
        is flagged; nothing is where no row has a target."""
        rows = learned(window)
        _, deviation = spread(rows.given)
        scores = score(rows.given, rows.predicted, deviation)
        limit = self.threshold * float(np.median(scores)) if len(scores) else 0.0
        arrays = {"deviation": np.array([deviation]), "limit": np.array([limit])}
        return State(arrays, {"rows": len(scores), "notes": [] if len(scores) else [NO_ROWS]})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Scores, low is bad. No suggestion, as the better number is the ensemble's; p_error NaN."""
        deviation, limit = float(state.arrays["deviation"][0]), float(state.arrays["limit"][0])
        return findings(shard, lambda given, predicted: score(given, predicted, deviation), limit)


def score(given: np.ndarray, predicted: np.ndarray, deviation: float) -> np.ndarray:
    """exp(-|y - f| / deviation), float64 in 0..1."""
    return np.asarray(np.exp(-np.abs(given - predicted) / deviation))
