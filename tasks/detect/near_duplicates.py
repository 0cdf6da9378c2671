"""Near duplicates that are called different things: one of the labels is wrong.

The duplicates of a row are the rows within a radius of it in the embedding (cosine distance), and every
copy of its content. It and they are its group. Where the group's labels differ, the label that most of
them have stands against the others, and without a single one that has most, every label is in doubt.

A group is what is near the row itself, not the connected component: the duplicates of duplicates of
a film's frame are the whole film. The radius is a share of the window's own scale, the median distance
from a row to the nearest row of other content; .13 is what cleanlab's Datalab takes for near
duplicates. Only rows of the training split, and the row itself, have a say.

Classes that differ in what the embedding does not see (a date stamp, a scale) look like conflicts.
Cost: 2 n d operations a row judged, n the window's rows, and for at most 4,096 of its rows to find its
scale.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.embedded import nothing_found, points_of, radius_of, stream, voters
from tasks.detect.nearest import count_within


class NearDuplicates(Detector):
    """Conflicting labels in a group of near or exact duplicates; the group's majority is the suggestion."""

    kind: Literal["near_duplicates"] = "near_duplicates"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "the radius: cleanlab 2.9, Datalab's near_duplicate check"
    reads = frozenset({"embedding"})

    radius: float = Field(
        0.13, ge=0, le=10, description="of a duplicate, as a share of the median distance to the nearest row"
    )

    def fit(self, window: Window) -> State:
        """Array `radius` (1,) float64: the cosine distance up to which rows are duplicates."""
        return State({"radius": radius_of(window, self.kind, self.radius)}, {})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """score: the share of the group that has the row's label, 1 for a row without duplicates. A tie for
        the most frequent label flags all of them and suggests none."""
        from tasks.teach.rowwise import one_thread

        issues, known = nothing_found(shard), np.flatnonzero(shard.labels >= 0)
        if not len(known):
            return issues
        rows = shard.take(known)
        with one_thread():
            counts = count_within(
                points_of(rows, self.kind),
                stream(window, self.kind, voters),
                1 - float(state.arrays["radius"][0]),
                window.n_classes,
            )
        each = np.arange(len(rows)), rows.labels
        counts[each] += ~rows.trains  # a row of the training split was among the window's
        most = counts.max(axis=1)
        alone = (counts == most[:, None]).sum(axis=1) == 1
        majority = np.where(alone, counts.argmax(axis=1), -1)
        issues.score[known] = counts[each] / counts.sum(axis=1)
        issues.is_issue[known] = majority != rows.labels
        issues.suggested_label[known] = majority
        return issues
