"""The one way a stage runs: plan, fit, apply over shards, commit.

Each fit and each shard leaves a finished file named by the fingerprint, so a killed run starts
again where it stopped: a file that is there is not computed again. The commit is one transaction;
readers see the old partition or the new one. A stage makes at most 12 + 16 + 1 task runs whatever
its row count: parts and shards are dealt into that many tasks.

On a Ray cluster the same tasks run in its workers. A task gets a `Job`, which is references, and
reads and writes the store itself; the commit stays with the process that holds the lease.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import metadata
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import unmapped

from storage.leases import Lease
from storage.store import Store, TableRef
from tasks.config import Curation, Section
from tasks.errors import StageFailed
from tasks.method import Method
from tasks.plan import Plan, Planner
from tasks.progress import bar
from tasks.redaction import discreet
from tasks.stages import STAGES
from tasks.stages.base import Job, Stage

FIT_TASKS, SHARD_TASKS = 12, 16
LOST_WORKERS = 3
"""How often a task is started again elsewhere because the worker it ran on was lost."""
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One partition being curated: what the flow hands from verb to verb besides references."""

    curation: Curation
    partition: str
    lease: Lease
    force: bool = False

    @cached_property
    def store(self) -> Store:
        return Store(self.curation.store, self.curation.dataset)


def is_io_error(task: Any, run: Any, state: Any) -> bool:
    """Whether a failure may pass by itself: disks and networks may, bad input does not."""
    try:
        state.result(raise_on_failure=True)
    except OSError:
        return True
    except Exception:
        return False
    return False


resilient: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_condition_fn": is_io_error,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


@task(task_run_name="fit {job.stage} {job.partition}", **resilient)
@discreet
def fit(job: Job, parts: list[str], force: bool) -> None:
    """Fit each part and save its state, unless it is there."""
    single_threaded()
    for part in parts:
        place = STAGES[job.stage].place(job, part)
        if force or not job.store.has_state(*place):
            state = STAGES[job.stage].fit(job, part)
            job.store.save_state(*place, state.arrays, state.info)


@task(task_run_name="apply {job.stage} {job.partition}", **resilient)
@discreet
def apply(job: Job, spans: list[tuple[int, int]], force: bool) -> int:
    """Write each shard's file, unless it is there; how many were computed."""
    single_threaded()
    computed = 0
    for start, stop in spans:
        tables = STAGES[job.stage].tables
        if not force and all(
            job.store.has_shard(t, job.partition, job.fingerprint, start, stop) for t in tables
        ):
            continue
        for table, data in STAGES[job.stage].apply(job, start, stop).items():
            job.store.write_shard(table, job.partition, job.fingerprint, start, stop, data)
        computed += 1
    return computed


@task(task_run_name="commit {job.stage} {job.partition}", **resilient)
@discreet
def commit(
    job: Job, spans: list[tuple[int, int]], versions: dict[str, int | None], info: dict[str, Any]
) -> dict[str, TableRef]:
    """Replace the partition in each of the stage's tables, in one transaction a table."""
    return {
        table: job.store.commit(
            table, job.partition, job.fingerprint, spans, job.parents, info, versions[table]
        )
        for table in STAGES[job.stage].tables
    }


@task(task_run_name="{stage} {partition}", cache_policy=NO_CACHE, persist_result=False)
@discreet
def up_to_date(stage: str, partition: str, reason: str) -> PrefectState[Any]:
    return Completed(name="Up to date", message=f"{stage} of {partition} is up to date: {reason}")


def run_stage(name: str, run: Run, *given: TableRef | None) -> TableRef | None:
    """Bring one stage of the run's partition up to date; None where the curation leaves it out.

    `given` are the refs that earlier stages of this run returned.
    """
    stage = STAGES[name]
    if not stage.enabled(run.curation):
        return None
    versions = {table: run.store.version(table) for table in stage.tables}
    planner = Planner(run.curation, run.store, [ref for ref in given if ref])
    plan = planner.stage(stage, run.partition)
    if plan.verdict == "up to date" and plan.current is None:
        up_to_date(name, run.partition, plan.reason)
        return None
    job = planner.job(plan)
    if job is None:
        raise StageFailed(f"{name} of {run.partition} {plan.reason}")
    if plan.current and plan.verdict == "up to date" and not run.force:
        up_to_date(name, run.partition, plan.reason)
        held = {t: ref for t in stage.tables if (ref := run.store.ref(t, run.partition))}
        log_line(
            plan, job, held, {"seconds": 0.0, "shards": len(run.store.shards(plan.current)), "computed": 0}
        )
        refuse_dead_end(stage, job, held)
        return plan.current
    done = carry_out(plan, job, run, versions)
    refuse_dead_end(stage, job, done)
    return done[stage.table]


def carry_out(plan: Plan, job: Job, run: Run, versions: dict[str, int | None]) -> dict[str, TableRef]:
    """Fit, apply and commit; what each table holds now."""
    started = perf_counter()
    with placed(job):
        spans, computed = work(job, run.force)
    run.lease.check()
    info = {
        "winnow": metadata.version("winnow"),
        "parts": plan.parts,
        "seconds": perf_counter() - started,
        "shards": len(spans),
        "computed": computed,
        "states": [
            state for start in STAGES[job.stage].states_used(job) for state in job.store.states(start)
        ],
        **STAGES[job.stage].noted(run.curation),
    }
    done: dict[str, TableRef] = commit(job, spans, versions, info)
    log_line(plan, job, done, info)
    show(plan, done)
    return done


def refuse_dead_end(stage: Stage, job: Job, refs: dict[str, TableRef]) -> None:
    """Raises StageFailed where nothing can follow what a partition holds, however often it is run."""
    problem = stage.dead_end(job, refs)
    if problem:
        raise StageFailed(problem)


def work(job: Job, force: bool) -> tuple[list[tuple[int, int]], int]:
    """Fit all parts, then apply to all shards; the shards, and how many were computed now."""
    stage = STAGES[job.stage]
    rounds = [parts for parts in stage.rounds(job) if parts]
    for parts in rounds:
        dealt = deal(parts, FIT_TASKS // len(rounds))
        finish(f"{job.stage} {job.partition} fit", fit.map(unmapped(job), dealt, unmapped(force)), dealt)
    spans = stage.spans(job)
    shards = deal(spans, SHARD_TASKS)
    done = finish(f"{job.stage} {job.partition}", apply.map(unmapped(job), shards, unmapped(force)), shards)
    return spans, sum(done)


def finish(label: str, futures: Sequence[PrefectFuture[Any]], groups: Sequence[Sequence[Any]]) -> list[Any]:
    """Wait for all, showing progress; raises the first failure once nothing runs any more."""
    if not futures:
        return []
    sizes = {future.task_run_id: len(group) for future, group in zip(futures, groups, strict=True)}
    total, advanced = sum(sizes.values()), 0
    artifact = create_progress_artifact(progress=0.0, key=key_of(label), description=label)
    assert isinstance(artifact, UUID)
    with bar(label, total) as advance:
        for future in as_completed(list(futures)):
            advanced += sizes[future.task_run_id]
            advance(sizes[future.task_run_id])
            update_progress_artifact(artifact_id=artifact, progress=100.0 * advanced / total)
    return [future.result() for future in futures]


@contextmanager
def placed(job: Job) -> Iterator[None]:
    """On Ray, send the tasks of the block where there is room for them, and elsewhere if they are lost.

    Raises StageFailed where no worker is large enough, since Ray would wait for one for ever, and
    where the cluster fails.
    """
    if job.curation.runner.kind == "threads":
        yield
        return
    import ray
    from prefect_ray.context import remote_options

    needs = needs_of(job)
    workers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(worker.get(what, 0) >= amount for what, amount in needs.items()) for worker in workers):
        wanted = " and ".join(f"{amount:,.10g} {UNITS[what]}" for what, amount in needs.items())
        raise StageFailed(
            f"{job.stage} of {job.partition} takes {wanted} a task, and no Ray worker has as much; "
            "add a larger one"
        )
    asked = {OPTIONS[what]: amount for what, amount in needs.items()}
    try:
        with remote_options(**asked, max_retries=LOST_WORKERS):
            yield
    except ray.exceptions.RayError as error:
        why = str(error).strip().partition("\n")[0]
        raise StageFailed(
            f"{job.stage} of {job.partition} lost its Ray workers more than {LOST_WORKERS} times ({why}); "
            "see to the cluster and run it again: finished shards are kept"
        ) from error


OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
UNITS = {"CPU": "cores", "GPU": "GPUs", "memory": "bytes of memory"}


def needs_of(job: Job) -> dict[str, float]:
    """What Ray is to set aside for each task of a stage, by Ray's names of resources: the most that any
    of the stage's methods declares. A curation on `device: cuda` takes a GPU a task."""
    section = getattr(job.curation, job.stage, None)
    methods = [*methods_in(section), *([job.curation.source] if job.stage == "ingest" else [])]
    needs = {"CPU": max((method.cpus for method in methods), default=1)}
    if memory := max((method.memory or 0 for method in methods), default=0):
        needs["memory"] = memory
    if job.curation.device == "cuda":
        needs["GPU"] = 1
    return needs


def methods_in(section: Any) -> list[Method]:
    """The methods that a section of a curation names, at any depth."""
    if isinstance(section, Method):
        return [section]
    fields = [value for _, value in section] if isinstance(section, Section) else section
    return [m for field in fields for m in methods_in(field)] if isinstance(fields, list | tuple) else []


def log_line(plan: Plan, job: Job, refs: dict[str, TableRef], info: dict[str, Any]) -> None:
    """One line a stage, in logfmt; rows are those of its main table, bytes those of all its files."""
    fields = {
        "stage": plan.stage,
        "partition": plan.partition,
        "rows": refs[STAGES[plan.stage].table].rows,
        "seconds": round(info["seconds"], 3),
        "bytes": sum(job.store.size(ref) for ref in refs.values()),
        "shards": info["shards"],
        "computed": info["computed"],
        "reason": plan.reason,
    }
    get_run_logger().info("%s", logfmt(fields))


def logfmt(fields: dict[str, Any]) -> str:
    """`name=value` pairs; values that hold spaces, quotes or an equals sign stand in double quotes."""
    values = {name: str(value) for name, value in fields.items()}
    plain = re.compile(r'[^\s"=\\]+')
    return " ".join(
        f"{name}={value if plain.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
    )


def show(plan: Plan, refs: dict[str, TableRef]) -> None:
    """One table artifact a stage."""
    rows = [{"table": t, "rows": r.rows, "version": r.version, "content": r.content} for t, r in refs.items()]
    create_table_artifact(
        key=key_of(f"{plan.stage} {plan.partition}"),
        table=rows,
        description=f"{plan.stage} of {plan.partition}: {plan.reason}",
    )


def deal(items: Sequence[T], tasks: int) -> list[list[T]]:
    """Contiguous groups of nearly equal size, at most `tasks` of them."""
    n = min(len(items), tasks)
    return [list(items[len(items) * i // n : len(items) * (i + 1) // n]) for i in range(n)]


def key_of(text: str) -> str:
    """An artifact key: Prefect takes lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@cache
def single_threaded() -> None:
    """One thread in every numerical library: float sums depend on the count, and workers fill the cores.

    Wherever a task runs. The environment is for libraries that a method loads only later.
    """
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(limits=1)


ingest = partial(run_stage, "ingest")
teach = partial(run_stage, "teach")
detect = partial(run_stage, "detect")
relabel = partial(run_stage, "relabel")
reinforce = partial(run_stage, "reinforce")
distill = partial(run_stage, "distill")
report = partial(run_stage, "report")
