"""What a stage is, apart from how it runs.

A stage says which tables it reads (its partition's own, or a window of partitions up to it), which
parts of the config decide its result, what it fits, and what it writes for a run of rows. The
runner (`tasks.stage`) does the rest, the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.data import State
from tasks.errors import StageFailed

MAX_SHARDS = 24
"""Shards a partition and stage at most: large partitions get larger shards, not more task runs."""


@dataclass(frozen=True)
class Job:
    """One stage of one partition, decided: everything that fit and apply may depend on."""

    curation: Curation
    partition: str
    stage: str
    fingerprint: str
    classes: tuple[str, ...]
    inputs: Mapping[str, tuple[TableRef, ...]]

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
    def identity(self, curation: Curation, partition: str) -> Any:
        """JSON of all in the config (and, for ingest, of the input) that decides the result."""

    def parts(self, job: Job) -> list[str]:
        """The names of what is fitted, each on its own; empty where nothing is."""
        return []

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
