"""A release as whoever trains or exports reads it: its partitions, a run of rows at a time.

The rows of `labels` stand in the order of `rows`, one for one; `soft_labels` has a row's opinions side by
side, the ensemble's last; `reinforcements` has the views of each row that was not dropped. So a run of
rows is a run in each of these tables, and joining them takes no search. That they do belong together is
checked on every run that is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import releases
from storage.classes import vocabulary
from storage.store import Store, StoreError, TableRef
from tasks.config import Curation
from tasks.data import SoftLabels, ints_or_minus_one
from tasks.errors import BadInput
from tasks.targets import normalised

PIECE_ROWS = 1 << 14


@dataclass(frozen=True)
class Partition:
    """One partition at a release: the state of each table; None where the release has none of it."""

    name: str
    rows: TableRef
    tables: dict[str, TableRef]


@dataclass(frozen=True)
class Release:
    """A release that was opened. payload: the column of `rows` that a model looks at. shape: that of an
    image (height, width, channels), None where rows are no images."""

    store: Store
    about: releases.Release
    classes: tuple[str, ...]
    payload: str
    shape: tuple[int, int, int] | None
    partitions: tuple[Partition, ...]

    @property
    def number(self) -> int:
        return self.about.number

    def __str__(self) -> str:
        return f"release {self.number} of {self.store.dataset}"

    def refs(self, table: str) -> list[TableRef]:
        """The partitions of any table at this release; none where it has no such table."""
        return releases.refs_of(self.store, self.about, table)

    def pieces(self, partition: Partition) -> list[tuple[int, int]]:
        """A partition's rows in runs to read one at a time: row groups, and large ones in parts. A part
        costs what its whole group costs to read, 32 MiB at most; its pictures take longer to decode."""
        return [
            (begin, min(begin + PIECE_ROWS, stop))
            for start, stop in self.store.row_groups(partition.rows)
            for begin in range(start, stop, PIECE_ROWS)
        ]

    def need(self, table: str, stage: str, otherwise: str = "") -> None:
        """Raises BadInput unless every partition has that table."""
        for partition in self.partitions:
            if table not in partition.tables:
                raise BadInput(f"{self} has no {table} of {partition.name}; run {stage} on it{otherwise}")

    def read(
        self, partition: Partition, table: str, columns: Sequence[str], start: int, stop: int
    ) -> pa.Table:
        """A run of a partition's rows in `rows`, or in a table that has one row for each."""
        return self.store.read(partition.tables[table], list(columns), (start, stop))

    def soft_labels(self, partition: Partition, rows: pa.Table, start: int) -> np.ndarray:
        """The ensemble's probabilities of a run of rows (id, label) that begins at `start`, as float32
        (n, classes), each row summing to one. Raises StoreError where they are another partition's."""
        ref = partition.tables["soft_labels"]
        opinions = ref.rows // max(partition.rows.rows, 1)
        n = rows.num_rows
        said = self.store.read(ref, None, (start * opinions, (start + n) * opinions))
        said = said.take(np.arange(opinions - 1, said.num_rows, opinions))
        self.same(said["id"], rows["id"], "soft_labels", partition)
        labels = ints_or_minus_one(rows["label"])
        return normalised(SoftLabels.from_arrow(said, labels, len(self.classes)).pred_probs())

    def same(self, ids: pa.ChunkedArray, expected: pa.ChunkedArray, table: str, where: Partition) -> None:
        """Raises StoreError unless a table's rows are those that it was made from."""
        if not ids.equals(expected):
            raise StoreError(
                f"{self}: {table} of {where.name} do not belong to its rows; run the partition again"
            )


def open_release(curation: Curation, number: int | None = None) -> Release:
    """That release of a curation's store; by default the newest that readers get.

    Raises BadInput where there is none, or where its data is gone.
    """
    try:
        store = Store(curation.store, curation.dataset).open(create=False)
        about = releases.published(store) if number is None else releases.get(store, number)
    except StoreError as error:
        raise BadInput(str(error)) from None
    if about is None:
        raise BadInput(f"{store.dataset} has no published release; `winnow run` makes one")
    if curation.task != "single_label":
        raise BadInput(
            f"{curation.dataset} is of task {curation.task}; only single_label is read here so far"
        )
    payload = curation.source.payload
    if payload is None:
        raise BadInput(f"the rows of {store.dataset} have no payload, only labels; there is nothing to learn")
    held: dict[str, dict[str, TableRef]] = {}
    for table in ("rows", "labels", "soft_labels", "reinforcements"):
        for ref in releases.refs_of(store, about, table):
            held.setdefault(ref.partition, {})[table] = ref
    partitions = tuple(
        Partition(name, tables["rows"], tables)
        for name, tables in sorted(held.items())
        if "rows" in tables and tables["rows"].rows
    )
    return Release(store, about, vocabulary(store), payload, curation.source.shape, partitions)


def usable(labels: pa.Table) -> np.ndarray:
    """Which rows of a run (n,) bool may teach at all: neither dropped by a policy nor by a person, who takes
    the label away."""
    by_policy = pc.equal(labels["action"], "drop").to_numpy()
    by_person = pc.equal(labels["action"], "human").to_numpy() & pc.is_null(labels["label"]).to_numpy()
    return np.asarray(~(by_policy | by_person))
