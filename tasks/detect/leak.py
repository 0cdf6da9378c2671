"""Leaks: training rows that stand in the held-out split, so that what is measured there is memory.

A training row leaks when a held-out row has the same content, or is within a radius of it in the
embedding (cosine distance). The radius is that of `near_duplicates`: a share, by default .13 as in cleanlab's
Datalab, of the median distance from a row of the window to the nearest row of other content.
Held-out rows themselves are not judged, and labels are not looked at: there is none to suggest.

Sees the held-out rows of the window as it is tonight: a row that leaks into a split that arrives later
is found when its partition is run again. Cost: 2 h d operations a row judged, h the held-out rows, and
2 n d for at most 4,096 rows of the window to find its scale.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.embedded import distances, nothing_found, points_of, radius_of, stream
from tasks.detect.nearest import nearest


class Leak(Detector):
    """Training rows that are copies or near copies of held-out rows."""

    kind: Literal["leak"] = "leak"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "the radius: cleanlab 2.9, Datalab's near_duplicate check"
    reads = frozenset({"embedding"})

    radius: float = Field(
        0.13, ge=0, le=10, description="of a near copy, as a share of the median distance to the nearest row"
    )

    def fit(self, window: Window) -> State:
        """Array `radius` (1,) float64: the cosine distance up to which a row is a near copy."""
        some = any((~shard.trains).any() for shard in window)
        notes = [] if some else ["nothing can leak: the window has no held-out row"]
        return State({"radius": radius_of(window, self.kind, self.radius)}, {"notes": notes})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """score: d / (d + radius), d the distance to the nearest held-out row: 0 for a copy, one half at the
        radius, 1 where no row is held out. No suggestion."""
        from tasks.teach.rowwise import one_thread

        issues, known = nothing_found(shard), np.flatnonzero(shard.learnable)
        if not len(known):
            return issues
        rows = points_of(shard.take(known), self.kind)
        with one_thread():
            similarity, _ = nearest(rows, stream(window, self.kind, held_out), 1, same_group=1.0)
        distance, radius = distances(similarity[:, 0]), state.arrays["radius"][0]
        found = np.isfinite(distance)
        issues.score[known[found]] = distance[found] / (distance[found] + radius)
        issues.is_issue[known] = distance <= radius
        return issues


def held_out(shard: Labelled) -> np.ndarray:
    return ~shard.trains
