"""k-center greedy, exactly, without measuring most distances.

Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985: from a first centre, always add
the row farthest from the centres so far. Its covering radius is at most twice the smallest one.

Textbook code measures every row against every new centre, a matrix-vector product a pick. Two
observations spare that:

- A row's distance to the nearest centre only falls, so what was measured last bounds it from above, and as
  long as a row of known distance beats the bounds of all others they need not be measured (the lazy
  evaluation of Minoux, 1978). Rows near a centre are never looked at again; the others catch up with
  many centres at once, which makes a matrix product of as many matrix-vector ones.
- The products are float32 and only *screen*: what they cannot rule out, given the largest error that
  rounding can have made (Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1,
  sums in any order), is measured as a sum of float64 squares. So the picks are those of the float64
  algorithm and depend neither on blocks nor on the linear algebra library and its threads.

Cost: at most n d m multiplications as matrix products, mostly a fraction. Memory: some 30 bytes a row, and
POOL rows, beside the input. Knows nothing of winnow.
"""

from __future__ import annotations

import numpy as np

POOL, CHUNK = 2048, 256
"""Rows that compete for the next centres, and how many of them meet the centres they missed at once."""

MEASURED_ROWS = 4096
CENTRE = -1.0


def farthest_first(rows: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """min(m, n) different row numbers of (n, d) float32, n > 0, in the order picked, int64; and how far
    each was from those before it, float64, inf for the first.

    The first is the row nearest to the mean; ties go to the lower row.
    """
    middle = rows.mean(axis=0, dtype=np.float64)
    first = int(np.argmin(to_point(rows, middle)))
    cover = _Cover(rows, middle.astype(np.float32), min(m, len(rows)), first)
    radii = [np.inf]
    while cover.made < len(cover.centres):
        bar, rival = cover.enter()
        while cover.made < len(cover.centres):
            near = cover.near[cover.pool]
            place = int(np.argmax(near))
            if near[place] < bar or (near[place] == bar and rival < cover.pool[place]):
                break  # a row outside the pool may be farther
            radii.append(float(np.sqrt(near[place])))
            cover.add(int(cover.pool[place]))
            cover.meet(slice(None))
    return cover.centres, np.array(radii)


class _Cover:
    """near: float64 (n,), each row's squared distance to the nearest of the first `seen` centres, and CENTRE
    for a centre. pool: the rows that compete, ascending."""

    def __init__(self, rows: np.ndarray, middle: np.ndarray, m: int, first: int) -> None:
        n, d = rows.shape
        self.rows, self.middle = rows, middle
        self.near = to_point(rows, rows[first].astype(np.float64))
        self.seen = np.ones(n, np.int32)
        self.pool = np.arange(n)
        self.centres, self.made = np.zeros(m, np.int64), 0
        # About the mean the numbers are small, and with them the errors of the screen.
        self.shifted, self.norms = np.empty((m, d), np.float32), np.empty(m, np.float32)
        # d roundings of 2^-24 in each of the products and norms, and some in what is done with them.
        self.error, self.least_error = (d + 8) * 2.0**-23, (d + 8) * float(np.finfo(np.float32).tiny)
        self.add(first)

    def add(self, row: int) -> None:
        """Make a row a centre."""
        self.centres[self.made] = row
        self.shifted[self.made] = self.rows[row] - self.middle
        self.norms[self.made] = np.square(self.shifted[self.made]).sum()
        self.near[row] = CENTRE
        self.made += 1

    def enter(self) -> tuple[float, int]:
        """Make the rows of the greatest bounds the pool, know their distances, and return the greatest
        bound outside with the lowest row that has it."""
        inside, bar, rival = leading(self.near)
        self.pool = np.flatnonzero(inside)
        self.pool_shifted = self.rows[self.pool] - self.middle
        self.pool_norms = np.square(self.pool_shifted).sum(axis=1)
        order = np.argsort(self.seen[self.pool], kind="stable")
        for start in range(0, len(order), CHUNK):
            self.meet(order[start : start + CHUNK])
        return bar, rival

    def meet(self, places: np.ndarray | slice) -> None:
        """Let the rows at `places` of the pool know the centres that they have missed."""
        mine = self.pool[places]
        seen = self.seen[mine]
        new = np.arange(seen.min(), self.made)
        if not len(new):
            return
        norms = self.pool_norms[places][:, None] + self.norms[new]
        screened = norms - 2 * (self.pool_shifted[places] @ self.shifted[new].T)
        error = self.error * norms.max(axis=1) + self.least_error
        missed = (new >= seen[:, None]) & (self.near[mine, None] > 0)
        least = np.where(missed, screened, np.inf).min(axis=1) + error
        at_most = np.minimum(least, self.near[mine]) + error
        # "Not above" and not "at most": what overflowed float32 is NaN and was not ruled out.
        row, column = np.nonzero(missed & ~(screened > at_most[:, None]))
        measured = between(self.rows, mine[row], self.centres[new[column]])
        np.minimum.at(self.near, mine[row], measured)
        self.seen[mine] = self.made


def leading(near: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The POOL greatest of (n,) float64, the lower place in ties, as a mask; then the greatest of the rest
    and its lowest place, -inf and n where there is none."""
    n = len(near)
    if n <= POOL:
        return np.ones(n, bool), -np.inf, n
    least = np.partition(near, n - POOL)[n - POOL]
    inside = near > least
    level = np.flatnonzero(near == least)
    room = POOL - np.count_nonzero(inside)
    inside[level[:room]] = True
    rest = np.where(inside, -np.inf, near)
    rival = int(np.argmax(rest))
    return inside, float(rest[rival]), rival


def to_point(rows: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Squared distances of (n, d) float32 to (d,) float64: float64 (n,)."""
    runs = (rows[start : start + MEASURED_ROWS] for start in range(0, len(rows), MEASURED_ROWS))
    return np.concatenate([np.square(run - point).sum(axis=1) for run in runs])


def between(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances of pairs of rows, int64 (p,) each: float64 (p,)."""
    found = np.empty(len(first))
    for start in range(0, len(first), MEASURED_ROWS):
        run = slice(start, start + MEASURED_ROWS)
        found[run] = np.square(rows[first[run]] - rows[second[run]].astype(np.float64)).sum(axis=1)
    return found
