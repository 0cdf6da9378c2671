"""Report: the night's figures into `metrics`, and one page a partition beside the tables.

The students are fits, one an arm and seed, so that they run side by side and a killed run keeps
those that finished.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tasks.config import Curation
from tasks.data import TRUSTED, Examples, State, ints_or_minus_one
from tasks.given import labels_of, sets_to_array
from tasks.report.student import held_out, vectors
from tasks.seeds import seed_of
from tasks.stages.auditing import audit
from tasks.stages.base import Job, Stage
from tasks.stages.cut import is_cut, students
from tasks.stages.earlier import comparison, earlier_rows
from tasks.stages.figures import figures, page_data
from tasks.stages.reading import examples, opinion
from tasks.stages.trying import tested_on, trial
from tasks.targets import normalised, one_hot

ARMS = ("given", "curated")
COMPARISON, AUDIT, TRIAL, CUT = "comparison", "audit-", "trial-seed", "cut-seed"

FIGURES_REVISION = 4
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
        tried = [curation.trial.identity()] if curation.trial else []
        return [curation.report.identity(), FIGURES_REVISION, curation.device, *audited, *tried]

    def rounds(self, job: Job) -> list[list[str]]:
        compared = [COMPARISON] if earlier_rows(job) else []
        return [[*compared, *student_parts(job), *audit_parts(job), *trial_parts(job), *cut_parts(job)]]

    def fit(self, job: Job, part: str) -> State:
        """One student's held-out accuracy, over the window. Both arms share seeds, so they are paired.
        Or the figures that compare with earlier partitions, an audit, a pair of students on trial."""
        if part == COMPARISON:
            return State({}, {"figures": comparison(job)})
        if part in audit_parts(job):
            return State({}, audit(job, part.removeprefix(AUDIT)))
        if part in cut_parts(job):
            own = yardstick(job)[-job.own("rows").rows :]
            return State({}, students(job, int(part.removeprefix(CUT)), seen(job), own))
        if part in trial_parts(job):
            return State({}, trial(job, int(part.removeprefix(TRIAL)), yardstick(job)))
        arm, _, number = part.partition("-seed")
        student = job.curation.report
        window = examples(job, job.inputs["rows"], seen(job))
        assert window.trains is not None
        targets, usable = lessons(job, arm, window)
        aside = held_out(window.keys)
        train, test = usable & window.trains & ~aside, aside
        seed = seed_of(job.curation.dataset, job.partition, student.identity(), int(number))
        taught, judged, right = window.take(train), window.take(test), yardstick(job)[test]
        if job.curation.task == "multi_label":
            name, score = "f1", student.f1(taught, targets[train], judged, right, seed, job.device)
        else:
            name, score = (
                "accuracy",
                student.accuracy(taught, targets[train], judged, right, len(job.classes), seed, job.device),
            )
        return State({}, {name: score if np.isfinite(score) else None, "test_rows": int(test.sum())})

    def size(self, job: Job) -> int:
        return 1

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        from tasks.report.page import render

        taught = {part: job.state(part).info for part in student_parts(job)}
        audits = {part.removeprefix(AUDIT): job.state(part).info for part in audit_parts(job)}
        compared = job.state(COMPARISON).info["figures"] if earlier_rows(job) else []
        tried = [job.state(part).info for part in trial_parts(job)]
        cut = [job.state(part).info for part in cut_parts(job)]
        measured = figures(job, taught, audits, compared, tried, cut)
        page = render(page_data(job, measured, taught, against(job), tried))
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


def cut_parts(job: Job) -> list[str]:
    """A name for each pair of students by which is told what top-k costs."""
    return (
        [f"{CUT}{seed}" for seed in range(job.curation.report.seeds)]
        if student_parts(job) and is_cut(job)
        else []
    )


def audit_parts(job: Job) -> list[str]:
    """A name for each kind of wrong label that is planted."""
    method = job.curation.audit
    return [AUDIT + noise for noise in method.noise] if method and "issues" in job.inputs else []


def trial_parts(job: Job) -> list[str]:
    """A name for each pair of students on trial; none where nothing was distilled, or nothing is held out
    that they could be judged on."""
    method = job.curation.trial
    if not method or "distilled" not in job.inputs or not job.inputs["distilled"][0].rows:
        return []
    return [f"{TRIAL}{seed}" for seed in range(method.seeds)] if len(tested_on(job, yardstick(job))) else []


def lessons(job: Job, arm: str, window: Examples) -> tuple[np.ndarray, np.ndarray]:
    """What an arm's students learn from: targets (n, n_classes) float32, and which rows (n,) bool.

    Curated: the decided label where it can be relied on, the ensemble's soft label where the decision
    was to soften, nothing of rows that were dropped or wait for a person.
    """
    k = len(job.classes)
    if arm == "given":
        targets = one_hot(window.labels, k) if window.given is None else as_targets(window.given)
        return targets, window.labels >= 0
    if window.given is None:
        decided = job.store.read(list(job.inputs["labels"]), ["label", "action"])
        labels = ints_or_minus_one(decided["label"])
        targets = one_hot(labels, k)
    else:
        decided = job.store.read(list(job.inputs["labels"]), ["labels", "action"])
        sets = sets_to_array(decided["labels"], k)
        labels, targets = labels_of(sets), as_targets(sets)
    actions = decided["action"].to_numpy()
    softened = actions == "soften"
    if softened.any():
        targets[softened] = soft_targets(job)[softened]
    return targets, (np.isin(actions, TRUSTED) & (labels >= 0)) | softened


def as_targets(sets: np.ndarray) -> np.ndarray:
    """(n, k) int8 as in Examples -> (n, k) float32, the probability of each class."""
    targets: np.ndarray = (sets == 1).astype(np.float32)
    return targets


def soft_targets(job: Job) -> np.ndarray:
    """The ensemble's probabilities over the window, each row summing to one where it has one class."""
    inputs = zip(job.inputs["soft_labels"], job.inputs["rows"], strict=True)
    dense: np.ndarray = np.concatenate([opinion(job, soft, rows).pred_probs() for soft, rows in inputs])
    if job.curation.task == "multi_label":
        return dense
    return normalised(dense)


def truths(job: Job) -> np.ndarray:
    """The window's known true labels, -1 elsewhere, or sets (n, k) int8; for measuring only."""
    if job.curation.task == "multi_label":
        return sets_to_array(job.store.read(list(job.inputs["rows"]), ["truths"])["truths"], len(job.classes))
    return ints_or_minus_one(job.store.read(list(job.inputs["rows"]), ["truth"])["truth"])


def against(job: Job) -> Literal["truth", "curated labels"]:
    return "truth" if (truths(job) >= 0).any() else "curated labels"


def yardstick(job: Job) -> np.ndarray:
    """What students are judged by: the truth where the rows have it, else the labels relied on."""
    if against(job) == "truth":
        return truths(job)
    if job.curation.task == "multi_label":
        decided = job.store.read(list(job.inputs["labels"]), ["labels", "action"])
        sets = sets_to_array(decided["labels"], len(job.classes))
        sets[~np.isin(decided["action"].to_numpy(), TRUSTED)] = -1
        return sets
    decided = job.store.read(list(job.inputs["labels"]), ["label", "action"])
    return np.where(np.isin(decided["action"].to_numpy(), TRUSTED), ints_or_minus_one(decided["label"]), -1)
