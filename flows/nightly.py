"""Nightly: every partition that has arrived and is not curated as the curation says now."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.backfill import Only, arrived, backfill_partitions
from tasks.config import load


@flow(name="nightly", persist_result=False)
def nightly(curation: str, only: Only = "missing") -> list[str]:
    """Curate what has arrived since the last night, oldest first; the partitions done.

    curation: the path of the YAML. only: `missing` leaves partitions alone that were curated by an
    older configuration; `stale` redoes those too.
    """
    loaded = load(curation)
    done: list[str] = backfill_partitions(loaded, arrived(loaded), only)
    get_run_logger().info("%s: curated %s", loaded.dataset, ", ".join(done) or "nothing, all is up to date")
    return done
