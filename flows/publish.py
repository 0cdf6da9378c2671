"""Publish: gates decide whether readers see the new versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows.alerts import alert
from storage import releases
from storage.leases import live
from storage.releases import HELD, PUBLISHED, Kept, Release
from storage.store import Store, TableRef
from tasks.errors import Held
from tasks.gates import Evidence, Figures, Measured, Outcome, judge
from tasks.gates.standard import expanded
from tasks.plan import Planner
from tasks.redaction import discreet
from tasks.stage import Run, key_of
from tasks.stages import STAGES

MADE = tuple(table for stage in STAGES.values() for table in stage.tables)
"""The tables that stages make; what people decide becomes news once relabel has read it."""


@task(task_run_name="publish {run.partition}", cache_policy=NO_CACHE, persist_result=False)
@discreet
def publish(run: Run, report: TableRef | None) -> Release | None:
    """Release the tables as they stand, unless a release already holds them: rolling back makes none.

    `report` is the partition's figures, which must be there first. A release that fails a gate is kept
    as held, for inspection; readers keep the last good one. Raises Held with the figures. A gate that
    keeps a table lets the release pass without the partition's new rows of that table.
    None while another partition is half-way: the run that brings it to its end publishes both.
    """
    store = run.store
    release = releases.standing(store)
    failed: list[Check] = []
    refused_before = {each.partition for each in release.kept} if release else set()
    if release is None or release.status == HELD or run.partition in refused_before:
        fresh = sorted({*unseen(store), *({run.partition} & refused_before)})
        wholes = {p: whole(run, p) for p in fresh if p != run.partition}
        halves = {partition: check for partition, check in wholes.items() if not check.outcome.passed}
        under_way = [partition for partition in halves if live(store, partition)]
        if under_way:
            get_run_logger().info("%s is left to the run of %s to publish", run.partition, under_way[0])
            return None
        # A night without a row has no figures to judge.
        measured = [p for p in fresh if p not in halves and store.ref("metrics", p)]
        checks = [*halves.values(), *judged(run, measured)]
        failed = [check for check in checks if check.holds]
        kept = kept_back(store, checks, measured)
        rows = [check.row(kept) for check in checks]
        status = HELD if failed else PUBLISHED
        # Held or refused as it stands before: judged again, since gates may have changed, but told once.
        same = release is not None and (release.status, release.kept) == (status, kept)
        if release is None or not same or (failed and list(release.checks) != rows):
            name = runtime.flow_run.name
            versions = releases.versions(store)
            number = releases.publish(store, run.partition, name, rows, versions, status, kept)
            release = releases.get(store, number)
            for check in checks:
                if check.refused:
                    get_run_logger().warning("%s", refusal(check, kept))
            if failed:
                figures = {check.name: check.outcome.value for check in failed}
                text = held(run.partition, number, failed)
                alert(run.curation, "held", text, run.partition, number, figures, runtime.flow_run.id)
            arrived = store.ref("rows", run.partition)
            if arrived is not None and not arrived.rows:
                text = f"{run.partition} brought no row that can be used"
                alert(run.curation, "empty", text, run.partition, number, run=runtime.flow_run.id)
    create_markdown_artifact(
        key=key_of(f"{run.curation.dataset} {run.partition}"),
        markdown=page(run, release, store.report_path(run.partition)),
        description=f"{run.curation.dataset} {run.partition}",
    )
    if failed:
        raise Held(held(run.partition, release.number, failed))
    return release


@dataclass(frozen=True)
class Check:
    """A gate's outcome on one partition; `name` says which unless it is the run's own."""

    name: str
    outcome: Outcome
    partition: str

    @property
    def failed(self) -> bool:
        return not self.outcome.passed and not self.outcome.waived

    @property
    def holds(self) -> bool:
        """Whether it holds the release back."""
        return self.failed and not self.outcome.keeps

    @property
    def refused(self) -> bool:
        """Whether readers do not get the new rows of one table."""
        return self.failed and bool(self.outcome.keeps)

    def row(self, kept: Sequence[Kept]) -> dict[str, Any]:
        """As a release stores it."""
        stays = staying(self, kept) if self.refused else ""
        bound = "; ".join(filter(None, (self.outcome.bound, self.outcome.waived, stays)))
        return {
            "name": self.name,
            "value": self.outcome.value,
            "bound": bound,
            "passed": self.outcome.passed,
        }


def unseen(store: Store) -> list[str]:
    """The partitions of which readers do not have all data yet. A night that was held, or that ended
    half-way, stays one of them, so that the next good night does not publish it along with itself."""
    release = releases.published(store)
    fresh: set[str] = set()
    for table in MADE:
        version = release.versions.get(table) if release else None
        seen = store.refs(table, version=version) if version is not None else []
        known = {(ref.partition, ref.content) for ref in seen}
        fresh |= {ref.partition for ref in store.refs(table) if (ref.partition, ref.content) not in known}
    return sorted(fresh)


def whole(run: Run, partition: str) -> Check:
    """Whether every stage of a partition belongs to the ones before it."""
    plans = Planner(run.curation, run.store).partition(partition)
    done = sum(plan.verdict == "up to date" for plan in plans)
    outcome = Outcome("stages_up_to_date", float(done), f"at least {len(plans)}", done == len(plans))
    return Check(f"{partition} {outcome.metric}", outcome, partition)


def judged(run: Run, partitions: list[str]) -> list[Check]:
    """The gates on the figures of each of these partitions."""
    gates, today = expanded(run.curation), datetime.now(UTC).date()
    length = max((gate.history for gate in gates), default=0)
    release = releases.published(run.store) if gates and partitions else None
    found = []
    for partition in partitions:
        place = "" if partition == run.partition else f"{partition} "
        for outcome in judge(gates, evidence(run.store, partition, release, length), today):
            found.append(Check(f"{place}{outcome.metric}", outcome, partition))
    return found


def evidence(store: Store, partition: str, release: Release | None, length: int) -> Evidence:
    """A partition's figures, those of at most `length` partitions before it by name as they would be
    published now, and those of the last release: of the partition itself, else of the one before it."""
    *earlier, own = store.refs("metrics", up_to=partition, last=length + 1)
    version = release.versions.get("metrics") if release else None
    last = store.refs("metrics", up_to=partition, last=1, version=version) if version is not None else []
    return Evidence(
        figures_of(store, own),
        [figures_of(store, ref) for ref in earlier],
        figures_of(store, last[0]) if last else None,
    )


def figures_of(store: Store, ref: TableRef) -> Figures:
    rows = store.read(ref, ["name", "value", "unit"]).to_pylist()
    return {row["name"]: Measured(row["value"], row["unit"]) for row in rows if row["value"] is not None}


def kept_back(store: Store, checks: Sequence[Check], measured: Sequence[str]) -> tuple[Kept, ...]:
    """What readers do not get as it stands: what gates refuse now, and what was refused before of
    partitions that nobody has judged again since."""
    release = releases.published(store)
    before = {(each.table, each.partition): each for each in release.kept} if release else {}
    found = {place: each for place, each in before.items() if each.partition not in measured}
    for check in checks:
        place = (check.outcome.keeps, check.partition)
        if check.refused and store.ref(*place):
            found[place] = before.get(place) or Kept(*place, seen_at(store, release, *place))
    return tuple(found[place] for place in sorted(found))


def seen_at(store: Store, release: Release | None, table: str, partition: str) -> int | None:
    """The version of a table at which readers have a partition of it now."""
    version = release.versions.get(table) if release else None
    names = [ref.partition for ref in store.refs(table, version=version)] if version is not None else []
    return version if partition in names else None


def staying(check: Check, kept: Sequence[Kept]) -> str:
    """What readers have in the place of what was refused."""
    table = check.outcome.keeps
    own = [each.version for each in kept if (each.table, each.partition) == (table, check.partition)]
    if own and own[0] is not None:
        return f"{table} stays as it was"
    return f"{table} stays as it was in the partitions before"


def refusal(check: Check, kept: Sequence[Kept]) -> str:
    """Why readers do not get the new rows of a table."""
    value, bound = shown(check.outcome.value), check.outcome.bound
    return (
        f"{check.outcome.keeps} of {check.partition} is not published: {check.outcome.metric} is {value}, "
        f"must be {bound}; {staying(check, kept)}"
    )


def held(partition: str, number: int, failed: list[Check]) -> str:
    """Why readers do not get a release, and how to look at it."""
    figures = "; ".join(
        f"{check.name} is {shown(check.outcome.value)}, must be {check.outcome.bound}" for check in failed
    )
    return (
        f"release {number} of {partition} is held: {figures}; "
        f"look at it with `winnow sql … --release {number}`"
    )


def page(run: Run, release: Release, report: str | None) -> str:
    """The partition's page in the Prefect UI."""
    lines = [
        f"# {run.curation.dataset} {run.partition}",
        f"Release {release.number}: {release.status}. [Report]({report})",
    ]
    if release.checks:
        rows = [
            f"| {check['name']} | {shown(check['value'])} | {cell(check['bound'])} | "
            f"{'yes' if check['passed'] else '**no**'} |"
            for check in release.checks
        ]
        lines.append("\n".join(["| gate | value | bound | passed |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(lines)


def cell(text: str) -> str:
    """Somebody's words in a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
