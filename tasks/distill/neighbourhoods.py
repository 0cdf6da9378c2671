"""Facility location of many rows: greedy within neighbourhoods, then picks moved to where they serve best.

Rows of different cells of a partition count as not similar at all: the clustered facility location of
Kaushal et al., "Submodlib", 2022. It is a sum of functions of one cell each, so greedy over all rows is
the greedy orders of the cells merged by gain, at 1/k of the work for k cells of equal size. Its value
never exceeds F, so what is reached counts for F too; and it is at least 1 - 1/e of the best that the
clustered function allows.

`moved` then alternates as k-medoids does (Park & Jun, "A simple and fast algorithm for K-medoids
clustering", 2009): every row goes to its most similar pick, whatever the cell, and a pick gives way to the
row in the middle of those that came to it if that serves them better. F does not fall. Knows nothing of
winnow, and needs the linear algebra library to be held to one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge

import numpy as np

from tasks.distill.facilities import BLOCK, greedy
from tasks.distill.vectors import unit

SAMPLED_PER_CELL, LLOYD_STEPS = 64, 10
WIDEST = 4
"""No cell has more than this many times the rows of an average one: its work grows with the square."""


def partition(rows: np.ndarray, k: int, sample: np.ndarray) -> list[np.ndarray]:
    """Some k cells of (n, d) float32: row numbers, ascending in each. By spherical k-means (Dhillon & Modha,
    2001) on the rows at `sample`, of which the first k are the first centres."""
    seen = unit(rows[sample])
    centres = seen[:k]
    for _ in range(LLOYD_STEPS):
        members = [seen[group] for group in groups(nearest(seen, centres)[0], len(centres))]
        centres = unit(np.array([group.sum(axis=0) for group in members if len(group)]))
    limit = -(-WIDEST * len(rows) // k)
    cells = [cell for cell in groups(nearest(rows, centres)[0], len(centres)) if len(cell)]
    return [piece for cell in cells for piece in np.array_split(cell, -(-len(cell) // limit))]


def merged(rows: np.ndarray, cells: list[np.ndarray]) -> Iterator[int]:
    """All row numbers of (n, d) float32 in the greedy order of the clustered function; the lower in ties."""

    def order(cell: np.ndarray) -> Iterator[tuple[float, int]]:
        for place, gain in greedy(unit(rows[cell]), keep=False):
            yield -gain, int(cell[place])

    return (row for _, row in merge(*map(order, cells)))


def moved(rows: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The picks after one alternation, each in the place of the one it came from."""
    chosen, found = unit(rows[picks]), picks.copy()
    free = np.ones(len(rows), bool)
    free[picks] = False
    for number, group in enumerate(groups(nearest(rows, chosen)[0], len(picks))):
        near, others = unit(rows[group]), np.flatnonzero(free[group])
        if len(others):
            middle = others[np.argmax(near[others] @ near.sum(axis=0))]
            pair = np.stack([chosen[number], near[middle]])
            now, then = np.maximum(near @ pair.T, 0).sum(axis=0, dtype=np.float64)
            if then > now:
                found[number] = group[middle]
    return found


def groups(number: np.ndarray, m: int) -> list[np.ndarray]:
    """Which rows have each number of 0..m-1, ascending."""
    ends = np.cumsum(np.bincount(number, minlength=m))
    return np.split(np.argsort(number, kind="stable"), ends[:-1])


def nearest(rows: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of (m, d) float32 of length one each of (n, d) is most similar to, the first in ties: int64
    (n,); and how similar, float32 (n,)."""
    place, similar = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        products = unit(rows[start : start + BLOCK]) @ chosen.T
        here = products.argmax(axis=1)
        place[start : start + BLOCK] = here
        similar[start : start + BLOCK] = products[np.arange(len(here)), here]
    return place, similar
