"""A partition and the few before it, as `tasks.report.comparison` looks at them: read in bounded pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import TableRef
from tasks.data import ints_or_minus_one, keys_of
from tasks.report import Figure
from tasks.report.comparison import (
    NIGHTS,
    OF_ONE_CLASS,
    Sample,
    Side,
    figures,
    missing_partitions,
    sampled,
)
from tasks.seeds import seed_of
from tasks.stages.base import Job
from tasks.stages.reading import vectors


def earlier_rows(job: Job) -> tuple[TableRef, ...]:
    """The partitions to compare with: the window's last ones before the partition itself. A window of one
    partition has none, so that partitions which are to know nothing of each other go on to."""
    return job.inputs["rows"][:-1][-NIGHTS:]


def comparison(job: Job) -> list[Figure]:
    """The figures that compare the partition with the ones before it, as rows of `metrics`."""
    earlier = earlier_rows(job)
    night = side(job, [job.own("rows")], None)
    width = None if night.sample.vectors is None else night.sample.vectors.shape[1]
    seed = seed_of(job.curation.dataset, job.partition, "comparison")
    found = missing_partitions(job.partition, [ref.partition for ref in earlier])
    found += figures(night, side(job, earlier, width), max(len(job.classes), 1), seed, job.device)
    if job.curation.task != "single_label":
        found = [figure for figure in found if figure.name not in OF_ONE_CLASS]
    return found


def side(job: Job, refs: Sequence[TableRef], width: int | None) -> Side:
    """The rows of some partitions. width: how long vectors are to be, any length when None."""
    rows = job.store.read(list(refs), ["content_hash", "label", "split"])
    keys, labels = keys_of(rows["content_hash"]), ints_or_minus_one(rows["label"])
    trains = pc.equal(rows["split"], "train").to_numpy()
    chosen = sampled(keys)
    arrays = read_vectors(job, refs, chosen)
    if arrays is not None and width is not None and arrays.shape[1] != width:
        arrays = None  # an encoder of another size made them: nothing to compare
    return Side(keys, labels, trains, Sample(labels[chosen], trains[chosen], arrays))


def read_vectors(job: Job, refs: Sequence[TableRef], chosen: np.ndarray) -> np.ndarray | None:
    """What the student reads of the chosen rows, in that order; None where rows have no vectors, or
    vectors of several lengths. A row group at a time, so that no whole night is held."""
    source = job.curation.source
    column = "embedding" if job.curation.ingest.encoder else source.payload
    if column in (None, "text") or not len(chosen):
        return None
    order = np.argsort(chosen, kind="stable")
    wanted, taken, start = chosen[order], [], 0
    for batch in job.store.batches(list(refs), [column]):
        first, last = np.searchsorted(wanted, (start, start + batch.num_rows))
        taken.append(pa.table(batch).take(pa.array(wanted[first:last] - start)))
        start += batch.num_rows
    pieces = [as_vectors(piece[column], source.shape) for piece in taken if piece.num_rows]
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces) or len({piece.shape[1] for piece in known}) > 1:
        return None
    arrays = np.concatenate(known)
    found = np.empty_like(arrays)
    found[order] = arrays
    return found


def as_vectors(column: pa.ChunkedArray, shape: tuple[int, int, int] | None) -> np.ndarray | None:
    """Pictures as flat pixels, lists of numbers as they are: (n, d)."""
    n = len(column)
    if not pa.types.is_binary(column.type):
        return vectors(column, n)
    from tasks.ingest.images import decode

    assert shape is not None
    return np.asarray(decode(column.combine_chunks(), shape)[0].reshape(n, -1))
