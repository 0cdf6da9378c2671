"""The rows of a window that a small set is drawn from, by class, and how they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import Store, TableRef
from tasks.data import TRUSTED, Examples, ints_or_minus_one
from tasks.report.student import held_out
from tasks.stages.base import Job
from tasks.stages.dynamics import dynamics_of
from tasks.stages.reading import COLUMNS, KEYS, from_rows, picked

BLOCK_VALUES = 1 << 28
"""Numbers of a payload that are read at once, unless one class alone has more."""

VECTOR_VALUES = 1 << 12
"""So many are counted for a payload that is no picture."""

_reading = Lock()
_ahead: dict[tuple[str, int], Examples] = {}


@dataclass(frozen=True)
class Trusted:
    """The window's rows without payloads, and (n,) int32 their decided labels: -1 where one cannot be relied
    on or learned from, or where the curation's trial judges by the row."""

    rows: Examples
    labels: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """The rows by class, and in a class as they come."""
        return np.argsort(self.labels, kind="stable")

    @cached_property
    def classes(self) -> list[int]:
        """The classes that have a row, ascending."""
        return [int(label) for label in np.unique(self.labels) if label >= 0]

    def places(self, label: int) -> np.ndarray:
        """Where in the window the rows of a class stand, (m,) int64."""
        first, stop = np.searchsorted(self.labels[self.order], [label, label + 1])
        return self.order[first:stop]


def trusted(job: Job) -> Trusted:
    inputs = job.inputs["rows"], job.inputs["labels"]
    return read_trusted(job.store.root, job.store.dataset, *inputs, job.curation.trial is not None)


@lru_cache(maxsize=2)
def read_trusted(
    root: str, dataset: str, rows: tuple[TableRef, ...], labels: tuple[TableRef, ...], on_trial: bool
) -> Trusted:
    store = Store(root, dataset)
    window = from_rows(store.read(rows, [*KEYS, "label"]), None, 0)
    decided = store.read(labels, ["label", "action"])
    assert window.trains is not None
    keep = pc.is_in(decided["action"], pa.array(TRUSTED)).to_numpy() & window.trains
    if on_trial:
        keep &= ~held_out(window.keys)
    return Trusted(window, np.where(keep, ints_or_minus_one(decided["label"]), -1).astype(np.int32))


def rows_of(job: Job, label: int, ahead: Iterable[int], reads: Collection[str]) -> Examples:
    """The trusted rows of a class with those payloads of `reads`, under their decided labels.

    A window is stored by day and not by class, so that reading one class is reading through all: the
    classes of `ahead` are read along, as far as memory goes, and kept until they are asked for.
    """
    with _reading:
        if (job.fingerprint, label) not in _ahead:
            for key in [key for key in _ahead if key[0] != job.fingerprint]:
                del _ahead[key]
            for found, rows in read_classes(job, label, ahead, reads).items():
                _ahead[job.fingerprint, found] = rows
        return _ahead.pop((job.fingerprint, label))


def read_classes(job: Job, label: int, ahead: Iterable[int], reads: Collection[str]) -> dict[int, Examples]:
    """A class and as many more as fit in."""
    known = trusted(job)
    size = int(np.prod(job.curation.source.shape or VECTOR_VALUES))
    places, left = {label: known.places(label)}, BLOCK_VALUES - size * len(known.places(label))
    for other in ahead:
        left -= size * len(known.places(other))
        if left < 0:
            break
        places[other] = known.places(other)
    rows = decided(job, np.concatenate(list(places.values())), reads)
    found, stop = {}, 0
    for each, mine in places.items():
        start, stop = stop, stop + len(mine)
        found[each] = rows.take(np.arange(start, stop))
    return found


def decided(job: Job, places: np.ndarray, reads: Collection[str]) -> Examples:
    """The rows at some places of the window, in that order, with those payloads of `reads`, under their
    decided labels."""
    rows = picked(job, job.inputs["rows"], places, [read for read in reads if read in COLUMNS])
    rows = replace(rows, labels=trusted(job).labels[places])
    if "dynamics" in reads:  # of a row that was relabelled none: networks learned another label
        rows = replace(rows, dynamics=dynamics_of(job, rows))
    return rows
