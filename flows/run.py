"""`winnow plan`, `run` and `backfill`: decide from fingerprints, and import Prefect only with work to do."""

from __future__ import annotations

from flows import backfill, show
from flows.backfill import Choice, Only, Order, backfill_partitions, choose
from flows.engine import quiet, task_runner
from storage import releases
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.errors import BadInput
from tasks.plan import enabled, plan_partition, plan_stage
from tasks.stages import STAGES
from tasks.stages.base import Stage


def show_plan(curation: Curation, store: Store, first: str | None, last: str | None) -> None:
    """Every stage of the partitions in the range: what would happen to it, and why."""
    choices = arrived(curation, store, first, last, "all", "oldest")
    if not choices:
        return
    plans = [plan for choice in choices for plan in choice.plans]
    show.table(
        ("partition", "stage", "verdict", "reason"),
        ((plan.partition, plan.stage, plan.verdict, plan.reason) for plan in plans),
    )
    waiting = sum(choice.stale for choice in choices)
    show.line(f"{waiting:,} of {show.plural(len(choices), 'partition')} to run")


def run_partition(curation: Curation, store: Store, partition: str, force: bool, verbose: bool) -> None:
    """Curate and publish one partition, unless that is done, and say where its page lies."""
    if curate_partition(curation, store, partition, force, verbose):
        show.line(f"report: file://{store.report_path(partition)}")


def curate_partition(curation: Curation, store: Store, partition: str, force: bool, verbose: bool) -> bool:
    """Curate and publish one partition; whether there was anything to do."""
    require_arrived(curation, partition)
    release = releases.standing(store)
    plans = plan_partition(curation, store, partition)
    if release and release.readable and not force and all(plan.verdict == "up to date" for plan in plans):
        show.line(f"{curation.dataset} {partition} is up to date (release {release.number})")
        return False
    quiet(verbose)
    from flows.curate import curate

    before = refs(curation, store, partition)
    release = curate.with_options(task_runner=task_runner(curation))(curation, partition, force)
    show_result(curation, store, partition, before)
    where = (
        f"in release {release.number}" if release else "curated; the run of another partition publishes it"
    )
    show.line(f"{curation.dataset} {partition} is {where}")
    return True


def run_stage(
    curation: Curation, store: Store, partition: str, name: str, force: bool, verbose: bool
) -> None:
    """Bring one stage of a partition up to date, and publish nothing."""
    stages = {stage.name: stage for stage in enabled(curation)}
    if name not in STAGES:
        raise BadInput(f"there is no stage {name}; the stages are {', '.join(STAGES)}")
    if name not in stages:
        raise BadInput(f"{curation.dataset} leaves out {name}; its stages are {', '.join(stages)}")
    require_arrived(curation, partition)
    plan = plan_stage(stages[name], curation, store, partition)
    if plan.job is None:
        raise BadInput(f"{name} of {partition} {plan.reason}; run it without --stage to run all of them")
    if plan.verdict == "up to date" and not force:
        show.line(f"{curation.dataset} {partition} {name} is up to date ({plan.reason})")
        return
    quiet(verbose)
    from flows.curate import one_stage

    before = refs(curation, store, partition)
    one_stage.with_options(task_runner=task_runner(curation))(curation, partition, name, force)
    show_result(curation, store, partition, before, [stages[name]])
    show.line("nothing is published until the whole partition has run")


def run_backfill(
    curation: Curation,
    store: Store,
    first: str | None,
    last: str | None,
    only: Only,
    order: Order,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Curate those partitions of the range that `only` asks for."""
    choices = arrived(curation, store, first, last, only, order)
    if dry_run and choices:
        show.table(("partition", "reason"), ((choice.partition, choice.reason) for choice in choices))
        show.line(f"{show.plural(len(choices), 'partition')} would run")
    elif choices:
        quiet(verbose)
        names = backfill.arrived(curation, first, last, order)
        done = backfill_partitions(curation, names, only)
        release = releases.published(store)
        number = f"; release {release.number} is published" if release else ""
        show.line(f"{show.plural(len(done), 'partition')} curated{number}")


def arrived(
    curation: Curation, store: Store, first: str | None, last: str | None, only: Only, order: Order
) -> list[Choice]:
    """The partitions a range command is about; says so where there are none."""
    if first and last and first > last:
        raise BadInput(f"--from {first} comes after --to {last}; swap them")
    names = backfill.arrived(curation, first, last, order)
    choices = [choice for name in names if (choice := choose(curation, store, name)).wanted(only)]
    if not choices:
        between = [f"from {first}"] * bool(first) + [f"to {last}"] * bool(last)
        which = " ".join([curation.dataset, *between])
        what = "has no partition" if only == "all" else f"has no {only} partition: nothing to do"
        show.line(f"{which} {what} (the source holds {listed(curation.source.partitions())})")
    return choices


def require_arrived(curation: Curation, partition: str) -> None:
    """Raises BadInput for a partition that the source does not hold."""
    known = curation.source.partitions()
    if partition not in known:
        raise BadInput(f"{curation.dataset} has no partition {partition}; the source holds {listed(known)}")


def listed(partitions: list[str]) -> str:
    """Partitions in a few words."""
    if len(partitions) <= 3:
        return ", ".join(partitions) or "none"
    return f"{len(partitions):,}, {partitions[0]} to {partitions[-1]}"


def refs(curation: Curation, store: Store, partition: str) -> dict[str, TableRef]:
    """What each stage has left for the partition so far."""
    found = {stage.name: store.ref(stage.table, partition) for stage in enabled(curation)}
    return {name: ref for name, ref in found.items() if ref is not None}


def show_result(
    curation: Curation,
    store: Store,
    partition: str,
    before: dict[str, TableRef],
    stages: list[Stage] | None = None,
) -> None:
    """A row a stage: what it holds now, how long it took, and whether that is news."""
    now = refs(curation, store, partition)
    rows = []
    for stage in stages or enabled(curation):
        ref, old = now[stage.name], before.get(stage.name)
        news = old is None or old.content != ref.content
        seconds = store.info(ref).get("seconds")
        took = f"{seconds:.1f}" if seconds is not None else ""
        rows.append((stage.name, f"{ref.rows:,}", took, "new" if news else "unchanged"))
    show.table(("stage", "rows", "seconds", "content"), rows)
