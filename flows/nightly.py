"""A night: what has arrived and is not curated, and old partitions of which more has arrived since.

One run catches up with whatever has gathered since the last, be it one date or a year of them, oldest
first. So runs that pile up cost nothing: while one is at work the others end at once, and after it
they find nothing to do. What a data set would now make otherwise, since its methods or its earlier
partitions changed, is redone or left as `restate` in the curation says.
"""

from __future__ import annotations

from dataclasses import dataclass

from flows.alerts import alert
from flows.backfill import Work
from flows.selection import Choice, look
from storage.ledger import Ledger
from storage.store import Store
from tasks.config import Curation
from tasks.plan import Planner

LATE_SHOWN = 5
NEWS = {"input", "reviews"}
"""Ingredients that come from outside: late rows, and decisions of people."""


@dataclass(frozen=True)
class Night:
    """What a night does, and what it leaves although the data set would now make it otherwise."""

    work: Work
    left: list[str]

    @property
    def late(self) -> list[str]:
        """Partitions that were curated before, of which more has arrived since."""
        return [
            choice.partition
            for choice in self.work.choices
            if not choice.missing and any("input" in plan.changed for plan in choice.plans)
        ]


def decide(curation: Curation, store: Store, jobs: int = 1) -> Night:
    """Look at all that has arrived."""
    chosen, left = sort_out(curation, store)

    def again() -> list[Choice]:
        return sort_out(curation, store)[0]

    work = Work("nightly", {}, chosen, again if curation.restate != "never" else None, jobs=jobs)
    return Night(work, left)


def sort_out(curation: Curation, store: Store) -> tuple[list[Choice], list[str]]:
    """The partitions that a night does, and the stale ones that it leaves."""
    planner = Planner(curation, store)
    ended = {name: f"{how} in {run}" for name, (how, run) in Ledger(store).unfinished().items()}
    choices = look(planner, curation.source.partitions(), ended=ended)
    chosen = [choice for choice in choices if due(choice, curation, planner)]
    doing = {choice.partition for choice in chosen}
    return chosen, [c.partition for c in choices if c.stale and c.partition not in doing]


def due(choice: Choice, curation: Curation, planner: Planner) -> bool:
    """Whether tonight is the partition's turn."""
    if choice.missing or any(NEWS & set(plan.changed) for plan in choice.plans):
        return True
    if not choice.stale or curation.restate == "never":
        return False
    if curation.restate == "always":
        return True
    return planner.share_changed(choice.partition) > curation.restate.stale_over


def nothing_arrived(curation: Curation) -> str | None:
    """That nothing has arrived, as a sentence; None where something has."""
    if curation.source.partitions():
        return None
    return f"nothing has arrived: the source of {curation.dataset} holds no partition"


def alert_of(curation: Curation, night: Night, absent: str | None) -> None:
    """Tell the curation's webhook what a night found out of the ordinary."""
    if absent:
        alert(curation, "empty", absent)
    if night.late:
        n, shown = len(night.late), ", ".join(night.late[:LATE_SHOWN])
        more = f" and {n - LATE_SHOWN:,} more" if n > LATE_SHOWN else ""
        alert(curation, "late", f"rows arrived late for {shown}{more}", figures={"partitions": n})


def left_alone(curation: Curation, night: Night) -> str | None:
    """What a night leaves, as a sentence."""
    if not night.left:
        return None
    n = len(night.left)
    return (
        f"{n:,} curated partition{'s' if n > 1 else ''} would be made otherwise now and "
        f"{'are' if n > 1 else 'is'} left, as restate is {curation.restate}; "
        "`winnow backfill --only stale` redoes them"
    )
