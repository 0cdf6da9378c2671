"""How stages read tables as arrays: the one place where columns become `Examples` and `SoftLabels`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import Store, TableRef
from tasks.data import (
    Annotations,
    Examples,
    Labelled,
    SoftLabels,
    ints_or_minus_one,
    keys_of,
    lists_to_array,
)
from tasks.errors import StageFailed
from tasks.given import labels_of, sets_to_array
from tasks.stages.base import Job
from tasks.stages.dynamics import dynamics_of

Shape = tuple[int, int, int] | None

KEYS = ("id", "content_hash", "split")
GIVEN = {"single_label": "label", "multi_label": "labels", "regression": "target"}
"""The column of what a row is given, by task."""
COLUMNS = {
    "images": "image",
    "features": "features",
    "embedding": "embedding",
    "annotations": "annotations",
}
"""The column of each payload, as methods' `reads` calls it."""

RUN_ROWS, RUN_NUMBERS = 1 << 16, 1 << 23

_loading = Lock()


def examples(
    job: Job, refs: Sequence[TableRef], reads: Collection[str], span: tuple[int, int] | None = None
) -> Examples:
    """Rows of the `rows` table with those payloads of `reads` that they have: "images", "features",
    "embedding", "annotations"; others are neither read nor decoded. Whole windows are kept in memory for
    the stage's other tasks, since every fold of every teacher learns from the same one."""
    store, shape, columns, k = job.store, job.curation.source.shape, columns_of(job, reads), len(job.classes)
    if span is not None:
        return from_rows(store.read(list(refs), list(columns), span), shape, k)
    with _loading:
        return whole(store.root, store.dataset, tuple(refs), columns, shape, k)


@lru_cache(maxsize=2)
def whole(
    root: str, dataset: str, refs: tuple[TableRef, ...], columns: tuple[str, ...], shape: Shape, k: int
) -> Examples:
    store = Store(root, dataset)
    return Examples.concat([from_rows(store.read([ref], list(columns)), shape, k) for ref in refs])


def picked(job: Job, refs: Sequence[TableRef], places: np.ndarray, reads: Collection[str]) -> Examples:
    """The rows at some places of a window, in that order."""
    rows = picked_columns(job, refs, places, columns_of(job, reads))
    return from_rows(rows, job.curation.source.shape, len(job.classes))


def picked_columns(
    job: Job, refs: Sequence[TableRef], places: np.ndarray, columns: Sequence[str]
) -> pa.Table:
    """The same as they are stored. Only the row groups that hold one are kept in memory, one at a time."""
    found, before = [], 0
    order = np.argsort(places, kind="stable")
    wanted = places[order]
    for ref in refs:
        here = wanted[(wanted >= before) & (wanted < before + ref.rows)] - before
        if len(here):
            start = 0
            for batch in job.store.batches(ref, list(columns)):
                mine = here[(here >= start) & (here < start + batch.num_rows)] - start
                found.append(pa.Table.from_batches([batch]).take(mine))
                start += batch.num_rows
        before += ref.rows
    return pa.concat_tables(found).take(np.argsort(order, kind="stable"))


def columns_of(job: Job, reads: Collection[str]) -> tuple[str, ...]:
    given = GIVEN[job.curation.task]
    return (*KEYS, given, *sorted(COLUMNS[payload] for payload in reads if payload in COLUMNS))


def given_of(rows: pa.Table, k: int) -> tuple[np.ndarray, np.ndarray | None]:
    """`labels` and `given` of Examples, from whichever column of GIVEN is there."""
    if "label" in rows.column_names:
        return ints_or_minus_one(rows["label"]), None
    if "labels" in rows.column_names:
        given = sets_to_array(rows["labels"], k)
    else:
        given = rows["target"].fill_null(np.nan).to_numpy()
    return labels_of(given), given


def from_rows(rows: pa.Table, shape: Shape, k: int) -> Examples:
    """Arrays of a slice of `rows`; pictures are decoded to uint8 (n, h, w, c). k: of how many classes."""
    n, given = rows.num_rows, set(rows.column_names)
    labels, of_task = given_of(rows, k)
    images = None
    if shape is not None and "image" in given:
        from tasks.ingest.images import decode

        images, ok, _, problems = decode(rows["image"].combine_chunks(), shape)
        if not ok.all():
            bad = int(np.argmin(ok))
            raise StageFailed(
                f"the picture of row {rows['id'][bad]} no longer decodes ({problems[bad]}); ingest again"
            )
    ids = rows["id"].to_numpy()
    return Examples(
        ids=ids,
        keys=keys_of(rows["content_hash"]),
        labels=labels,
        images=images,
        features=vectors(rows["features"], n) if "features" in given else None,
        embedding=vectors(rows["embedding"], n) if "embedding" in given else None,
        trains=pc.equal(rows["split"], "train").to_numpy(),
        annotations=Annotations.from_arrow(ids, rows["annotations"]) if "annotations" in given else None,
        given=of_task,
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
            job.store.root,
            job.store.dataset,
            soft,
            rows,
            teacher or teach.ensemble.kind,
            GIVEN[job.curation.task],
            len(job.classes),
        )


@lru_cache(maxsize=8)
def read_opinion(
    root: str, dataset: str, soft: TableRef, rows: TableRef, teacher: str, column: str, n_classes: int
) -> SoftLabels:
    store = Store(root, dataset)
    table = store.read([soft])
    names = table["teacher"]  # of a budgeted teacher, "budgeted:" and who of the two answered
    table = table.filter(pc.or_(pc.equal(names, teacher), pc.starts_with(names, f"{teacher}:")))
    given = store.read([rows], ["id", column])
    if not table["id"].equals(given["id"]):
        raise StageFailed(f"soft_labels of {rows.partition} do not belong to its rows; run teach again")
    return SoftLabels.from_arrow(table, given_of(given, n_classes)[0], n_classes)


def labelled(job: Job, number: int, reads: Collection[str], span: tuple[int, int]) -> Labelled:
    """A run of rows of the window's partition `number` (from 0), with those of a detector's `reads`."""
    rows_ref, soft_ref = job.inputs["rows"][number], job.inputs["soft_labels"][number]
    columns, k = list(columns_of(job, reads)), len(job.classes)
    rows = from_rows(job.store.read([rows_ref], columns, span), None, k)
    # The table holds the opinions on a row side by side, the ensemble's last.
    m = soft_ref.rows // max(rows_ref.rows, 1)
    said = job.store.read([soft_ref], None, (span[0] * m, span[1] * m))
    wanted = range(m) if "opinions" in reads else [m - 1] if m else []
    opinions = [
        SoftLabels.from_arrow(said.take(np.arange(i, said.num_rows, m)), rows.labels, k) for i in wanted
    ] or [SoftLabels.from_arrow(said, rows.labels, k)]
    if not np.array_equal(opinions[-1].ids, rows.ids):
        raise StageFailed(f"soft_labels of {rows_ref.partition} do not belong to its rows; run teach again")
    assert rows.trains is not None
    return Labelled(
        ids=rows.ids,
        keys=rows.keys,
        trains=rows.trains,
        soft=opinions[-1],
        opinions=tuple(opinions[:-1]),
        embedding=rows.embedding,
        dynamics=dynamics_of(job, rows) if "dynamics" in reads else None,
        annotations=rows.annotations,
        given=rows.given,
    )


def runs(n: int, n_classes: int) -> Iterator[tuple[int, int]]:
    """0..n in runs that a stage can hold in memory as dense probabilities."""
    step = max(1024, min(RUN_ROWS, RUN_NUMBERS // max(n_classes, 1)))
    return ((start, min(start + step, n)) for start in range(0, n, step))
