"""`winnow plan`, `run`, `backfill` and `nightly`: decide from fingerprints, and import Prefect only with
work to do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows import nightly, server, show
from flows.alerts import telling
from flows.backfill import Tally, Work, backfill_work, carry_out, in_turn, recorded
from flows.engine import quiet, require_runner, task_runner
from flows.jobs import Outcome
from flows.selection import Choice, Selection, choose, estimates, look, named
from storage import releases
from storage.ledger import Ledger
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.errors import BadInput, Cancelled, StageFailed
from tasks.plan import Planner, enabled
from tasks.stages import STAGES
from tasks.stages.base import Stage


def show_plan(curation: Curation, store: Store, first: str | None, last: str | None) -> None:
    """Every stage of the partitions in the range: what would happen to it, and why."""
    selection = Selection(first=first, last=last, only="all")
    choices = choose(curation, store, selection)
    if not choices:
        nothing(curation, selection)
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
        report = store.report_path(partition)
        show.line(f"report: {store.address(report)}" if report else "there is nothing to report")


def curate_partition(curation: Curation, store: Store, partition: str, force: bool, verbose: bool) -> bool:
    """Curate and publish one partition; whether there was anything to do."""
    require_arrived(curation, partition)
    release = releases.standing(store)
    choice = look(Planner(curation, store), [partition])[0]
    if release and release.readable and not force and not choice.stages:
        show.line(f"{curation.dataset} {partition} is up to date (release {release.number})")
        return False
    require_runner(curation)
    quiet(verbose)
    server.begin()
    from flows.curate import curate

    def work() -> Outcome:
        release = curate.with_options(task_runner=task_runner(curation))(curation, partition, force)
        return Outcome("done", release=release.number if release else None)

    before = refs(curation, store, partition)
    server.ready()
    number = recorded(store, partition, {"force": force}, choice, work).release
    show_result(curation, store, partition, before)
    elsewhere = "curated; the run of another partition publishes it"
    where = elsewhere if number is None else f"in release {number}"
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
    plan = Planner(curation, store).stage(stages[name], partition)
    if plan.inputs is None:
        raise BadInput(f"{name} of {partition} {plan.reason}; run it without --stage to run all of them")
    if plan.verdict == "up to date" and not force:
        show.line(f"{curation.dataset} {partition} {name} is up to date ({plan.reason})")
        return
    require_runner(curation)
    quiet(verbose)
    server.begin()
    from flows.curate import one_stage

    def work() -> Outcome:
        ref = one_stage.with_options(task_runner=task_runner(curation))(curation, partition, name, force)
        return Outcome("done", rows=ref.rows if ref else None)

    before = refs(curation, store, partition)
    server.ready()
    recorded(store, partition, {"force": force, "stage": name}, Choice(partition, [plan]), work)
    show_result(curation, store, partition, before, [stages[name]])
    show.line("nothing is published until the whole partition has run")


def selected(*, partitions: list[str], file: Path | None, **asked: Any) -> Selection:
    """What `winnow backfill` was asked for. Raises BadInput."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{file} cannot be read ({error}); give a text file, a partition a line") from None
        partitions = [*partitions, *lines]
        if not partitions:
            raise BadInput(f"{file} is empty; give a partition a line")
    try:
        return Selection(partitions=tuple(partitions), **asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = {"first": "--from", "last": "--to", "partitions": "--partition"}.get(
            str(first["loc"][0]), f"--{first['loc'][0]}"
        )
        raise BadInput(f"{place} {first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def run_backfill(
    curation: Curation,
    store: Store,
    selection: Selection,
    jobs: int,
    fail_fast: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Curate those partitions of the selection that need it."""
    for note in named(curation, selection)[1]:
        show.line(note)
    work = backfill_work(curation, store, selection, jobs, fail_fast)
    if not work.choices:
        nothing(curation, selection)
    elif dry_run:
        show_choices(store, work.choices)
    else:
        if in_order := in_turn(curation, work):
            show.line(in_order)
        carry_out_here(curation, store, work, verbose)


def run_night(curation: Curation, store: Store, jobs: int, dry_run: bool, verbose: bool) -> None:
    """Do what the deployed night does."""
    with telling(curation):
        absent = nightly.nothing_arrived(curation)
        night = nightly.decide(curation, store, jobs)
    if left := nightly.left_alone(curation, night):
        show.line(left)
    if not night.work.choices:
        show.line(absent or f"nothing to do: all of {curation.dataset} that arrived is curated")
    elif dry_run:
        show_choices(store, night.work.choices)
    if not dry_run:
        nightly.alert_of(curation, night, absent)
    if night.work.choices and not dry_run:
        carry_out_here(curation, store, night.work, verbose)
    if absent and curation.empty_night == "fail":
        raise StageFailed(absent)


def carry_out_here(curation: Curation, store: Store, work: Work, verbose: bool) -> None:
    """Carry work out as a flow of this process, so that Prefect shows it; Ctrl-C and SIGTERM cancel it."""
    require_runner(curation)
    quiet(verbose)
    server.begin()

    def shown(run: str, go: Callable[[], Tally]) -> Tally:
        from prefect import flow

        from tasks.redaction import discreet

        server.ready()
        return flow(name=work.kind, flow_run_name=run, persist_result=False)(discreet(go))()

    heard = threading.current_thread() is threading.main_thread()
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler) if heard else None
    try:
        done = carry_out(curation, store, work, shown)
    except KeyboardInterrupt:
        raise Cancelled(
            f"{work.kind} of {curation.dataset} was cancelled; `winnow status` shows how far it is, the same "
            "command again goes on from there"
        ) from None
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)
    tell(store, done)


def tell(store: Store, tally: Tally) -> None:
    """How a run ended in which nothing failed."""
    for partition in tally.of("skipped"):
        show.line(f"skipped: {tally.outcomes[partition].error}")
    release = releases.published(store)
    number = f"; release {release.number} is published" if release else ""
    show.line(f"{show.plural(len(tally.of('done')), 'partition')} curated{number}")


def show_choices(store: Store, choices: Sequence[Choice]) -> None:
    """What would run, why, and how long it may take."""
    seconds = estimates(Ledger(store), choices)
    rows = zip(choices, seconds, strict=True)
    show.table(
        ("partition", "reason", "estimate"),
        ((choice.partition, choice.reason, duration(expected)) for choice, expected in rows),
    )
    known = [expected for expected in seconds if expected is not None]
    total = f", about {duration(sum(known))} one after the other" if known else ""
    show.line(f"{show.plural(len(choices), 'partition')} would run{total}")


def duration(seconds: float | None) -> str:
    """Seconds as people say them; unknown is empty."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def nothing(curation: Curation, selection: Selection) -> None:
    """Say that a selection comes to nothing."""
    first, last, only = selection.first, selection.last, selection.only
    between = [f"from {first}"] * bool(first) + [f"to {last}"] * bool(last)
    which = " ".join([curation.dataset, *between])
    what = "has no partition" if only == "all" else f"has no {only} partition: nothing to do"
    show.line(f"{which} {what} (the source holds {listed(curation.source.partitions())})")


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
        if stage.name not in now:
            show.line(f"{partition} brought no usable row, so there is nothing to {stage.name}")
            break
        ref, old = now[stage.name], before.get(stage.name)
        news = old is None or old.content != ref.content
        seconds = store.info(ref).get("seconds")
        took = f"{seconds:.1f}" if seconds is not None else ""
        rows.append((stage.name, f"{ref.rows:,}", took, "new" if news else "unchanged"))
    show.table(("stage", "rows", "seconds", "content"), rows)
