"""Distill: a small set a class, from the window's curated labels. A shard is a run of classes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.snapshot import Snapshot, Window
from tasks.config import Curation
from tasks.data import ONE, TRUSTED, Examples, ints_or_minus_one
from tasks.distill import Distilled, Distiller
from tasks.seeds import seed_of
from tasks.stages.asking import judged
from tasks.stages.base import Job, Stage, spans
from tasks.stages.reading import examples, picked


class DistillStage(Stage):
    name = "distill"
    tables = ("distilled",)
    reads_window = ("rows", "labels")

    def enabled(self, curation: Curation) -> bool:
        return curation.distill is not None

    def identity(self, curation: Curation) -> Any:
        return [method(curation).identity(), curation.device]

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, Window | None]:
        """The window's rows and labels; where the teachers are asked, also what tells where they lie."""
        found = super().inputs(curation, snapshot, partition, made)
        needed = asks_teachers(method(curation))
        return {**found, "soft_labels": snapshot.own("soft_labels", partition)} if needed else found

    def size(self, job: Job) -> int:
        return len(job.classes)

    def spans(self, job: Job) -> list[tuple[int, int]]:
        return spans(self.size(job), 1)

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        curated = trusted(job)
        tables = [distilled(job, curated, label) for label in range(start, stop)]
        return {"distilled": pa.concat_tables(tables)}


def method(curation: Curation) -> Distiller:
    assert curation.distill is not None
    return curation.distill


def asks_teachers(distiller: Distiller) -> bool:
    """Whether a class's result depends on the teachers."""
    return distiller.asks or distiller.labels == "soft" or "dynamics" in distiller.reads


def trusted(job: Job) -> Examples:
    """The window's rows under their curated labels, -1 where that cannot be relied on or learned from."""
    window = examples(job, job.inputs["rows"], method(job.curation).reads)
    decided = job.store.read(list(job.inputs["labels"]), ["label", "action"])
    assert window.trains is not None
    keep = pc.is_in(decided["action"], pa.array(TRUSTED)).to_numpy() & window.trains
    return replace(window, labels=np.where(keep, ints_or_minus_one(decided["label"]), -1))


def distilled(job: Job, curated: Examples, label: int) -> pa.Table:
    """One class as rows of the `distilled` table, none where the class has no trusted row."""
    distiller = method(job.curation)
    places = np.flatnonzero(curated.labels == label)
    rows = curated.take(places)
    seed = seed_of(job.curation.dataset, distiller.identity(), label)
    made = (
        distiller.distill(rows, partial(judged, job), seed, job.device)
        if len(rows)
        else Distilled(origins=[])
    )
    m = len(made.origins)
    images, features = payload(job, places, made)
    return pa.table(
        {
            "id": pa.array([f"{distiller.kind}-{label}-{number}" for number in range(m)], pa.string()),
            "distiller": pa.array([distiller.kind] * m, pa.string()),
            "label": pa.array(np.full(m, label, np.int32)),
            "image": images,
            "features": features,
            "classes": pa.array([[label]] * m, pa.list_(pa.int32())),
            "weights": pa.array([[ONE]] * m, pa.list_(pa.int16())),
            "origins": pa.array([list(rows.ids[origin]) for origin in made.origins], pa.list_(pa.string())),
            "tiles": pa.array([made.tiles] * m, pa.int16()),
        }
    )


def payload(job: Job, places: np.ndarray, made: Distilled) -> tuple[pa.Array, pa.Array]:
    """What the examples look like; a selection looks like the rows that it selects, `places` being
    where in the window the class's rows stand."""
    from tasks.ingest.images import encode_png

    m = len(made.origins)
    images, features = made.images, made.features
    if m and images is None and features is None:
        chosen = places[[origin[0] for origin in made.origins]]
        selected = picked(job, job.inputs["rows"], chosen, ["images", "features"])
        images, features = selected.images, selected.features
    return (
        encode_png(images) if images is not None else pa.nulls(m, pa.binary()),
        pa.array(list(features), pa.list_(pa.float32()))
        if features is not None
        else pa.nulls(m, pa.list_(pa.float32())),
    )
