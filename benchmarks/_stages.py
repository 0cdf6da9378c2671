"""A night of a curation stage by stage in this process, without Prefect, for benchmarks of methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._data import fashion_mnist
from storage.store import Store
from tasks.config import Curation
from tasks.plan import Planner
from tasks.stages import STAGES
from tasks.stages.base import Job


def job_of(curation: Curation, night: str, name: str) -> tuple[Job, bool]:
    """A stage of a night, and whether there is anything to do."""
    planner = Planner(curation, Store(curation.store, curation.dataset).open(create=True))
    plan = planner.stage(STAGES[name], night)
    job = planner.job(plan)
    assert job is not None, plan.reason
    return job, plan.verdict != "up to date"


def carry_out(curation: Curation, night: str, names: Sequence[str]) -> list[str]:
    """Brings stages of a night up to date; the parts that were fitted."""
    fitted: list[str] = []
    for name in names:
        job, stale = job_of(curation, night, name)
        if stale:
            fitted += carried_out(job)
    return fitted


def carried_out(job: Job) -> list[str]:
    stage, store = STAGES[job.stage], job.store
    fitted = []
    for parts in stage.rounds(job):
        for part in parts:
            if not store.has_state(*stage.place(job, part)):
                state = stage.fit(job, part)
                store.save_state(*stage.place(job, part), state.arrays, state.info)
                fitted.append(part)
    versions = {table: store.version(table) for table in stage.tables}
    spans = stage.spans(job)
    for span in spans:
        for table, data in stage.apply(job, *span).items():
            store.write_shard(table, job.partition, job.fingerprint, *span, data)
    info = {"states": stage.states_used(job)}
    for table, version in versions.items():
        store.commit(table, job.partition, job.fingerprint, spans, job.parents, info, version)
    return fitted


UP_TO_RELABEL = ("ingest", "teach", "detect", "relabel")


def fashion(folder: Path, dataset: str, nights: dict[str, np.ndarray], **changes: Any) -> Curation:
    """Rows of Fashion-MNIST's training file by night, and a curation of them with cheap teachers."""
    missing = {night: rows for night, rows in nights.items() if not (folder / f"{night}.npz").exists()}
    if missing:
        found = fashion_mnist("train")
        for night, rows in missing.items():
            np.savez(folder / f"{night}.npz", image=found.images[rows], label=found.labels[rows])
    source = {"kind": "numpy", "path": str(folder / "{partition}.npz"), "image_shape": [28, 28, 1]}
    return Curation.model_validate(
        {
            "dataset": dataset,
            "store": str(folder / "store"),
            "source": {**source, "image": "image", "label": "label"},
            "classes": [str(label) for label in range(10)],
            "ingest": {"encoder": {"kind": "convnet_embedding"}},
            "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            **changes,
        }
    )
