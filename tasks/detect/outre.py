"""OUTRE: targets that are outliers among all pairs of a target and its residual.

cleanlab's default for regression (`regression.rank`, method "outre"): a row is the point (y, 5 r) of its
target and five times its residual, both standardised by the window, and is scored by its mean distance d to
the nearest half of all points, exp(-d / median d), the score of Kuan & Mueller, "Back to the Basics", 2022.
A large residual counts for more where targets are common than where they are rare and teachers know little.
A target is flagged below `threshold` times the window's median score, as cleanlab's Datalab does it: with
0.05, at three median distances more than the median.

cleanlab compares every pair of rows: 20 GB for 50,000. Here rows are compared with a sample of the window,
at most SAMPLE rows with the smallest hashed contents. Where the window is no larger, scores are cleanlab's
to rounding; where it is, the mean over the nearest half of the sample stands for that over the nearest half
of all. cleanlab counts a row among its own neighbours, at distance 0, and so does this, in the sample or
not. Cost: SAMPLE distances a row.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.targets import NO_ROWS, findings, learned, spread
from tasks.method import Task
from tasks.seeds import mix

SAMPLE = 4096
RESIDUALS = 5.0
"""How much more a residual counts than a target: cleanlab's `residual_scale`."""
SMALLEST = 100 * float(np.finfo(np.float64).eps)
"""What the median distance is at the least, and the square of a distance that is only rounding."""
BLOCK_ROWS = 256


class Outre(Detector):
    """How far a target and its residual lie from those of other rows."""

    kind: Literal["outre"] = "outre"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "cleanlab, regression.rank, method outre; Kuan & Mueller, Back to the Basics, 2022"
    tasks: ClassVar[frozenset[Task]] = frozenset({"regression"})

    threshold: float = Field(
        0.05, gt=0, lt=1, description="share of the window's median score below which a target is flagged"
    )

    def fit(self, window: Window) -> State:
        """Arrays, float64: `centre` and `scale` (2,) of targets and residuals, `points` (m, 2) of the sample,
        `typical` and `limit` (1,): the median distance, and the score below which a target is flagged;
        nothing is where no row has a target."""
        rows = learned(window)
        residual = rows.predicted - rows.given
        centre, scale = (np.array(part) for part in zip(spread(rows.given), spread(residual), strict=True))
        arrays = {"centre": centre, "scale": scale / [1.0, RESIDUALS]}
        chosen = np.argsort(mix(rows.keys, 1), kind="stable")[:SAMPLE]
        points = points_of(rows.given[chosen], rows.predicted[chosen], arrays)
        far = distances(points, points)
        typical = max(float(np.median(far)), SMALLEST) if len(far) else 1.0
        limit = self.threshold * float(np.median(score(far, typical))) if len(far) else 0.0
        arrays |= {"points": points, "typical": np.array([typical]), "limit": np.array([limit])}
        return State(arrays, {"rows": len(residual), "notes": [] if len(residual) else [NO_ROWS]})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Scores, low is bad. No suggestion, as the better number is the ensemble's; p_error NaN."""
        a = state.arrays

        def judge(given: np.ndarray, predicted: np.ndarray) -> np.ndarray:
            if not len(a["points"]):
                return np.ones(len(given))
            return score(distances(points_of(given, predicted, a), a["points"]), float(a["typical"][0]))

        return findings(shard, judge, float(a["limit"][0]))


def points_of(given: np.ndarray, predicted: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 2) float64: the target, and five times its residual, in deviations from the mean."""
    return np.asarray((np.stack([given, predicted - given], axis=1) - arrays["centre"]) / arrays["scale"])


def distances(points: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """The mean distance of each point to the nearest half of the sample, itself among them: (n,) float64."""
    m = len(sample)
    k = (m + 1) // 2
    found = np.zeros(len(points))
    for start in range(0, len(points), BLOCK_ROWS):
        block = points[start : start + BLOCK_ROWS]
        apart = np.sqrt(sum(np.square(block[:, None, j] - sample[:, j]) for j in (0, 1)))
        nearest = np.partition(apart, k - 1, axis=1)[:, :k]
        # A row of the sample meets itself; for any other, that meeting takes the place of the k-th.
        nearest[apart.min(axis=1) > 0, k - 1] = 0.0
        found[start : start + BLOCK_ROWS] = nearest.sum(axis=1) / k
    return found


def score(distance: np.ndarray, typical: float) -> np.ndarray:
    """exp(-distance / typical), float64 in 0..1; 1 at a distance that is only rounding."""
    return np.asarray(np.where(distance < np.sqrt(SMALLEST), 1.0, np.exp(-distance / typical)))
