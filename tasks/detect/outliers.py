"""Outliers: rows that look like nothing else in the window, whatever their label says.

Kuan & Mueller, "Back to the Basics: Revisiting Out-of-Distribution Detection Baselines", ICML workshop
2022: the mean distance d to the k nearest rows of the embedding (cosine). The score is cleanlab's,
exp(-d / median d), and the same number as its `OutOfDistribution` where no content comes twice.

Distances are positive with a long tail to the right, and it is the tail that is to be judged, so the flag
looks at their logarithms: an outlier's is more than `deviations` robust standard deviations
(1.4826 times the median absolute deviation) above the median. 3.5 is the cut-off of Iglewicz & Hoaglin,
"How to Detect and Handle Outliers", 1993: one row in 4,300 if the logarithms were normal, and median
and deviation hold until half of the rows are outliers. Both are the window's own, from a sample of it.

A rare class far from the others looks like outliers too; so does a wrong crop. An outlier has no better
label to suggest. Cost: 2 n d operations a row judged, and for at most `sample` rows of the window.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.embedded import (
    RESOLUTION,
    TYPICAL_ROWS,
    closest,
    everyone,
    nothing_found,
    points_of,
    sampled,
    stream,
)
from tasks.detect.nearest import Points

NORMAL = 1.4826
"""Median absolute deviations in a standard deviation of a normal distribution."""


class Outliers(Detector):
    """Mean distance to the k nearest rows, against the window's own."""

    kind: Literal["outliers"] = "outliers"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Kuan & Mueller, Back to the Basics: Revisiting OOD Detection Baselines, 2022"
    reads = frozenset({"embedding"})

    k: int = Field(10, ge=1, le=1000, description="nearest rows that the distance is the mean of")
    deviations: float = Field(
        3.5, gt=0, le=1000, description="robust standard deviations of the log distance that make an outlier"
    )

    def fit(self, window: Window) -> State:
        """Arrays `typical` and `limit` (1,) float64: the median distance, and the one above which a row is
        an outlier; infinity where at most one distance is known, or most are the same."""
        rows = sampled(stream(window, self.kind, everyone), TYPICAL_ROWS)
        distance = self._distance(rows, window) if len(rows) else np.zeros(0)
        distance = distance[np.isfinite(distance)]
        typical, limit = (float(np.median(distance)) if len(distance) else 1.0), np.inf
        logs = np.log(np.maximum(distance, RESOLUTION))
        if len(logs):
            middle = np.median(logs)
            spread = NORMAL * np.median(np.abs(logs - middle))
            limit = float(np.exp(middle + self.deviations * spread)) if spread > 0 else np.inf
        notes = [] if np.isfinite(limit) else ["no row is an outlier: the window's distances do not differ"]
        arrays = {"typical": np.array([max(typical, RESOLUTION)]), "limit": np.array([limit])}
        return State(arrays, {"notes": notes})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """score: exp(-d / typical), 1 for a row that is alone. No suggestion."""
        issues, known = nothing_found(shard), np.flatnonzero(shard.labels >= 0)
        if not len(known):
            return issues
        distance = self._distance(points_of(shard.take(known), self.kind), window)
        found = np.isfinite(distance)
        issues.score[known[found]] = np.exp(-distance[found] / state.arrays["typical"][0])
        issues.is_issue[known] = found & (distance > state.arrays["limit"][0])
        return issues

    def _distance(self, rows: Points, window: Window) -> np.ndarray:
        """Mean distance (n,) to the k nearest rows of other content, or to as many as there are; infinity
        without any."""
        distance, _ = closest(rows, stream(window, self.kind, everyone), self.k)
        found = np.isfinite(distance)
        count = found.sum(axis=1)
        total = np.where(found, distance, 0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.inf)
