"""Backfill: a range of partitions, oldest first unless asked otherwise; one that fails does not
stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.store import Store
from tasks.config import Curation
from tasks.errors import StageFailed
from tasks.plan import Plan, plan_partition

Only = Literal["missing", "stale", "all"]
Order = Literal["oldest", "newest"]


@dataclass(frozen=True)
class Choice:
    """A partition to curate, and why."""

    partition: str
    plans: list[Plan]

    @property
    def missing(self) -> bool:
        """Whether some stage never finished."""
        return any(plan.current is None for plan in self.plans)

    @property
    def stale(self) -> bool:
        """Whether some stage has to run."""
        return any(plan.verdict != "up to date" for plan in self.plans)

    @property
    def reason(self) -> str:
        first = next((plan for plan in self.plans if plan.verdict != "up to date"), None)
        return f"{first.stage}: {first.reason}" if first else "up to date"


def select(
    curation: Curation,
    store: Store,
    first: str | None = None,
    last: str | None = None,
    only: Only = "missing",
    order: Order = "oldest",
) -> list[Choice]:
    """The arrived partitions between `first` and `last` (both included) that `only` asks for.

    `missing`: some stage never finished. `stale`: those, and partitions that the curation would now
    make differently. `all`: every one.
    """
    arrived = [p for p in curation.source.partitions() if (first or p) <= p <= (last or p)]
    choices = [Choice(partition, plan_partition(curation, store, partition)) for partition in arrived]
    wanted = [c for c in choices if only == "all" or c.missing or (only == "stale" and c.stale)]
    return wanted if order == "oldest" else wanted[::-1]


def backfill_partitions(curation: Curation, partitions: Sequence[str]) -> list[str]:
    """Curate each in turn; the partitions done. Raises StageFailed naming those that failed."""
    from flows.curate import curate
    from flows.engine import task_runner
    from storage.errors import StoreError
    from tasks.errors import BadInput

    run = curate.with_options(task_runner=task_runner(curation))
    failed: dict[str, str] = {}
    for partition in partitions:
        try:
            run(curation, partition)
        except (BadInput, StageFailed, StoreError) as error:
            failed[partition] = str(error)
    if failed:
        listed = "; ".join(f"{partition}: {why}" for partition, why in failed.items())
        raise StageFailed(f"{len(failed)} of {len(partitions)} partitions failed: {listed}")
    return list(partitions)
