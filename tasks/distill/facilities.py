"""Facility location: the rows to which all rows are most similar, by exact lazy greedy.

F(S) = sum over all rows i of the greatest similarity max(<e_i, e_j>, 0) to a row j of S, over rows of
length one. F is monotone and submodular, so adding the row of the largest gain each time reaches at
least 1 - 1/e of the best F of any set of that size (Nemhauser, Wolsey & Fisher, 1978), at every size.

A gain only falls as S grows, so one computed earlier bounds it from above and most rows are not looked at
again (Minoux, "Accelerated greedy algorithms", 1978). That holds to the last bit here: subtraction and
addition round monotonically, and every gain sums the same numbers in the same order, so a gain computed
anew cannot exceed an earlier one, and the picks are those of computing all gains at every step.

Cost: n^2 d / 2 multiplications for the first bounds; then, for each gain computed anew, n d, or n where
the similarities are kept. Memory: up to KEPT_ROWS rows their similarities (256 MiB), else BATCH * n. The
linear algebra library must be held to one thread. Knows nothing of winnow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

KEPT_ROWS = 8192
BATCH = 64
"""Rows whose gains are computed at once."""

BLOCK = 1024
"""Similarities are summed in float32 within a block, and blocks in float64."""


def greedy(rows: np.ndarray, keep: bool = True) -> Iterator[tuple[int, float]]:
    """Each row of (n, d) float32, of length one or zero, with its gain, in greedy order; ties go to the
    lower row. keep: whether similarities may be kept from pick to pick."""
    n = len(rows)
    kept = rows @ rows.T if keep and n <= KEPT_ROWS else None
    best = np.zeros(n, np.float32)
    if kept is None:
        bounds, known_at = first_bounds(rows), np.full(n, -1)
    else:
        bounds, known_at = gains(kept, np.arange(n), best), np.zeros(n, np.int64)
    for made in range(n):
        while True:
            top = leading(bounds, BATCH)
            if known_at[top[0]] == made or bounds[top[0]] == 0:
                break
            stale = top[known_at[top] < made]
            if kept is None:
                bounds[stale] = gains(similarities(rows, stale), np.arange(len(stale)), best)
            else:
                bounds[stale] = gains(kept, stale, best)
            known_at[stale] = made
        pick = int(top[0])
        yield pick, float(bounds[pick])
        np.maximum(best, similarities(rows, top[:1])[0] if kept is None else kept[pick], out=best)
        bounds[pick], known_at[pick] = -np.inf, n


def leading(bounds: np.ndarray, m: int) -> np.ndarray:
    """The places of the m greatest of (n,) float64, the greatest first and the lower place in ties."""
    m = min(m, len(bounds))
    least = np.partition(bounds, -m)[-m]
    above = np.flatnonzero(bounds > least)
    level = np.flatnonzero(bounds == least)[: m - len(above)]
    return np.concatenate([above[np.argsort(-bounds[above], kind="stable")], level])


def similarities(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Inner products of at most BATCH rows with all: float32 (b, n), the same whichever are asked for."""
    filled = np.zeros((BATCH, rows.shape[1]), np.float32)  # a library may order its sums by the shape
    filled[: len(places)] = rows[places]
    return np.asarray((filled @ rows.T)[: len(places)])


def gains(similar: np.ndarray, places: np.ndarray, best: np.ndarray) -> np.ndarray:
    """How much the rows at `places` of similar (m, n) float32 would add to F, given best (n,) float32:
    float64 (b,)."""
    total = np.zeros(len(places))
    for first in range(0, len(places), BATCH):
        some = places[first : first + BATCH]
        for start in range(0, len(best), BLOCK):
            more = similar[some, start : start + BLOCK]
            more -= best[start : start + BLOCK]
            total[first : first + BATCH] += np.maximum(more, 0, out=more).sum(axis=1)
    return total


def first_bounds(rows: np.ndarray) -> np.ndarray:
    """At least each row's gain when nothing is picked: (n, d) float32 -> float64 (n,)."""
    n, d = rows.shape
    total = np.zeros(n)
    for start in range(0, n, BLOCK):
        one = rows[start : start + BLOCK]
        for other in range(start, n, BLOCK):
            similar = one @ rows[other : other + BLOCK].T
            np.maximum(similar, 0, out=similar)
            total[start : start + BLOCK] += similar.sum(axis=1)
            if other > start:
                total[other : other + BLOCK] += similar.sum(axis=0)
    # Products and sums are rounded in another order than in `gains`: add all that it can come to.
    return np.asarray((total + n * (d + 2) * 2.0**-23) * (1 + BLOCK * 2.0**-23))
