"""Nightly: every partition that has arrived and is not curated as the curation says now."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.backfill import Only, backfill_partitions, select
from storage.store import Store
from tasks.config import load


@flow(name="nightly", persist_result=False)
def nightly(curation: str, only: Only = "missing") -> list[str]:
    """Curate what has arrived since the last night, oldest first; the partitions done.

    curation: the path of the YAML. only: `missing` leaves partitions alone that were curated by an
    older configuration; `stale` redoes those too.
    """
    loaded = load(curation)
    chosen = select(loaded, Store(loaded.store, loaded.dataset), only=only)
    if not chosen:
        get_run_logger().info("%s: no partition to curate", loaded.dataset)
    return backfill_partitions(loaded, [choice.partition for choice in chosen])
