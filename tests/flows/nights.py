"""Nights that are curated as far as the planner can tell, without running anything. For tests."""

from __future__ import annotations

from pathlib import Path

from storage.classes import extend
from storage.store import Store
from tasks.config import Curation, load
from tasks.plan import Planner, enabled
from tests.flows.cli_stores import CURATION, night_of, put

NIGHTS = [f"2026-01-0{day}" for day in range(1, 6)]


def data_set(folder: Path, extra: str = "window: partition\n") -> tuple[Path, Curation, Store]:
    """Five nights that have arrived, none curated; no night reads another."""
    path = folder / "digits.yaml"
    path.write_text(CURATION.replace("days: 3", "days: 5") + extra)
    curation = load(path)
    store = Store(curation.store, curation.dataset).open(create=True)
    extend(store, curation.vocabulary or ())
    return path, curation, store


def curate(curation: Curation, store: Store, *nights: str) -> None:
    """Leave in the store what all stages would have left."""
    for number, night in enumerate(nights):
        tables = night_of(1000 * int(night[-2:]) + number)
        for stage in enabled(curation):
            planner = Planner(curation, store)
            plan = planner.stage(stage, night)
            job = planner.job(plan)
            assert job is not None
            for table in stage.tables:
                put(store, table, night, tables[table], job.fingerprint, dict(plan.parts))
