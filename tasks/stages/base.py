"""What a stage is, apart from how it runs.

A stage says which tables it reads (its partition's own, or a window of partitions up to it), which
parts of the config decide its result, what it fits, and what it writes for a run of rows. The
runner (`tasks.stage`) does the rest, the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from math import ceil
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from storage.snapshot import Snapshot, Window
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.data import State
from tasks.errors import StageFailed

MAX_SHARDS = 24
"""Shards a partition and stage at most: large partitions get larger shards, not more task runs."""


Value = TypeVar("Value")


@dataclass(frozen=True)
class Job:
    """One stage of one partition, decided: everything that fit and apply may depend on."""

    curation: Curation
    partition: str
    stage: str
    fingerprint: str
    classes: tuple[str, ...]
    inputs: Mapping[str, tuple[TableRef, ...]]
    parents: tuple[Mapping[str, Any], ...] = ()
    """What the commit notes of the inputs."""

    def __getstate__(self) -> dict[str, Any]:
        """What a worker elsewhere gets: the references, and not a store that was opened here."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def store(self) -> Store:
        return Store(self.curation.store, self.curation.dataset)

    @property
    def device(self) -> str:
        """The torch device: what the curation says, or CUDA where torch sees it."""
        if self.curation.device != "auto":
            return self.curation.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def _known(self) -> dict[Callable[[Job], Any], Any]:
        return {}

    def once(self, function: Callable[[Job], Value]) -> Value:
        """What a function says of this job, worked out the first time it is asked."""
        if function not in self._known:
            self._known[function] = function(self)
        found: Value = self._known[function]
        return found

    def own(self, table: str) -> TableRef:
        """The partition's own rows of `table`."""
        return self.inputs[table][-1]

    def state_name(self, part: str) -> str:
        return f"{self.stage}-{self.fingerprint}-{part}"

    def state(self, part: str) -> State:
        """What this job's fit of `part` left."""
        return load_state(self.store, self.partition, self.state_name(part))


def load_state(store: Store, partition: str, name: str) -> State:
    """A saved state. Raises StageFailed when it is gone."""
    found = store.load_state(partition, name)
    if found is None:
        raise StageFailed(f"the state {name} of {partition} is missing; run the stage again with --force")
    return State(*found)


class Stage(ABC):
    """One of ingest, teach, detect, relabel, reinforce, distill, report."""

    name: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    """What it writes, the table that marks it as done last."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Tables of the partition itself that must be there."""
    reads_window: ClassVar[tuple[str, ...]] = ()
    """Tables of the window's partitions, the partition itself last."""
    reads_if_there: ClassVar[tuple[str, ...]] = ()

    def reads_before(self, curation: Curation) -> tuple[str, ...]:
        """Tables of which it reads every partition earlier by name, as far as they are there."""
        return ()

    @property
    def table(self) -> str:
        return self.tables[-1]

    @abstractmethod
    def enabled(self, curation: Curation) -> bool:
        """Whether the curation has this stage."""

    @abstractmethod
    def identity(self, curation: Curation) -> Any:
        """JSON of all in the config that decides the result."""

    def arrival(self, curation: Curation, partition: str) -> str | None:
        """What has arrived from outside for the partition, as a fingerprint; None if nothing does."""
        return None

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, Window | None]:
        """What it is made from, by the name in `Job.inputs`; None for what is still to be made.

        `made` are the tables that this curation's stages write. A window holds the partitions that have
        every table the stage reads over it, so that a night that failed half-way is left out whole.
        """
        found: dict[str, Window | None] = {
            table: snapshot.lineup(table).before(partition)[table] for table in self.reads_before(curation)
        }
        found |= {table: snapshot.own(table, partition) for table in self.reads}
        for table in self.reads_if_there:
            if (table in made or table == "reviews") and (own := snapshot.own(table, partition)):
                found[table] = own
        tables = tuple(table for table in self.reads_window if table in made)
        owns = {table: snapshot.own(table, partition) for table in tables}
        if tables and all(owns.values()):
            return found | snapshot.lineup(*tables).up_to(partition, curation.window_size)
        return found | owns

    def noted(self, curation: Curation) -> dict[str, Any]:
        """JSON that the commit keeps for whoever reads the result: what it takes to undo an encoding."""
        return {}

    def states_used(self, job: Job) -> list[str]:
        """States below other partitions that the result goes on needing, as "{partition}/{prefix}"."""
        return []

    def rounds(self, job: Job) -> list[list[str]]:
        """The names of what is fitted, each on its own, in rounds: a part may ask for the states of the
        rounds before."""
        return []

    def place(self, job: Job, part: str) -> tuple[str, str]:
        """The partition and the name under which the state of `part` is kept."""
        return job.partition, job.state_name(part)

    def fit(self, job: Job, part: str) -> State:
        raise NotImplementedError(f"{self.name} fits nothing")

    @abstractmethod
    def size(self, job: Job) -> int:
        """How many items (rows, classes) there are to deal into shards."""

    def spans(self, job: Job) -> list[tuple[int, int]]:
        """The shards, as runs of items; one empty run where there is nothing."""
        return spans(self.size(job), job.curation.runner.shard_rows)

    @abstractmethod
    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        """The rows of each of `tables` for the items from `start` to `stop`."""

    def dead_end(self, job: Job, refs: Mapping[str, TableRef]) -> str | None:
        """Why nothing can follow what was committed, as a sentence; None when all is well."""
        return None


def spans(n: int, length: int) -> list[tuple[int, int]]:
    """0..n in runs of `length`, or longer where that would make more than MAX_SHARDS."""
    step = max(length, ceil(n / MAX_SHARDS), 1)
    return [(start, min(start + step, n)) for start in range(0, n, step)] or [(0, 0)]


def by_row(opinions: list[pa.Table]) -> pa.Table:
    """Several tables about the same rows as one, a row's opinions side by side: an order that does not
    depend on how the rows were dealt into shards."""
    m, n = len(opinions), opinions[0].num_rows
    return pa.concat_tables(opinions).take(np.arange(m * n).reshape(m, n).T.ravel())
