"""Report: the night's figures into `metrics`, and one page a partition beside the tables.

The students are fits, one an arm and seed, so that they run side by side and a killed run keeps
those that finished.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tasks.config import Curation
from tasks.data import TRUSTED, State, ints_or_minus_one
from tasks.report.student import held_out, vectors
from tasks.seeds import seed_of
from tasks.stages.auditing import audit
from tasks.stages.base import Job, Stage
from tasks.stages.earlier import comparison, earlier_rows
from tasks.stages.figures import figures, page_data
from tasks.stages.reading import examples, opinion

ARMS = ("given", "curated")
COMPARISON, AUDIT = "comparison", "audit-"

FIGURES_REVISION = 2
"""Raised whenever the figures of the same tables would come out otherwise."""


class ReportStage(Stage):
    name = "report"
    tables = ("metrics",)
    reads = ("rejects",)
    reads_window = ("rows", "soft_labels", "labels")
    reads_if_there = ("issues", "distilled", "reinforcements")

    def enabled(self, curation: Curation) -> bool:
        return True

    def identity(self, curation: Curation) -> Any:
        """Not the gates: they are judged where a release is made."""
        detectors = [detector.identity() for detector in curation.detect]
        audited = [curation.audit.identity(), detectors] if curation.audit else []
        return [curation.report.identity(), FIGURES_REVISION, curation.device, *audited]

    def rounds(self, job: Job) -> list[list[str]]:
        return [[*([COMPARISON] if earlier_rows(job) else []), *student_parts(job), *audit_parts(job)]]

    def fit(self, job: Job, part: str) -> State:
        """One student's held-out accuracy, over the window. Both arms share seeds, so they are paired.
        Or the figures that compare with earlier partitions."""
        if part == COMPARISON:
            return State({}, {"figures": comparison(job)})
        if part in audit_parts(job):
            return State({}, audit(job, part.removeprefix(AUDIT)))
        arm, _, number = part.partition("-seed")
        student = job.curation.report
        window = examples(job, job.inputs["rows"], seen(job))
        assert window.trains is not None
        targets, usable = lessons(job, arm, window.labels)
        aside = held_out(window.keys)
        train, test = usable & window.trains & ~aside, aside
        seed = seed_of(job.curation.dataset, job.partition, student.identity(), int(number))
        accuracy = student.accuracy(
            window.take(train),
            targets[train],
            window.take(test),
            yardstick(job)[test],
            len(job.classes),
            seed,
            job.device,
        )
        return State(
            {}, {"accuracy": accuracy if np.isfinite(accuracy) else None, "test_rows": int(test.sum())}
        )

    def size(self, job: Job) -> int:
        return 1

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        from tasks.report.page import render

        students = {part: job.state(part).info for part in student_parts(job)}
        audits = {part.removeprefix(AUDIT): job.state(part).info for part in audit_parts(job)}
        compared = job.state(COMPARISON).info["figures"] if earlier_rows(job) else []
        measured = figures(job, students, audits, compared)
        page = render(page_data(job, measured, students, against(job)))
        job.store.save_report(job.partition, job.fingerprint, page)
        return {
            "metrics": pa.table(
                {
                    "id": pa.array([f"{f.stage}.{f.name}" for f in measured], pa.string()),
                    "stage": pa.array([f.stage for f in measured], pa.string()),
                    "name": pa.array([f.name for f in measured], pa.string()),
                    "value": pa.array([float(f.value) for f in measured], pa.float64()),
                    "unit": pa.array([f.unit for f in measured], pa.string()),
                }
            )
        }


def seen(job: Job) -> list[str]:
    """What students read of a row: what the encoder made, else what the source gives."""
    if job.curation.ingest.encoder:
        return ["embedding"]
    return {"features": ["features"], "image": ["images"]}.get(job.curation.source.payload or "", [])


def student_parts(job: Job) -> list[str]:
    """A name for each student; none where there are no decisions, no vectors to learn from, or no classes."""
    if (
        job.curation.task == "regression"
        or "labels" not in job.inputs
        or vectors(examples(job, [job.own("rows")], seen(job))) is None
    ):
        return []
    return [f"{arm}-seed{seed}" for arm in ARMS for seed in range(job.curation.report.seeds)]


def audit_parts(job: Job) -> list[str]:
    """A name for each kind of wrong label that is planted."""
    method = job.curation.audit
    return [AUDIT + noise for noise in method.noise] if method and "issues" in job.inputs else []


def lessons(job: Job, arm: str, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an arm's students learn from: targets (n, n_classes) float32, and which rows (n,) bool.

    Curated: the decided label where it can be relied on, the ensemble's soft label where the decision
    was to soften, nothing of rows that were dropped or wait for a person.
    """
    k = len(job.classes)
    if arm == "given":
        return one_hot(given, k), given >= 0
    decided = job.store.read(list(job.inputs["labels"]), ["label", "action"])
    labels, actions = ints_or_minus_one(decided["label"]), decided["action"].to_numpy()
    targets, softened = one_hot(labels, k), actions == "soften"
    if softened.any():
        targets[softened] = soft_targets(job)[softened]
    return targets, (np.isin(actions, TRUSTED) & (labels >= 0)) | softened


def soft_targets(job: Job) -> np.ndarray:
    """The ensemble's probabilities over the window, each row summing to one."""
    inputs = zip(job.inputs["soft_labels"], job.inputs["rows"], strict=True)
    dense = np.concatenate([opinion(job, soft, rows).pred_probs() for soft, rows in inputs])
    return np.asarray(dense / dense.sum(axis=1, keepdims=True))


def one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    targets = np.zeros((len(labels), k), np.float32)
    known = labels >= 0
    targets[known, labels[known]] = 1.0
    return targets


def truths(job: Job) -> np.ndarray:
    """The window's known true labels, -1 elsewhere; for measuring only."""
    return ints_or_minus_one(job.store.read(list(job.inputs["rows"]), ["truth"])["truth"])


def against(job: Job) -> Literal["truth", "curated labels"]:
    return "truth" if (truths(job) >= 0).any() else "curated labels"


def yardstick(job: Job) -> np.ndarray:
    """What students are judged by: the truth where the rows have it, else the labels relied on."""
    if against(job) == "truth":
        return truths(job)
    decided = job.store.read(list(job.inputs["labels"]), ["label", "action"])
    return np.where(np.isin(decided["action"].to_numpy(), TRUSTED), ints_or_minus_one(decided["label"]), -1)
