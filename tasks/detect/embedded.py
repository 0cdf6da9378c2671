"""What detectors on the embedding share: rows of unit length, the window as a stream, a sample of it.

On rows of unit length the inner product is the cosine similarity, and 1 minus it the cosine distance.
A row whose embedding is all zeros points nowhere: it is at distance 1 from every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tasks.data import Issues, Labelled
from tasks.detect import Window
from tasks.detect.nearest import Points, nearest
from tasks.errors import StageFailed
from tasks.seeds import mix

RESOLUTION = 1e-6
"""Cosine distances below this are rounding: float32 products of unit rows err by about 1e-7."""

TYPICAL_ROWS = 4096
"""Rows that a window's typical distance is taken from: its median is then that of the window to within
one percent of rank (the standard error is 1 / (2 sqrt(4096)))."""

NOTHING = Points(np.zeros((0, 0), np.float32), np.zeros(0, np.uint64), np.zeros(0, np.int32))


def points_of(shard: Labelled, kind: str) -> Points:
    """Rows of unit length, grouped by content and marked by their given labels. Raises StageFailed where
    there is no embedding, or it is not finite."""
    embedding = shard.embedding
    if embedding is None:
        raise StageFailed(f"detect: {kind} reads the embedding; name an encoder under ingest.encoder")
    bad = np.flatnonzero(~np.isfinite(embedding).all(axis=1))
    if len(bad):
        raise StageFailed(
            f"detect: {kind} cannot read the embedding of {len(bad)} rows, such as {shard.ids[bad[0]]}: "
            "it holds NaN or infinity; filter them out under ingest.filters"
        )
    largest = np.abs(embedding).max(axis=1, initial=0)
    scaled = embedding / np.where(largest > 0, largest, 1)[:, None]  # squares of what is left cannot overflow
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    scaled /= np.where(length > 0, length, 1)[:, None]
    return Points(scaled, shard.keys, shard.labels)


def stream(window: Window, kind: str, wanted: Callable[[Labelled], np.ndarray]) -> Iterator[Points]:
    """The window's rows of which `wanted` (shard -> (n,) bool) says so, a run at a time."""
    for shard in window:
        yield points_of(shard.take(wanted(shard)), kind)


def everyone(shard: Labelled) -> np.ndarray:
    return np.ones(len(shard), dtype=bool)


def voters(shard: Labelled) -> np.ndarray:
    return shard.learnable


def sampled(points: Iterator[Points], most: int) -> Points:
    """At most so many rows of a stream: those whose contents mix to the smallest numbers, hence the same
    ones however the rows are dealt. All of them, in another order, where they are few."""
    kept: list[Points] = []
    for part in points:
        joined = Points.concat([*kept, part])
        kept = [joined.take(np.argsort(mix(joined.groups, 1), kind="stable")[:most])]
    return kept[0] if kept else NOTHING


def closest(queries: Points, references: Iterator[Points], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distances (q, k) float64 and labels (q, k) of the k nearest rows of other content; where
    there are fewer, infinity and -1."""
    from tasks.teach.rowwise import one_thread

    with one_thread():
        similarity, labels = nearest(queries, references, k)
    return distances(similarity), labels


def distances(similarity: np.ndarray) -> np.ndarray:
    """Cosine distances, float64 in 0..2; infinity of what was not found."""
    found = np.isfinite(similarity)
    return np.where(found, np.clip(1.0 - np.where(found, similarity, 0).astype(np.float64), 0, 2), np.inf)


def typical_distance(window: Window, kind: str) -> float:
    """The median distance from a row to the nearest row of other content; 0 where no row has one."""
    sample = sampled(stream(window, kind, everyone), TYPICAL_ROWS)
    if not len(sample):
        return 0.0
    found, _ = closest(sample, stream(window, kind, everyone), 1)
    found = found[np.isfinite(found)]
    return float(np.median(found)) if len(found) else 0.0


def radius_of(window: Window, kind: str, share: float) -> np.ndarray:
    """The cosine distance up to which rows are near copies, (1,) float64: a share of the typical distance."""
    return np.array([max(share * typical_distance(window, kind), RESOLUTION)])


def nothing_found(shard: Labelled) -> Issues:
    """Findings that say nothing: every score 1, to be filled in."""
    n = len(shard)
    return Issues(
        shard.ids,
        np.ones(n, dtype=np.float32),
        np.zeros(n, dtype=bool),
        np.full(n, -1, dtype=np.int32),
        np.full(n, np.nan, dtype=np.float32),
    )
