"""Whom views are mixed with: rows of the same partition, wherever in it they stand.

A release is read from front to back, and partners are not to be had that way. So the pieces of a partition
whose views are mixed are kept in memory once they were read, up to a number of bytes, and then the one
that was asked for longest ago goes. What fits is read once more in each process; a partition that does
not fit is read once more for each of its pieces.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.release.views import RECORD, records_of

KEPT_BYTES = 256 << 20
DRAWS = 1 << 15
"""More than any draw's number."""


@dataclass(frozen=True)
class Shelf:
    """The rows of a piece that have views, and what redraws them.

    ids: n of them. inputs: (n,) or (n, d). codes: (m,) int64, ascending: a view's row times DRAWS plus its
    draw. records, there: (m,), see `tasks.release.views`.
    """

    ids: pa.Array
    inputs: np.ndarray
    codes: np.ndarray
    records: np.ndarray
    there: np.ndarray

    @property
    def nbytes(self) -> int:
        """About what it takes."""
        files = sum(map(len, self.inputs)) if self.inputs.dtype == object else self.inputs.nbytes
        return int(files + self.ids.nbytes + self.codes.nbytes + self.records.nbytes + self.there.nbytes)


class Shelves:
    """Shelves as they were made, while they fit."""

    def __init__(self) -> None:
        self._shelves: OrderedDict[tuple[str, int], Shelf] = OrderedDict()
        self._bytes = 0

    def __reduce__(self) -> tuple[type[Shelves], tuple[()]]:
        return Shelves, ()  # another process fills its own

    def get(self, key: tuple[str, int], make: Callable[[], Shelf]) -> Shelf:
        """The shelf of that name, made if it is not at hand."""
        if key not in self._shelves:
            self._shelves[key] = make()
            self._bytes += self._shelves[key].nbytes
            while self._bytes > KEPT_BYTES and len(self._shelves) > 1:
                _, gone = self._shelves.popitem(last=False)
                self._bytes -= gone.nbytes
        self._shelves.move_to_end(key)
        return self._shelves[key]


def shelf_of(inputs: np.ndarray, kept: pa.Array, views: pa.Table) -> Shelf:
    """inputs: the payloads of the kept rows; views: their `id`, `draw` and `transform`, in their order."""
    rows = pc.index_in(views["id"].combine_chunks(), kept).to_numpy().astype(np.int64)
    records, there = records_of(views["transform"].combine_chunks())
    return Shelf(kept, inputs, rows * DRAWS + views["draw"].to_numpy(), records, there)


def find(
    names: pa.Array, draws: np.ndarray, like: np.ndarray, shelves: Iterable[Shelf]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The partners' payloads, records and fields, and which were found (w,) bool.

    names: (w,) ids; draws: (w,), which of their views; like: an array of payloads such as theirs. Looks on
    through the shelves until all were found.
    """
    w = len(names)
    inputs, found = np.zeros((w, *like.shape[1:]), like.dtype), np.zeros(w, bool)
    records, there = np.zeros(w, RECORD), np.zeros(w, np.int64)
    for shelf in shelves:
        place = pc.index_in(names, shelf.ids).fill_null(-1).to_numpy().astype(np.int64)
        here = np.flatnonzero(place >= 0)
        wanted = place[here] * DRAWS + draws[here]
        at = np.minimum(np.searchsorted(shelf.codes, wanted), max(len(shelf.codes) - 1, 0))
        stored = shelf.codes[at] == wanted if len(shelf.codes) else np.zeros(len(here), bool)
        here, at = here[stored], at[stored]
        inputs[here], found[here] = shelf.inputs[place[here]], True
        records[here], there[here] = shelf.records[at], shelf.there[at]
        if found.all():
            break
    return inputs, records, there, found
