"""The flows that `prefect.yaml` deploys: they take a curation's path, so their forms are typed."""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from pydantic import BaseModel, Field

from flows.backfill import Only, Order, arrived, backfill_partitions
from flows.curate import curate, one_stage
from flows.engine import task_runner
from tasks.config import NAME, load

StageName = Literal["ingest", "teach", "detect", "relabel", "reinforce", "distill", "report"]


class Target(BaseModel):
    """One partition of one curation."""

    curation: str = Field(description="path of the curation's YAML, as the worker sees it")
    partition: Annotated[str, Field(pattern=NAME)] = Field(description="for instance 2026-11-22")
    force: bool = Field(False, description="compute again what is up to date")


class Range(BaseModel):
    """A run of partitions of one curation."""

    curation: str = Field(description="path of the curation's YAML, as the worker sees it")
    first: Annotated[str, Field(pattern=NAME)] | None = Field(
        None, description="the oldest; all when left out"
    )
    last: Annotated[str, Field(pattern=NAME)] | None = Field(
        None, description="the newest; all when left out"
    )
    only: Only = "missing"
    order: Order = "oldest"


@flow(name="curate-partition", flow_run_name="{target.partition}", persist_result=False)
def curate_partition(target: Target) -> int | None:
    """Curate one partition; the number of the release that holds it, None where another run publishes it."""
    curation = load(target.curation)
    run = curate.with_options(task_runner=task_runner(curation))
    release = run(curation, target.partition, target.force)
    return release.number if release else None


@flow(name="backfill", flow_run_name="{range.first} to {range.last}", persist_result=False)
def backfill(range: Range) -> list[str]:
    """Curate a run of partitions; those done."""
    curation = load(range.curation)
    return backfill_partitions(curation, arrived(curation, range.first, range.last, range.order), range.only)


@flow(name="stage", flow_run_name="{stage} {target.partition}", persist_result=False)
def stage(target: Target, stage: StageName) -> int | None:
    """Bring one stage of one partition up to date; its row count."""
    curation = load(target.curation)
    run = one_stage.with_options(task_runner=task_runner(curation))
    ref = run(curation, target.partition, stage, target.force)
    return ref.rows if ref else None
