"""The whole pipeline: one partition from ingest to release.

What travels from verb to verb is a `TableRef`, a few hundred bytes; data goes from table to table.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from prefect import flow, runtime

from flows.alerts import telling
from flows.publish import publish
from storage.leases import Lease, lease
from storage.releases import Release
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.redaction import discreet
from tasks.stage import Run, detect, distill, ingest, reinforce, relabel, report, run_stage, teach


@flow(flow_run_name="{curation.dataset} {partition}", persist_result=False)
@discreet
def curate(curation: Curation, partition: str, force: bool = False) -> Release | None:
    """Curate one partition and publish the result; None where another run under way will publish it."""
    with telling(curation, partition, runtime.flow_run.id), alone(curation, partition) as held:
        run = Run(curation, partition, held, force)
        rows = ingest(run)
        soft = teach(run, rows)
        issues = detect(run, rows, soft)
        labels = relabel(run, rows, soft, issues)
        views = reinforce(run, rows, soft, labels)
        core = distill(run, rows, soft, labels)
        return publish(run, report(run, rows, soft, issues, labels, views, core))


@flow(flow_run_name="{curation.dataset} {partition} {stage}", persist_result=False)
@discreet
def one_stage(curation: Curation, partition: str, stage: str, force: bool = False) -> TableRef | None:
    """Bring a single stage up to date from what earlier stages left, and publish nothing."""
    with alone(curation, partition) as held:
        return run_stage(stage, Run(curation, partition, held, force))


def alone(curation: Curation, partition: str) -> AbstractContextManager[Lease]:
    """The lease on a partition. Raises Busy, which says who has it, when somebody does."""
    store = Store(curation.store, curation.dataset).open(create=True)
    return lease(store, partition, wait_seconds=0, holder_text=f"run {runtime.flow_run.name}")
