"""How stages read tables as arrays: the one place where columns become `Examples` and `SoftLabels`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import Store, TableRef
from tasks.data import Examples, SoftLabels, ints_or_minus_one, keys_of, lists_to_array
from tasks.errors import StageFailed
from tasks.stages.base import Job

Shape = tuple[int, int, int] | None
_loading = Lock()


def examples(job: Job, refs: Sequence[TableRef], span: tuple[int, int] | None = None) -> Examples:
    """Rows of the `rows` table with whatever payload they have. Whole windows are kept in memory
    for the stage's other tasks, since every fold of every teacher learns from the same one."""
    store, shape = job.store, job.curation.source.shape
    if span is not None:
        return from_rows(store.read(list(refs), None, span), shape)
    with _loading:
        return whole(store.root, store.dataset, tuple(refs), shape)


@lru_cache(maxsize=2)
def whole(root: str, dataset: str, refs: tuple[TableRef, ...], shape: Shape) -> Examples:
    store = Store(root, dataset)
    return Examples.concat([from_rows(store.read([ref]), shape) for ref in refs])


def from_rows(rows: pa.Table, shape: Shape) -> Examples:
    """Arrays of a slice of `rows`; pictures are decoded to uint8 (n, h, w, c)."""
    n = rows.num_rows
    images = None
    if shape is not None:
        from tasks.ingest.images import decode

        images, ok, _, problems = decode(rows["image"].combine_chunks(), shape)
        if not ok.all():
            bad = int(np.argmin(ok))
            raise StageFailed(
                f"the picture of row {rows['id'][bad]} no longer decodes ({problems[bad]}); ingest again"
            )
    return Examples(
        ids=rows["id"].to_numpy(),
        keys=keys_of(rows["content_hash"]),
        labels=ints_or_minus_one(rows["label"]),
        images=images,
        features=vectors(rows["features"], n),
        embedding=vectors(rows["embedding"], n),
        trains=pc.equal(rows["split"], "train").to_numpy(),
    )


def vectors(column: pa.ChunkedArray, n: int) -> np.ndarray | None:
    """A list column as (n, d) float32, or None where it is not used."""
    if n and column.null_count:
        return None
    return lists_to_array(column, n, np.float32)


def opinion(job: Job, soft: TableRef, rows: TableRef, teacher: str | None = None) -> SoftLabels:
    """One teacher's soft labels of a whole partition (default: the ensemble's), in row order."""
    teach = job.curation.teach
    assert teach is not None
    with _loading:
        return read_opinion(
            job.store.root, job.store.dataset, soft, rows, teacher or teach.ensemble, len(job.classes)
        )


@lru_cache(maxsize=8)
def read_opinion(
    root: str, dataset: str, soft: TableRef, rows: TableRef, teacher: str, n_classes: int
) -> SoftLabels:
    store = Store(root, dataset)
    table = store.read([soft])
    table = table.filter(pc.equal(table["teacher"], teacher))
    given = store.read([rows], ["id", "label"])
    if not table["id"].equals(given["id"]):
        raise StageFailed(f"soft_labels of {rows.partition} do not belong to its rows; run teach again")
    return SoftLabels.from_arrow(table, ints_or_minus_one(given["label"]), n_classes)


def opinions(job: Job) -> Iterator[SoftLabels]:
    """The ensemble's soft labels over the window, a partition at a time."""
    for soft, rows in zip(job.inputs["soft_labels"], job.inputs["rows"], strict=True):
        yield opinion(job, soft, rows)
