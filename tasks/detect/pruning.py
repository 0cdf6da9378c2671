"""Which rows a pruning takes: the cut in every cell, found without sorting or keeping the rows.

A cell is a (given label, other class) pair; its rows are those of the label, ranked by margin, the
probability of the class minus that of the label, and the first so many are pruned. Only what may still
be among the first is kept, as 64-bit integers that sort by cell and falling margin: one integer a label
to prune, not one a row and class. A margin above CLEAR is never that of a row whose label is its
likeliest class, so cells with enough clear margins look at no such row.

Rows whose margins are equal at the cut: NumPy's default sort of the class's margins decides, as it does
in cleanlab. That order is not stable and follows NumPy's build and the processor, so those cells are
ranked again, whole.
"""

from __future__ import annotations

import numpy as np

CLEAR = 2e-6
"""A label within 1e-6 of the likeliest class is never flagged; this leaves float32 room to round."""

WAITING = 1 << 19
"""Contenders that wait for the next sort: 4 MiB."""

_SIGN = np.uint32(1 << 31)


def margin_keys(cells: np.ndarray, margins: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """(m,) uint64 that sort by cell, falling margin, and rows that disagree with their label first.

    cells: (m,) below 2**31. margins: (m,) float32.
    """
    bits = (margins + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0: equal margins, equal bits
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    high = cells.astype(np.uint64) << np.uint64(33)
    return high | (falling.astype(np.uint64) << np.uint64(1)) | agrees.astype(np.uint64)


def key_margins(keys: np.ndarray) -> np.ndarray:
    """The margins (m,) float32 that `margin_keys` was given."""
    falling = (keys >> np.uint64(1)).astype(np.uint32)
    return np.where(falling & _SIGN, falling, ~falling & ~_SIGN).view(np.float32)


class Bounds:
    """What margins must reach, cell by cell; nothing reaches where there is no cell.

    cells: (c,) int64 ascending, label * k + class. values: (c,) float32.
    """

    def __init__(self, k: int, cells: np.ndarray, values: np.ndarray) -> None:
        self.k, self.cells, self.values = k, cells, values.astype(np.float32)
        self.starts = np.searchsorted(cells, np.arange(k + 1) * k)
        self._other = cells % k
        # Where most cells are used a whole row is compared faster than its cells are looked up.
        self._table = self._number = None
        if 8 * len(cells) > k * k:
            self._table = np.full((k, k), np.inf, dtype=np.float32)
            self._number = np.zeros(k * k, dtype=np.int32)
            self._table.reshape(-1)[cells], self._number[cells] = values, np.arange(len(cells))

    def raise_to(self, numbers: np.ndarray, values: np.ndarray) -> None:
        """Other values for some cells, which are named by their places in `cells`."""
        self.values[numbers] = values
        if self._table is not None:
            self._table.reshape(-1)[self.cells[numbers]] = values

    def pairs(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every row once for each cell of its label: rows and cells (m,), by their places."""
        times, start = np.diff(self.starts)[labels], self.starts[labels]
        rows = np.repeat(np.arange(len(labels)), times)
        return rows, np.arange(len(rows)) + np.repeat(start - np.cumsum(times) + times, times)

    def reached(
        self, rows: np.ndarray, labels: np.ndarray, pred_probs: np.ndarray, given: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where margins reach their bound, among some rows of a block: rows and cells (m,), by their places,
        and margins (m,) float32."""
        if self._table is None or self._number is None:
            pair, number = self.pairs(labels[rows])
            row = rows[pair]
            margins = pred_probs[row, self._other[number]] - given[row]
            found = np.flatnonzero(margins >= self.values[number])
            return row[found], number[found], margins[found]
        margins, chosen = pred_probs[rows], labels[rows]
        margins -= given[rows, None]
        found = np.flatnonzero(margins >= self._table[chosen])
        line = found // self.k
        number = self._number[chosen[line] * self.k + found - line * self.k]
        return rows[line], number, margins.ravel()[found]


class Leaders:
    """The first `wanted` margins of every cell, and one more, which tells whether the cut splits equals.

    cells: (c,) int64 ascending, label * k + class. wanted: (c,) at least 1. lowest: (c,) float32, what
    margins must reach to be looked at. `bounds` only rise as rows come in.
    """

    def __init__(self, k: int, cells: np.ndarray, wanted: np.ndarray, lowest: np.ndarray) -> None:
        self.wanted = wanted
        self.bounds = Bounds(k, cells, lowest)
        self._kept = np.zeros(0, dtype=np.uint64)
        self._waiting: list[np.ndarray] = []

    def contenders(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        pred_probs: np.ndarray,
        given: np.ndarray,
        agrees: np.ndarray,
    ) -> np.ndarray:
        """Keys of the margins that may be among the first, of some rows of a block; any thread may ask."""
        row, number, margins = self.bounds.reached(rows, labels, pred_probs, given)
        return margin_keys(number, margins, agrees[row])

    def add(self, keys: np.ndarray) -> None:
        self._waiting.append(keys)
        if sum(map(len, self._waiting)) > WAITING + len(self._kept):
            self._sort()

    def _sort(self) -> None:
        keys = np.concatenate([self._kept, *self._waiting])
        self._waiting.clear()
        keys.sort()
        number, starts, sizes = runs(keys)
        wanted = self.wanted[number]
        full = sizes >= wanted
        self.bounds.raise_to(number[full], key_margins(keys[(starts + wanted - 1)[full]]))
        taken = np.minimum(sizes, wanted + 1)
        first = np.repeat(starts - np.cumsum(taken) + taken, taken)
        first += np.arange(len(first))
        self._kept = keys[first]

    def cuts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The margin of the last row wanted of each cell, (c,) float32, -inf where fewer came; which
        cells (c,) bool got all they want; and in which of them rows that disagree with their label are
        equal at the cut and not all wanted, (c,) bool: there the cut does not say which."""
        self._sort()
        number, starts, sizes = runs(self._kept)
        cut = np.full(len(self.wanted), -np.inf, dtype=np.float32)
        full, split = np.zeros((2, len(cut)), dtype=bool)
        full[number] = sizes >= self.wanted[number]
        enough = full[number]
        cut[number[enough]] = key_margins(self._kept[starts[enough] + self.wanted[number[enough]] - 1])
        more = sizes > self.wanted[number]
        above = starts[more] + self.wanted[number[more]] - 1
        # Equals sort together, those that disagree first: the first of them says whether any does.
        equals = self._kept >> np.uint64(1)
        first = np.searchsorted(equals, equals[above])
        split[number[more]] = (equals[above] == equals[above + 1]) & ((self._kept[first] & np.uint64(1)) == 0)
        return cut, full, split


def first_bounds(cells: np.ndarray, wanted: np.ndarray, at: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """What the first `wanted` margins of each cell (c,) reach at least: the margins (m,) float32 of rows for
    their likeliest class, which cell `at` (m,) int64 is of, say so; at least CLEAR: (c,) float32."""
    lowest = np.full(len(cells), np.nextafter(np.float32(CLEAR), np.float32(1)))
    number = np.searchsorted(cells, at)
    used = np.flatnonzero(cells[np.minimum(number, len(cells) - 1)] == at) if len(cells) else number[:0]
    keys = np.sort(margin_keys(number[used], margins[used], np.zeros(len(used), dtype=bool)))
    number, starts, sizes = runs(keys)
    full = sizes >= wanted[number]
    reached = key_margins(keys[starts[full] + wanted[number[full]] - 1])
    lowest[number[full]] = np.maximum(lowest[number[full]], reached)
    return lowest


def runs(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells that sorted keys are of, and where each one's keys start and how many they are."""
    cells = keys >> np.uint64(33)
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), dtype=bool), cells[1:] != cells[:-1]]))
    return cells[starts].astype(np.int64), starts, np.diff(starts, append=len(keys))


class TiedMargins:
    """All margins of some cells, each cell's in row order: what NumPy must sort to settle ties.

    cells: (t,) int64 ascending. starts: (k + 1,), where each class starts among the rows class by class.
    """

    def __init__(self, cells: np.ndarray, starts: np.ndarray) -> None:
        k, sizes = len(starts) - 1, np.diff(starts)
        self._bounds = Bounds(k, cells, np.full(len(cells), -np.inf))
        self._ends = np.concatenate([[0], np.cumsum(sizes[cells // k])])
        self._margins = np.empty(self._ends[-1], dtype=np.float32)
        self._seen = np.zeros(k, dtype=np.int64)

    def add(self, labels: np.ndarray, pred_probs: np.ndarray, given: np.ndarray) -> None:
        """The next rows."""
        order, found = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=len(self._seen))
        rank = np.empty(len(labels), dtype=np.int64)
        rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(found) - found, found)
        rank += self._seen[labels]
        self._seen += found
        row, number, margins = self._bounds.reached(np.arange(len(labels)), labels, pred_probs, given)
        self._margins[self._ends[number] + rank[row]] = margins

    def pruned(self, number: int, wanted: int) -> np.ndarray:
        """Ranks, within their class, of the rows of cell `number` that are equal at the cut and pruned."""
        return split_equals(-self._margins[self._ends[number] : self._ends[number + 1]], wanted)


def split_equals(values: np.ndarray, wanted: int) -> np.ndarray:
    """Places of the values equal to the `wanted`-th smallest that NumPy's default sort puts among the
    first `wanted`: values (n,) float32, wanted at least 1."""
    first: np.ndarray = np.argsort(values)[:wanted]
    equals: np.ndarray = first[values[first] == values[first[-1]]]
    return equals


def smallest(values: np.ndarray, wanted: int) -> tuple[float, np.ndarray]:
    """What the `wanted` smallest of values (n,) float32 are below, and the places of those that are not
    below it and belong to them all the same: some of those equal to it, as NumPy's default sort has it."""
    none = np.zeros(0, dtype=np.int64)
    if wanted <= 0:
        return -np.inf, none
    if wanted >= len(values):
        return np.inf, none
    cut = np.partition(values, wanted - 1)[wanted - 1]
    if np.count_nonzero(values <= cut) == wanted:
        return float(np.nextafter(cut, np.float32(np.inf))), none
    return float(cut), split_equals(values, wanted)
