"""Partitions of a small data set, curated stage by stage in this process without Prefect. No tests here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from storage.store import Store
from tasks.config import Curation
from tasks.plan import Planner, enabled
from tasks.stages import STAGES


def points_in(folder: Path, nights: Mapping[str, Sequence[str]]) -> Path:
    """For each night a file of four-dimensional points, one a label given, each class about a corner of
    its own; the template that a source finds them by. A label "" is none."""
    corners = {name: np.eye(4)[i] * 4 for i, name in enumerate("abcd")} | {"": np.zeros(4)}
    folder.mkdir(parents=True, exist_ok=True)
    for number, (night, labels) in enumerate(sorted(nights.items())):
        random = np.random.default_rng([number, len(labels)])
        points = np.array([corners[label] for label in labels]) + random.normal(size=(len(labels), 4))
        np.savez(
            folder / f"{night}.npz", x=points.astype(np.float32), y=np.array([f"{label}" for label in labels])
        )
    return folder / "{partition}.npz"


def curation(folder: Path, nights: Mapping[str, Sequence[str]], **changes: Any) -> Curation:
    """A curation of such points, with its store in `folder`. `changes` are other keys of it; `teachers`,
    `refit` and `ensemble` go to teach."""
    teach = {key: changes.pop(key) for key in ("teachers", "refit", "ensemble") if key in changes}
    return Curation.model_validate(
        {
            "dataset": "points",
            "store": str(folder / "store"),
            "source": {
                "kind": "numpy",
                "path": str(points_in(folder / "in", nights)),
                "features": "x",
                "feature_length": 4,
                "label": "y",
            },
            "classes": list("abcd"),
            "ingest": {"encoder": {"kind": "features"}},
            "teach": {"teachers": [{"kind": "linear"}], "folds": 3, **teach},
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            "reinforce": {"kind": "jitter", "draws": 1},
            "distill": {"kind": "random", "per_class": 2},
            **changes,
        }
    )


UP_TO_REINFORCE = ("ingest", "teach", "detect", "relabel", "reinforce", "distill")


def bring_up_to_date(
    made: Curation, partitions: Iterable[str], stages: Sequence[str] = UP_TO_REINFORCE
) -> dict[str, list[str]]:
    """Run what is not up to date, partition by partition; the parts of teach that each one fitted."""
    fitted: dict[str, list[str]] = {}
    for partition in partitions:
        for stage in enabled(made):
            if stage.name in stages:
                parts = run(made, partition, stage.name)
                if stage.name == "teach":
                    fitted[partition] = parts
    return fitted


def run(made: Curation, partition: str, name: str) -> list[str]:
    """One stage of a partition, unless it is up to date; the parts that were fitted."""
    stage, store = STAGES[name], Store(made.store, made.dataset).open(create=True)
    planner = Planner(made, store)
    plan = planner.stage(stage, partition)
    job = planner.job(plan)
    assert job is not None, plan.reason
    if plan.verdict == "up to date":
        return []
    fitted = []
    for part in chain.from_iterable(stage.rounds(job)):
        if not store.has_state(*stage.place(job, part)):
            state = stage.fit(job, part)
            store.save_state(*stage.place(job, part), state.arrays, state.info)
            fitted.append(part)
    spans = stage.spans(job)
    versions = {table: store.version(table) for table in stage.tables}
    for span in spans:
        for table, data in stage.apply(job, *span).items():
            store.write_shard(table, partition, job.fingerprint, *span, data)
    info = {"parts": dict(plan.parts), "states": stage.states_used(job)}
    for table in stage.tables:
        store.commit(table, partition, job.fingerprint, spans, job.parents, info, versions[table])
    return fitted


def contents(made: Curation) -> dict[str, str]:
    """The content hash of every partition of every table."""
    store = Store(made.store, made.dataset)
    return {
        f"{table} {ref.partition}": ref.content
        for stage in STAGES.values()
        for table in stage.tables
        for ref in store.refs(table)
    }


def forget_states(made: Curation) -> None:
    """Delete every state, as a crash or an eager hand might."""
    with contextlib.suppress(FileNotFoundError):
        for path in Path(made.store, made.dataset, "_states").rglob("*.safetensors"):
            path.unlink()
