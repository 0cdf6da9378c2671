"""Publish: gates decide whether readers see the new versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage import releases
from storage.leases import live
from storage.releases import HELD, PUBLISHED, Release
from storage.store import Store, TableRef
from tasks.errors import StageFailed
from tasks.gates import describe, judge
from tasks.plan import plan_partition
from tasks.stage import Run, key_of
from tasks.stages import STAGES

MADE = tuple(table for stage in STAGES.values() for table in stage.tables)
"""The tables that stages make; what people decide becomes news once relabel has read it."""


@task(task_run_name="publish {run.partition}", cache_policy=NO_CACHE, persist_result=False)
def publish(run: Run, report: TableRef | None) -> Release | None:
    """Release the tables as they stand, unless a release already holds them: rolling back makes none.

    `report` is the partition's figures, which must be there first. A release that fails a gate is kept
    as held, for inspection; readers keep the last good one. Raises StageFailed with the figures.
    None while another partition is half-way: the run that brings it to its end publishes both.
    """
    store = run.store
    release = releases.standing(store)
    if release is None:
        fresh = unseen(store)
        wholes = {p: whole(run, p) for p in fresh if p != run.partition}
        halves = {partition: check for partition, check in wholes.items() if not check["passed"]}
        under_way = [partition for partition in halves if live(store, partition)]
        if under_way:
            get_run_logger().info("%s is left to the run of %s to publish", run.partition, under_way[0])
            return None
        checks = [*halves.values(), *(found for p in fresh if p not in halves for found in checked(run, p))]
        status = PUBLISHED if all(check["passed"] for check in checks) else HELD
        number = releases.publish(
            store, run.partition, runtime.flow_run.name, checks, releases.versions(store), status
        )
        release = releases.get(store, number)
    create_markdown_artifact(
        key=key_of(f"{run.curation.dataset} {run.partition}"),
        markdown=page(run, release, store.report_path(run.partition)),
        description=f"{run.curation.dataset} {run.partition}",
    )
    if release.status == HELD:
        raise StageFailed(held(run.partition, release))
    return release


def unseen(store: Store) -> list[str]:
    """The partitions of which readers do not have all data yet. A night that was held, or that ended
    half-way, stays one of them, so that the next good night does not publish it along with itself."""
    release = releases.published(store)
    files: set[str] = set()
    for table in MADE:
        version = release.versions.get(table) if release else None
        known = store.file_uris(table, version) if version is not None else []
        files |= set(store.file_uris(table)) - set(known)
    return sorted({Path(file).parent.name.removeprefix("partition=") for file in files})


def whole(run: Run, partition: str) -> dict[str, Any]:
    """Whether every stage of a partition belongs to the ones before it, as a check."""
    plans = plan_partition(run.curation, run.store, partition)
    done = sum(plan.verdict == "up to date" for plan in plans)
    return {
        "name": f"{partition} stages_up_to_date",
        "value": float(done),
        "bound": f"at least {len(plans)}",
        "passed": done == len(plans),
    }


def checked(run: Run, partition: str) -> list[dict[str, Any]]:
    """The gates on one partition's figures; those of other partitions carry its name."""
    ref = run.store.ref("metrics", partition)
    assert ref is not None
    figures = run.store.read(ref, ["name", "value"]).to_pydict()
    place = "" if partition == run.partition else f"{partition} "
    return [
        {"name": f"{place}{gate.metric}", "value": gate.value, "bound": describe(gate), "passed": gate.passed}
        for gate in judge(run.curation.gates, dict(zip(figures["name"], figures["value"], strict=True)))
    ]


def held(partition: str, release: Release) -> str:
    """Why readers do not get a release, and how to look at it."""
    failed = [check for check in release.checks if not check["passed"]]
    figures = "; ".join(
        f"{check['name']} is {shown(check['value'])}, must be {check['bound']}" for check in failed
    )
    return (
        f"release {release.number} of {partition} is held: {figures}; "
        f"look at it with `winnow sql … --release {release.number}`"
    )


def page(run: Run, release: Release, report: str | None) -> str:
    """The partition's page in the Prefect UI."""
    lines = [
        f"# {run.curation.dataset} {run.partition}",
        f"Release {release.number}: {release.status}. [Report]({report})",
    ]
    if release.checks:
        rows = [
            f"| {c['name']} | {shown(c['value'])} | {c['bound']} | {'yes' if c['passed'] else '**no**'} |"
            for c in release.checks
        ]
        lines.append("\n".join(["| gate | value | bound | passed |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(lines)


def shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
