"""Reinforce: K views of every kept row, each with the opinion of the teachers that never saw the row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.tables import TRANSFORM
from tasks.config import Curation
from tasks.data import Examples, SoftLabels, array_to_lists
from tasks.reinforce import Reinforcer, Transforms
from tasks.seeds import folds_of, seed_of
from tasks.stages.asking import ask, together
from tasks.stages.base import Job, Stage
from tasks.stages.reading import examples


class ReinforceStage(Stage):
    name = "reinforce"
    tables = ("reinforcements",)
    reads = ("rows", "soft_labels", "labels")

    def enabled(self, curation: Curation) -> bool:
        return curation.reinforce is not None

    def identity(self, curation: Curation) -> Any:
        teachers = [teacher.identity() for teacher in curation.teach.teachers] if curation.teach else []
        encoder = curation.ingest.encoder
        return [method(curation).identity(), teachers, encoder.identity() if encoder else None]

    def noted(self, curation: Curation) -> dict[str, Any]:
        """What redraws the views: a release is read with the method that made it, whatever the YAML says
        by then."""
        return {"reinforcer": method(curation).identity()}

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        assert job.curation.teach is not None
        reinforcer, teach = method(job.curation), job.curation.teach
        actions = job.store.read([job.own("labels")], ["action"], (start, stop))["action"]
        kept = pc.not_equal(actions, "drop").to_numpy()
        rows = examples(job, [job.own("rows")], [reinforcer.reads], (start, stop)).take(kept)
        payload = rows.images if reinforcer.reads == "images" else rows.features
        assert payload is not None
        seed = seed_of(job.curation.dataset, reinforcer.identity())
        transforms = reinforcer.sample(rows.keys, payload.shape[1:], seed)
        views = views_of(job, rows, payload, transforms)
        folds = folds_of(views.keys, teach.folds)
        taught = job.own("soft_labels").fingerprint
        names, log_probs, _ = ask(job, views, folds, taught)
        pred_probs = together(job, names, log_probs, taught)
        soft = SoftLabels.from_pred_probs(views.ids, views.labels, pred_probs, teach.top_k)
        return {
            "reinforcements": pa.table(
                {
                    "id": pa.array(views.ids, pa.string()),
                    "draw": pa.array(np.tile(np.arange(reinforcer.draws, dtype=np.int16), len(rows))),
                    "transform": as_struct(transforms, len(views)),
                    "classes": array_to_lists(soft.classes),
                    "weights": array_to_lists(soft.weights),
                    "tail": pa.array(soft.tail),
                }
            )
        }


def method(curation: Curation) -> Reinforcer:
    assert curation.reinforce is not None
    return curation.reinforce


def views_of(job: Job, rows: Examples, payload: np.ndarray, transforms: Transforms) -> Examples:
    """The views as examples of their own: each row `draws` times, redrawn and encoded again."""
    reinforcer, encoder = method(job.curation), job.curation.ingest.encoder
    repeated = np.repeat(np.arange(len(rows)), reinforcer.draws)
    redrawn = reinforcer.replay(payload[repeated], transforms)
    views = replace(
        rows.take(repeated),
        images=redrawn if reinforcer.reads == "images" else None,
        features=redrawn if reinforcer.reads == "features" else None,
        embedding=None,
    )
    return replace(views, embedding=encoder.encode(views)) if encoder else views


def as_struct(transforms: Transforms, n: int) -> pa.Array:
    """The `transform` column: null where this reinforcer has no such parameter."""
    fields = [
        pa.array(transforms[f.name], f.type) if f.name in transforms else pa.nulls(n, f.type)
        for f in TRANSFORM
    ]
    return pa.StructArray.from_arrays(fields, fields=list(TRANSFORM))
