"""Publish: gates decide whether readers see the new versions."""

from __future__ import annotations

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from storage import releases
from storage.releases import HELD, PUBLISHED, Release
from storage.store import Store, TableRef
from storage.tables import TABLES
from tasks.errors import StageFailed
from tasks.gates import describe, judge
from tasks.stage import Run, key_of


@task(task_run_name="publish {run.partition}", cache_policy=NO_CACHE, persist_result=False)
def publish(run: Run, report: TableRef | None) -> Release:
    """Release the tables as they stand, unless the newest release already holds them.

    A release that fails a gate is kept as held, for inspection; readers keep the last good one.
    Raises StageFailed with the figures.
    """
    store = run.store
    assert report is not None, "every curation has a report"
    versions = {
        name: version
        for name in TABLES
        if name != "releases" and (version := store.version(name)) is not None
    }
    release = released(store, versions)
    if release is None:
        metrics = store.read([report], ["name", "value"]).to_pydict()
        outcomes = judge(run.curation.gates, dict(zip(metrics["name"], metrics["value"], strict=True)))
        checks = [
            {"name": gate.metric, "value": gate.value, "bound": describe(gate), "passed": gate.passed}
            for gate in outcomes
        ]
        status = PUBLISHED if all(gate.passed for gate in outcomes) else HELD
        number = releases.publish(store, run.partition, runtime.flow_run.name, checks, versions, status)
        release = releases.get(store, number)
    create_markdown_artifact(
        key=key_of(f"{run.curation.dataset} {run.partition}"),
        markdown=page(run, release, store.report_path(run.partition)),
        description=f"{run.curation.dataset} {run.partition}",
    )
    if release.status == HELD:
        raise StageFailed(held(run.partition, release))
    return release


def released(store: Store, versions: dict[str, int]) -> Release | None:
    """The newest release of exactly these versions, published or held; rolling back makes no new one."""
    return next((found for found in reversed(releases.listing(store)) if found.versions == versions), None)


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
