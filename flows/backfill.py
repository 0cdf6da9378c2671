"""Backfill: any number of partitions, planned first, curated in children, each ending with a receipt.

The plan is in the store before anything runs, and the same command again takes up what failed, was
cancelled or never had its turn. Cancelling kills the children, which is safe at any moment
(`flows.jobs`). One partition that fails does not stop the rest, unless that is asked for.

What a partition needs is looked at again once all planned are done, since curating one can make later
ones stale: those join the plan, each partition once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from flows.alerts import alert
from flows.jobs import Crew, Outcome, curating, divided, judged
from flows.selection import Choice, Selection, choose, clashes, look, named, reach
from storage.errors import Busy
from storage.leases import lease
from storage.ledger import Kind, Ledger, Planned, Receipt, State, digest, stamp
from storage.store import Store
from tasks.config import Curation
from tasks.errors import StageFailed
from tasks.plan import Planner
from tasks.progress import bar

SHOWN = 5
"""Failures that an error names; `winnow status` names all."""
ROWS_SHOWN = 1_000
"""Receipts in the artifact; Prefect keeps it as one JSON."""
ARTIFACT_SECONDS = 2.0


@dataclass(frozen=True)
class Work:
    """What is to be done, decided: by `winnow backfill`, by a night, by a deployment."""

    kind: Kind
    asked: dict[str, Any]
    """What makes it the same work as another; two of the same are never done side by side."""
    choices: list[Choice]
    again: Callable[[], list[Choice]] | None = None
    """What has come to be to do, asked once all is done."""
    resumes: bool = False
    jobs: int = 1
    fail_fast: bool = False
    stage: str | None = None


@dataclass
class Tally:
    """What a run has come to so far. outcomes: by partition, in the order of their ends."""

    run: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def of(self, state: State) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome.state == state]


def backfill_work(
    curation: Curation, store: Store, selection: Selection, jobs: int = 1, fail_fast: bool = False
) -> Work:
    """The partitions of the selection, and what the newest run of the same selection still owes."""
    choices = choose(curation, store, selection)
    owed, finished = owing(store, selection)
    chosen = {choice.partition for choice in choices}
    held, _ = named(curation, selection)
    more = [name for name in held if name in owed and name not in chosen]
    fresh = [c for c in choices if c.partition not in finished or (selection.only != "all" and c.stale)]
    choices = fresh + look(Planner(curation, store), more, selection.stage, owed)
    place = {name: number for number, name in enumerate(held)}  # in the order asked for
    choices.sort(key=lambda choice: place[choice.partition])

    def again() -> list[Choice]:
        return choose(curation, store, selection)

    return Work(
        "backfill",
        selection.asked,
        choices,
        again if selection.only == "stale" else None,
        resumes=True,
        jobs=jobs,
        fail_fast=fail_fast,
        stage=selection.stage,
    )


def owing(store: Store, selection: Selection) -> tuple[dict[str, str], set[str]]:
    """What the newest run of the same selection left undone, in words, if it left anything; and what it
    finished."""
    ledger = Ledger(store)
    before = ledger.newest("backfill", selection.asked)
    if before is None or ledger.ended(before.run) == "done":
        return {}, set()
    states = ledger.states(before.run)
    owed = {p: f"{states.get(p, 'never ran')} in {before.run}" for p in before.partitions}
    finished = {p for p, state in states.items() if state == "done"}
    return {p: how for p, how in owed.items() if p not in finished}, finished


def carry_out(
    curation: Curation,
    store: Store,
    work: Work,
    shown: Callable[[str, Callable[[], Tally]], Tally] = lambda _, go: go(),
) -> Tally:
    """Plan, curate, and write receipts. `shown` runs what it is given where people can see it.

    Raises Busy where the same is under way, StageFailed naming what failed once all else is done.
    """
    store.open(create=True)
    with single(store, work):
        ledger = Ledger(store)
        planned = plan(ledger, work)
        side_by_side = 1 if reach(curation, work.stage) is None else min(work.jobs, len(work.choices))
        trade = partial(curating, divided(curation, side_by_side), work.stage)
        with Crew(side_by_side, trade) as crew:
            return shown(planned.run, lambda: Shift(curation, ledger, work, planned, crew).go())


@contextmanager
def single(store: Store, work: Work) -> Iterator[None]:
    """The same work is done once at a time. Raises Busy."""
    try:
        held = lease(store, f"{work.kind}.{digest(work.asked)}", 0, f"winnow {work.kind}")
        with held:
            yield
    except Busy as busy:
        raise Busy(f"this {work.kind} of {store.dataset} is under way: {busy.holder}", busy.holder) from None


def plan(ledger: Ledger, work: Work) -> Planned:
    """Write the plan: a new run's, or that of the newest of the same work if it was left undone."""
    reasons = {choice.partition: choice.reason for choice in work.choices}
    before = ledger.newest(work.kind, work.asked) if work.resumes else None
    if before and ledger.ended(before.run) != "done":
        return ledger.resume(before, reasons)
    return ledger.begin(work.kind, work.asked, reasons)


class Shift:
    """One process at work on one run."""

    def __init__(self, curation: Curation, ledger: Ledger, work: Work, planned: Planned, crew: Crew) -> None:
        self.curation, self.ledger, self.work = curation, ledger, work
        self.planned, self.crew = planned, crew
        self.tally = Tally(planned.run)
        self.stages = {choice.partition: choice.stages for choice in work.choices}
        self._before = ledger.states(planned.run)

    def go(self) -> Tally:
        """All partitions; the run's own receipt whatever happens."""
        with page(self.curation, self.planned) as show:
            try:
                self._curate_all(show)
            except BaseException as stop:  # before anybody is told, who may not answer
                self._cancelled(str(stop) if isinstance(stop, Exception) else "cancelled")
                raise
            names = self.tally.of("failed")
            self.ledger.end(self.planned.run, "failed" if names else "done")
        if names:
            total = len(self.tally.outcomes)
            raise StageFailed(f"{len(names)} of {total} partitions failed: {self._told(names)}")
        return self.tally

    def _cancelled(self, reason: str) -> None:
        """Stop at once. The run's own receipt stands for all that had not begun."""
        for partition, seconds in self.crew.dismiss().items():
            self._record(partition, Outcome("cancelled", reason, seconds))
        self.ledger.end(self.planned.run, "cancelled", reason)

    def _curate_all(self, show: Callable[[Tally, int], None]) -> None:
        todo, total = [choice.partition for choice in self.work.choices], len(self.work.choices)
        clash = clashes(self.curation, self.work.stage)
        while todo:
            with bar(f"{self.curation.dataset} {self.work.kind}", len(todo)) as advance:
                for partition, outcome in self.crew.curate(todo, clash):
                    self._record(partition, outcome)
                    advance(1)
                    show(self.tally, total)
                    if self.work.fail_fast and outcome.state == "failed":
                        raise StageFailed(f"stopped at the first failure: {self._told([partition])}")
            todo = self._more()
            total += len(todo)
        self._publish_last(clash)

    def _more(self) -> list[str]:
        """Partitions that have come to be to do, each once a run."""
        found = self.work.again() if self.work.again else []
        fresh = [choice for choice in found if choice.partition not in self.tally.outcomes]
        if fresh:
            self.stages |= {choice.partition: choice.stages for choice in fresh}
            reasons = {choice.partition: choice.reason for choice in fresh}
            self.planned = self.ledger.resume(self.planned, reasons)
        return [choice.partition for choice in fresh]

    def _publish_last(self, clash: Callable[[str, str], bool]) -> None:
        """A partition leaves publishing to those that are half-way beside it; where the last of these
        failed, nobody has published, so the last good one is asked again."""
        done = self.tally.of("done")
        if self.work.stage is None and done and self.tally.outcomes[done[-1]].release is None:
            before = self.tally.outcomes[done[-1]].seconds
            for partition, outcome in self.crew.curate(done[-1:], clash):
                self._record(partition, replace(outcome, seconds=before + outcome.seconds))

    def _record(self, partition: str, outcome: Outcome) -> None:
        ended = datetime.now(UTC)
        before = self._before.get(partition)
        earlier = self.ledger.receipt(self.planned.run, partition) if before else None
        receipt = Receipt(
            partition,
            outcome.state,
            outcome.error,
            round(outcome.seconds, 3),
            outcome.rows,
            outcome.release,
            outcome.attempts + (earlier.attempt if earlier else 0),
            stamp(ended - timedelta(seconds=outcome.seconds)),
            stamp(ended),
            outcome.flow_run,
            self.stages.get(partition, ()),
        )
        self.ledger.record(self.planned.run, receipt, before)
        self._before[partition] = outcome.state
        if outcome.state == "failed" and outcome.flow_run is None:  # a flow run tells of itself
            alert(self.curation, "failed", outcome.error or "", partition)
        self.tally.outcomes.pop(partition, None)  # so that it comes last
        self.tally.outcomes[partition] = outcome

    def _told(self, names: Sequence[str]) -> str:
        told = "; ".join(f"{name}: {self.tally.outcomes[name].error}" for name in names[:SHOWN])
        more = len(names) - SHOWN
        return f"{told}; and {more:,} more, see `winnow status`" if more > 0 else told


@contextmanager
def page(curation: Curation, planned: Planned) -> Iterator[Callable[[Tally, int], None]]:
    """The run's artifacts in Prefect: how far it is, and at its end every receipt. Inside a flow run only.

    They show and decide nothing, so a server that does not answer does not stop the run.
    """
    import httpx
    from prefect import runtime
    from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
    from prefect.exceptions import PrefectException

    if runtime.flow_run.id is None:
        yield lambda tally, total: None
        return
    from tasks.stage import key_of

    key = key_of(f"{curation.dataset} {planned.kind}")
    text = f"{planned.kind} of {curation.dataset}, {planned.run}"
    told = 0.0
    newest: Tally | None = None
    progress: Any = None
    with suppress(httpx.HTTPError, PrefectException):
        progress = create_progress_artifact(progress=0.0, key=f"{key}-progress", description=text)

    def show(tally: Tally, total: int) -> None:
        nonlocal told, newest
        newest, ended = tally, len(tally.outcomes)
        if progress is not None and (time.monotonic() - told > ARTIFACT_SECONDS or ended == total):
            told = time.monotonic()
            with suppress(httpx.HTTPError, PrefectException):
                update_progress_artifact(artifact_id=progress, progress=100.0 * ended / total)

    try:
        yield show
    finally:
        with suppress(httpx.HTTPError, PrefectException):
            create_table_artifact(key=f"{key}-receipts", table=rows(newest), description=text)


def rows(tally: Tally | None) -> list[dict[str, Any]]:
    """Receipts as rows, the failures first."""
    found = sorted(tally.outcomes.items(), key=lambda item: item[1].state != "failed") if tally else []
    return [
        {
            "partition": partition,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 1),
            "rows": outcome.rows,
            "release": outcome.release,
            "error": outcome.error,
        }
        for partition, outcome in found[:ROWS_SHOWN]
    ]


def recorded(
    store: Store,
    partition: str,
    asked: dict[str, Any],
    choice: Choice,
    curate: Callable[[], Outcome],
) -> Outcome:
    """Curate one partition in this process, with a plan and a receipt. Raises what `curate` raises."""
    store.open(create=True)
    ledger = Ledger(store)
    run = ledger.begin("run", {**asked, "partition": partition}, {partition: choice.reason}).run
    started = datetime.now(UTC)

    def end(outcome: Outcome) -> None:
        now = datetime.now(UTC)
        facts = (outcome.error, (now - started).total_seconds(), outcome.rows, outcome.release, 1)
        times = (stamp(started), stamp(now), outcome.flow_run, choice.stages)
        ledger.record(run, Receipt(partition, outcome.state, *facts, *times))
        ledger.end(run, outcome.state)

    try:
        outcome = curate()
    except Exception as error:
        end(judged(error))
        raise
    except BaseException:
        end(Outcome("cancelled", "cancelled"))
        raise
    end(outcome)
    return outcome


def in_turn(curation: Curation, work: Work) -> str | None:
    """Why partitions are curated one after the other although more jobs were asked for; None where not."""
    if work.jobs == 1 or reach(curation, work.stage) == 0:
        return None
    window = curation.window
    why = f"window is {window}" if window != "partition" else "each looks for what occurred before it"
    return f"one after the other where one reads what another makes, whatever --jobs says: {why}"
