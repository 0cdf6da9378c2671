"""Which partitions a command is about, why, in what order, and how long they may take.

All of it is decided from one look at the store (`tasks.plan.Planner`) and one at the ledger, without
Prefect: what was not asked for is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.ledger import Ledger
from storage.store import Store
from tasks.config import NAME, Curation
from tasks.errors import BadInput
from tasks.plan import Plan, Planner, enabled
from tasks.stages import STAGES

Only = Literal["missing", "failed", "stale", "all"]
Order = Literal["oldest", "newest"]
StageName = Literal["ingest", "teach", "detect", "relabel", "reinforce", "distill", "report"]
Partition = Annotated[str, Field(pattern=NAME)]


class Selection(BaseModel):
    """Some partitions of one curation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Partition | None = Field(None, description="the oldest; no bound when left out")
    last: Partition | None = Field(None, description="the newest; no bound when left out")
    partitions: tuple[Partition, ...] = Field((), description="these alone; all when left out")
    exclude: tuple[Partition, ...] = Field((), description="but not these")
    only: Only = Field(
        "missing",
        description="missing: never curated to the end; failed: that failed, were cancelled or never had "
        "their turn, in the newest run that they were part of; stale: missing, or made otherwise now; all",
    )
    order: Order = Field("oldest", description="which end comes first")
    stage: StageName | None = Field(None, description="this stage alone, publishing nothing")

    @property
    def asked(self) -> dict[str, Any]:
        """What makes two commands the same backfill: all but the order."""
        return {
            **self.model_dump(mode="json", exclude={"order"}),
            "partitions": sorted(set(self.partitions)),
            "exclude": sorted(set(self.exclude)),
        }


@dataclass(frozen=True)
class Choice:
    """A partition, what it would take to curate it, and what became of it the last time if that was bad."""

    partition: str
    plans: list[Plan]
    ended: str | None = None

    @property
    def missing(self) -> bool:
        """Whether some stage never finished, or the whole was cut off before its release."""
        cut_off = self.ended is not None and self.ended.startswith(("interrupted", "cancelled"))
        return cut_off or any(plan.current is None and plan.verdict != "up to date" for plan in self.plans)

    @property
    def stale(self) -> bool:
        """Whether some stage has to run."""
        return self.missing or bool(self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that are not up to date."""
        return tuple(plan.stage for plan in self.plans if plan.verdict != "up to date")

    @property
    def reason(self) -> str:
        first = next((plan for plan in self.plans if plan.verdict != "up to date"), None)
        planned = f"{first.stage}: {first.reason}" if first else "up to date"
        return f"{planned} ({self.ended})" if self.ended else planned

    def wanted(self, only: Only) -> bool:
        """Whether it is one of those that `only` names."""
        bad = self.ended is not None
        return {"missing": self.missing, "failed": bad, "stale": self.stale, "all": True}[only]


def choose(curation: Curation, store: Store, selection: Selection) -> list[Choice]:
    """The partitions that a selection comes to now, in its order."""
    names, _ = named(curation, selection)
    ended = {name: f"{how} in {run}" for name, (how, run) in Ledger(store).unfinished().items()}
    if selection.only == "failed":
        names = [name for name in names if name in ended]
    choices = look(Planner(curation, store), names, selection.stage, ended)
    return [choice for choice in choices if choice.wanted(selection.only)]


def look(
    planner: Planner, names: Iterable[str], stage: str | None = None, ended: Mapping[str, str] | None = None
) -> list[Choice]:
    """What each partition would take, all from one look at the store."""

    def plans(name: str) -> list[Plan]:
        return planner.partition(name) if stage is None else [planner.stage(STAGES[stage], name)]

    return [Choice(name, plans(name), (ended or {}).get(name)) for name in names]


def named(curation: Curation, selection: Selection) -> tuple[list[str], list[str]]:
    """The partitions of the source that a selection names, whatever their state, and sentences on what it
    names in vain. Raises BadInput."""
    first, last = selection.first, selection.last
    if first and last and first > last:
        raise BadInput(f"--from {first} comes after --to {last}; swap them")
    if selection.stage and not STAGES[selection.stage].enabled(curation):
        there = ", ".join(stage.name for stage in enabled(curation))
        raise BadInput(f"{curation.dataset} leaves out {selection.stage}; its stages are {there}")
    held = curation.source.partitions()
    asked, excluded = set(selection.partitions), set(selection.exclude)
    names = [
        name
        for name in held
        if (first or name) <= name <= (last or name) and name not in excluded and (not asked or name in asked)
    ]
    notes = []
    ends = {name for name in (first, last) if name}
    in_vain = sorted((asked or dates(first, last) or ends) - set(held))
    if in_vain:
        notes.append(f"ignored, as the source does not hold them: {in_runs(in_vain)}")
    if outside := sorted(asked & set(held) - set(names) - excluded):
        notes.append(f"ignored, as they lie outside of the range: {in_runs(outside)}")
    if unknown := sorted(excluded - set(held)):
        notes.append(f"excluded in vain, as the source does not hold them: {in_runs(unknown)}")
    return (names if selection.order == "oldest" else names[::-1]), notes


def dates(first: str | None, last: str | None) -> set[str]:
    """Every date of a closed range of dates; empty for any other range."""
    start, stop = as_date(first), as_date(last)
    if start is None or stop is None:
        return set()
    return {(start + timedelta(days=n)).isoformat() for n in range((stop - start).days + 1)}


def as_date(name: str | None) -> date | None:
    try:
        found = date.fromisoformat(name or "")
    except ValueError:
        return None
    return found if found.isoformat() == name else None


def in_runs(names: Sequence[str]) -> str:
    """Names in order in few words: neighbouring dates as runs, and no more than eight items."""
    runs: list[list[str]] = []
    for name in names:
        before = as_date(runs[-1][-1]) if runs else None
        if before and as_date(name) == before + timedelta(days=1):
            runs[-1].append(name)
        else:
            runs.append([name])
    told = [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(told[:8]) + (f" and {len(told) - 8:,} more" if len(told) > 8 else "")


def reach(curation: Curation, stage: str | None = None) -> int | None:
    """How many of the partitions before it decide what a partition becomes; None for all of them."""
    stages = enabled(curation) if stage is None else [STAGES[stage]]
    ingests = any(stage.name == "ingest" for stage in stages)
    if ingests and curation.vocabulary is None:  # who comes first gives a class its index
        return None
    if any(stage.reads_before(curation) for stage in stages):
        return None
    if any(stage.reads_window for stage in stages):
        return None if curation.window_size is None else curation.window_size - 1
    return 0


def clashes(curation: Curation, stage: str | None = None) -> Callable[[str, str], bool]:
    """Whether two partitions must not be curated side by side, since one reads what the other makes."""
    far = reach(curation, stage)
    place = {name: number for number, name in enumerate(curation.source.partitions())}

    def clash(a: str, b: str) -> bool:
        return far is None or (far > 0 and abs(place[a] - place[b]) <= far)

    return clash


def estimates(ledger: Ledger, choices: Sequence[Choice]) -> list[float | None]:
    """The seconds each may take: the median of recorded partitions that ran the same stages, else of all."""
    recorded = ledger.seconds()
    by_stages: dict[tuple[str, ...], list[float]] = {}
    for stages, seconds in recorded:
        by_stages.setdefault(stages, []).append(seconds)
    overall = median(seconds for _, seconds in recorded) if recorded else None
    return [median(by_stages[c.stages]) if c.stages in by_stages else overall for c in choices]
