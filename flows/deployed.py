"""The flows that `prefect.yaml` deploys: they take a curation's path, so their forms are typed."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, Field

from flows.alerts import telling
from flows.backfill import backfill_work, carry_out, in_turn, recorded
from flows.credentials import lend
from flows.curate import curate, one_stage
from flows.engine import task_runner
from flows.jobs import Outcome
from flows.nightly import alert_of, decide, left_alone, nothing_arrived
from flows.selection import Choice, Partition, Selection, StageName, look, named
from storage.errors import Busy
from storage.store import Store
from tasks.config import Curation, load
from tasks.errors import StageFailed
from tasks.plan import Planner
from tasks.redaction import discreet

YAML = Field(description="path of the curation's YAML, as the worker sees it")
JOBS = Field(1, ge=1, le=64, description="partitions side by side, where none reads what another makes")


class Target(BaseModel):
    """One partition of one curation."""

    curation: str = YAML
    partition: Partition = Field(description="for instance 2026-11-22")
    force: bool = Field(False, description="compute again what is up to date")


class Range(Selection):
    """Some partitions of one curation, and how they are curated."""

    curation: str = YAML
    jobs: int = JOBS
    fail_fast: bool = Field(False, description="stop at the first partition that fails")

    @property
    def title(self) -> str:
        """What the run is called."""
        ends = [f"from {self.first}"] * bool(self.first) + [f"to {self.last}"] * bool(self.last)
        return " ".join([self.only, *([f"{len(self.partitions):,} named"] * bool(self.partitions)), *ends])

    @property
    def selection(self) -> Selection:
        return Selection(**self.model_dump(include=set(Selection.model_fields)))


@flow(name="nightly", persist_result=False)
@discreet
def nightly(curation: str, jobs: int = 1) -> list[str] | State[Any]:
    """Curate what has arrived since the last night, oldest first; the partitions done.

    curation: the path of the YAML. jobs: partitions side by side, where none reads what another makes.
    """
    loaded, store = opened(curation)
    say = get_run_logger()
    with telling(loaded, run=runtime.flow_run.id):
        absent = nothing_arrived(loaded)
        night = decide(loaded, store, jobs)
    alert_of(loaded, night, absent)
    if note := left_alone(loaded, night):
        say.info(note)
    try:
        done = carry_out(loaded, store, night.work).of("done") if night.work.choices else []
    except Busy as busy:
        return Completed(message=str(busy))
    if absent and loaded.empty_night == "fail":
        raise StageFailed(absent)
    if not done:
        return Completed(message=absent or f"nothing to do: all of {loaded.dataset} that arrived is curated")
    say.info("%s: curated %s", loaded.dataset, ", ".join(done))
    return done


@flow(name="backfill", flow_run_name="{range.title}", persist_result=False)
@discreet
def backfill(range: Range) -> list[str] | State[Any]:
    """Curate some partitions; those done."""
    curation, store = opened(range.curation)
    say = get_run_logger()
    for note in named(curation, range.selection)[1]:
        say.warning(note)
    work = backfill_work(curation, store, range.selection, range.jobs, range.fail_fast)
    if in_order := in_turn(curation, work):
        say.info(in_order)
    if not work.choices:
        return Completed(message=f"{curation.dataset} has no {range.only} partition there: nothing to do")
    try:
        return carry_out(curation, store, work).of("done")
    except Busy as busy:
        return Completed(message=str(busy))


@flow(name="curate-partition", flow_run_name="{target.partition}", persist_result=False)
@discreet
def curate_partition(target: Target) -> int | State[Any] | None:
    """Curate one partition; the number of the release that holds it, None where another run publishes it."""
    curation, store = opened(target.curation)
    run = curate.with_options(task_runner=task_runner(curation))

    def work() -> Outcome:
        release = run(curation, target.partition, target.force)
        number = release.number if release else None
        return Outcome("done", release=number, flow_run=runtime.flow_run.name)

    choice = looked_at(curation, store, target.partition)
    try:
        return recorded(store, target.partition, {"force": target.force}, choice, work).release
    except Busy as busy:
        return Completed(message=str(busy))


@flow(name="stage", flow_run_name="{stage} {target.partition}", persist_result=False)
@discreet
def stage(target: Target, stage: StageName) -> int | State[Any] | None:
    """Bring one stage of one partition up to date; its row count."""
    curation, store = opened(target.curation)
    run = one_stage.with_options(task_runner=task_runner(curation))

    def work() -> Outcome:
        ref = run(curation, target.partition, stage, target.force)
        return Outcome("done", rows=ref.rows if ref else None, flow_run=runtime.flow_run.name)

    choice = looked_at(curation, store, target.partition, stage)
    try:
        return recorded(store, target.partition, {"force": target.force, "stage": stage}, choice, work).rows
    except Busy as busy:
        return Completed(message=str(busy))


def opened(path: str) -> tuple[Curation, Store]:
    curation = load(path)
    lend(curation.store)
    return curation, Store(curation.store, curation.dataset)


def looked_at(curation: Curation, store: Store, partition: str, stage: str | None = None) -> Choice:
    return look(Planner(curation, store), [partition], stage)[0]
