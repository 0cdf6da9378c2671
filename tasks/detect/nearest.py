"""Exact nearest neighbours by inner product, over references that are read as a stream.

One matrix product for each pair of a query block and a reference block, then only the entries that
beat the query's k-th best so far are looked at: after the first block these are few (about
k log(n/k) a query in all), so the time is that of the products, and sorting hardly shows.

The answer is that of the whole float32 product, sorted stably: no candidate is skipped, equal
similarities go to the reference that came first. Matrix kernels choose the order of their sums by the
shape, so blocks have one shape, the last of each filled up with zeros: a query's answer depends neither
on the other queries nor on how the stream was cut. The linear algebra library must be held to one thread.

Cost: 2 q n d operations, n the references. Memory: the queries, one block of references, one block of
similarities (4 MiB) and the answer; never the references. Knows nothing of winnow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

QUERY_ROWS, REFERENCE_ROWS = 1024, 1024
"""A block's similarities stay in the processor's cache from the product to the comparison."""


@dataclass(frozen=True)
class Points:
    """rows: (n, d) float32. groups: (n,) uint64, equal for rows that are to be told apart from the rest,
    such as copies of one content. marks: (n,) int32, what a search answers with."""

    rows: np.ndarray
    groups: np.ndarray
    marks: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: np.ndarray | slice) -> Points:
        return Points(self.rows[index], self.groups[index], self.marks[index])

    @classmethod
    def concat(cls, parts: list[Points]) -> Points:
        parts = [part for part in parts if len(part)] or parts[:1]
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("rows", "groups", "marks")))


def nearest(
    queries: Points, references: Iterable[Points], k: int, same_group: float = -np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """The k references most similar to each query, the most similar first.

    same_group: the similarity of rows of one group, whatever their product; by default they are no
    neighbours, so that neither a row itself nor its copies are among its own.
    Returns similarities (q, k) float32 and marks (q, k) int32; where there are fewer than k references,
    -inf and -1.
    """
    similarity = np.full((len(queries), k), -np.inf, dtype=np.float32)
    marks = np.full((len(queries), k), -1, dtype=np.int32)
    for start, products, block in _products(queries, references, same_group):
        stop = start + len(products)
        _keep_best(similarity[start:stop], marks[start:stop], products, block.marks)
    return similarity, marks


def count_within(queries: Points, references: Iterable[Points], least: float, n_marks: int) -> np.ndarray:
    """How many references of each mark are at least that similar to a query, or of its group:
    (q, n_marks) int64. Marks are in 0..n_marks-1."""
    counts = np.zeros((len(queries), n_marks), dtype=np.int64)
    for start, products, block in _products(queries, references, np.inf):
        row, column = np.nonzero(products >= least)
        np.add.at(counts, (start + row, block.marks[column]), 1)
    return counts


def _products(
    queries: Points, references: Iterable[Points], same_group: float
) -> Iterator[tuple[int, np.ndarray, Points]]:
    """Similarities of every query block with every reference block: the block's first query, the
    (queries, references) float32 matrix, valid until the next one, and the references."""
    n, d = queries.rows.shape
    filled = np.zeros((-(-n // QUERY_ROWS) * QUERY_ROWS, d), dtype=np.float32)
    filled[:n] = queries.rows
    room = np.empty((QUERY_ROWS, REFERENCE_ROWS), dtype=np.float32)
    for block in _blocks(references) if n else ():
        rows = block.rows
        if len(block) < REFERENCE_ROWS:
            rows = np.zeros((REFERENCE_ROWS, d), dtype=np.float32)
            rows[: len(block)] = block.rows
        order = np.argsort(block.groups, kind="stable")
        for start in range(0, n, QUERY_ROWS):
            stop = min(start + QUERY_ROWS, n)
            np.matmul(filled[start : start + QUERY_ROWS], rows.T, out=room)
            products = room[: stop - start, : len(block)]
            row, place = _same(queries.groups[start:stop], block.groups[order])
            products[row, order[place]] = same_group
            yield start, products, block


def _blocks(stream: Iterable[Points]) -> Iterator[Points]:
    """The stream in blocks of exactly REFERENCE_ROWS, but for the last."""
    waiting: list[Points] = []
    for points in stream:
        missing = REFERENCE_ROWS - sum(map(len, waiting))
        start = missing if waiting else 0
        if waiting:
            waiting.append(points.take(slice(0, missing)))
            if len(points) < missing:
                continue
            yield Points.concat(waiting)
        whole = start + (len(points) - start) // REFERENCE_ROWS * REFERENCE_ROWS
        for first in range(start, whole, REFERENCE_ROWS):
            yield points.take(slice(first, first + REFERENCE_ROWS))
        waiting = [points.take(slice(whole, None))] if whole < len(points) else []
    if waiting:
        yield Points.concat(waiting)


def _same(groups: np.ndarray, ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of one group: rows of `groups`, places in the sorted `ordered`."""
    first = np.searchsorted(ordered, groups, side="left")
    count = np.searchsorted(ordered, groups, side="right") - first
    row = np.repeat(np.arange(len(groups)), count)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count - first, count)


def _keep_best(similarity: np.ndarray, marks: np.ndarray, products: np.ndarray, new: np.ndarray) -> None:
    """Merge a block into the k best so far of its queries, in place."""
    k, width = similarity.shape[1], products.shape[1]
    beaten = similarity[:, -1:]
    wanted = products > beaten
    if width > k and not np.isfinite(beaten).all():
        # A first block beats nothing: its own k-th best does what an earlier one cannot.
        wanted &= products >= np.partition(products, width - k, axis=1)[:, width - k, None]
    hits = np.flatnonzero(wanted)
    if not len(hits):
        return
    row, column = np.divmod(hits, width)
    counts = np.bincount(row, minlength=len(products))
    touched = np.flatnonzero(counts)
    # Side by side, old ones first: both come in the stream's order, so a stable sort keeps it in ties.
    place = np.arange(len(row)) - np.repeat((np.cumsum(counts) - counts)[touched], counts[touched])
    line = np.repeat(np.arange(len(touched)), counts[touched])
    values = np.full((len(touched), k + counts.max()), -np.inf, dtype=np.float32)
    names = np.full(values.shape, -1, dtype=np.int32)
    values[:, :k], names[:, :k] = similarity[touched], marks[touched]
    values[line, k + place], names[line, k + place] = products[row, column], new[column]
    best = np.argsort(-values, axis=1, kind="stable")[:, :k]
    similarity[touched] = np.take_along_axis(values, best, axis=1)
    marks[touched] = np.take_along_axis(names, best, axis=1)
