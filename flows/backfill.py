"""Backfill: a range of partitions, oldest first unless asked otherwise; one that fails does not
stop the rest.

What a partition needs is decided when its turn comes, since curating one can make later ones stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.errors import Busy, StoreError
from storage.store import Store
from tasks.config import Curation
from tasks.errors import BadInput, StageFailed
from tasks.plan import Plan, plan_partition

Only = Literal["missing", "stale", "all"]
Order = Literal["oldest", "newest"]


@dataclass(frozen=True)
class Choice:
    """A partition, and what it would take to curate it."""

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

    def wanted(self, only: Only) -> bool:
        """`missing`: some stage never finished. `stale`: that, or the curation would now make the
        partition differently. `all`: in any case."""
        return only == "all" or self.missing or (only == "stale" and self.stale)


def choose(curation: Curation, store: Store, partition: str) -> Choice:
    return Choice(partition, plan_partition(curation, store, partition))


def arrived(
    curation: Curation, first: str | None = None, last: str | None = None, order: Order = "oldest"
) -> list[str]:
    """The partitions that the source holds between `first` and `last`, both included."""
    names = [p for p in curation.source.partitions() if (first or p) <= p <= (last or p)]
    return names if order == "oldest" else names[::-1]


def backfill_partitions(curation: Curation, partitions: Sequence[str], only: Only) -> list[str]:
    """Curate each in turn that `only` asks for; the partitions done.

    A partition that another run is just curating is left to it. Raises StageFailed naming those that
    failed, once all others are done.
    """
    from flows.curate import curate
    from flows.engine import task_runner

    run = curate.with_options(task_runner=task_runner(curation))
    store = Store(curation.store, curation.dataset)
    done, failed = [], {}
    for partition in partitions:
        try:
            if choose(curation, store, partition).wanted(only):
                run(curation, partition)
                done.append(partition)
        except Busy:
            continue
        except (BadInput, StageFailed, StoreError) as error:
            failed[partition] = str(error)
    if failed:
        listed = "; ".join(f"{partition}: {why}" for partition, why in failed.items())
        raise StageFailed(f"{len(failed)} of {len(partitions)} partitions failed: {listed}")
    return done
