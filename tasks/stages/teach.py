"""Teach: K folds of every teacher over the window, then an opinion on each of the partition's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.config import Curation, Teach
from tasks.data import Examples, SoftLabels, State
from tasks.errors import StageFailed
from tasks.seeds import folds_of, seed_of
from tasks.stages.asking import NLL_GRID, ask, ensemble
from tasks.stages.base import Job, Stage, by_row
from tasks.stages.reading import examples


class TeachStage(Stage):
    name = "teach"
    tables = ("soft_labels",)
    reads_window = ("rows",)

    def enabled(self, curation: Curation) -> bool:
        return curation.teach is not None

    def identity(self, curation: Curation, partition: str) -> Any:
        teach = settings(curation)
        methods = [teacher.identity() for teacher in teach.teachers]
        return [methods, teach.folds, teach.top_k, teach.ensemble, curation.device]

    def parts(self, job: Job) -> list[str]:
        teach = settings(job.curation)
        trained = [i for i, teacher in enumerate(teach.teachers) if teacher.cross_fitted]
        return [part_name(i, fold) for i in trained for fold in range(teach.folds)]

    def fit(self, job: Job, part: str) -> State:
        """Train on the other folds' rows, and add what this fold's own rows say of the temperature."""
        from tasks.teach.temperature import nll_grid

        number, fold = (int(piece) for piece in part.split("-fold"))
        teach, n_classes = settings(job.curation), len(job.classes)
        teacher = teach.teachers[number]
        window = examples(job, job.inputs["rows"])
        usable = (window.labels >= 0) & trainable(window)
        folds = folds_of(window.keys, teach.folds)
        train = window.take(usable & (folds != fold))
        if not len(train):
            way_out = (
                "label more rows, or widen window"
                if usable.any()
                else "map the source's label, or leave out teach"
            )
            raise StageFailed(
                f"teach of {job.partition}: no labelled training row outside fold {fold}; {way_out}"
            )
        seed = seed_of(job.curation.dataset, job.partition, teacher.identity(), fold)
        state = teacher.fit(train, n_classes, seed, job.device)
        held = window.take(usable & (folds == fold))
        log_probs = teacher.predict(state, held, n_classes, job.device)[0]
        return State({**state.arrays, NLL_GRID: nll_grid(log_probs, held.labels)}, state.info)

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        teach = settings(job.curation)
        rows = examples(job, [job.own("rows")], (start, stop))
        folds = folds_of(rows.keys, teach.folds)
        names, log_probs, cross_fitted = ask(job, rows, folds)
        outside = np.full(len(rows), -1, np.int16)
        tables = [
            SoftLabels.from_pred_probs(rows.ids, rows.labels, np.exp(said), teach.top_k).to_arrow(
                name, folds if trained else outside
            )
            for name, said, trained in zip(names, log_probs, cross_fitted, strict=True)
        ]
        together = SoftLabels.from_pred_probs(rows.ids, rows.labels, ensemble(log_probs), teach.top_k)
        tables.append(together.to_arrow(teach.ensemble, folds if all(cross_fitted) else outside))
        return {"soft_labels": by_row(tables)}


def settings(curation: Curation) -> Teach:
    assert curation.teach is not None
    return curation.teach


def trainable(window: Examples) -> np.ndarray:
    """Rows that teachers may learn from: those of the training split."""
    assert window.trains is not None
    return window.trains


def part_name(number: int, fold: int) -> str:
    return f"{number}-fold{fold}"
