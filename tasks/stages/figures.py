"""From tables to what a report shows: the rows of `metrics`, and the data of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.data import ACTIONS, ONE, Decisions, Issues, SoftLabels, State, ints_or_minus_one
from tasks.detect.together import decisive
from tasks.report import (
    Arrival,
    Exemplars,
    Figure,
    LabelChange,
    Rejection,
    ReportData,
    StageCost,
    StudentResult,
    Suspect,
    TeacherQuality,
    TrialResult,
    metrics,
)
from tasks.report.calibration import reliability
from tasks.report.trial import margin
from tasks.stages.base import Job, load_state
from tasks.stages.earlier import earlier_rows
from tasks.stages.reading import opinion

SUSPECTS = 24
"""Rows shown as most likely wrong: what a person looks through in a minute."""

Students = Mapping[str, Mapping[str, Any]]


def figures(
    job: Job,
    students: Students,
    audits: Mapping[str, Mapping[str, int]],
    compared: Sequence[Sequence[Any]],
    tried: Sequence[Mapping[str, Any]],
) -> list[Figure]:
    """Every figure of the partition, in the order of the stages. compared: those against earlier nights;
    tried: the pairs of students that learned from the distilled set and from random rows."""
    rows, rejects = job.own("rows"), job.inputs["rejects"][0]
    truth = partition_truth(job)
    found = metrics.ingest(rows.rows, rejects.rows) + metrics.labelled(given_labels(job))
    if "soft_labels" in job.inputs:
        found += metrics.teach(opinions(job), truth)
    if "issues" in job.inputs:
        heard = [job.curation.detect[number].kind for number in decisive(job.curation.detect)]
        found += metrics.detect(findings(job), given_labels(job), truth, heard)
    found += annotators(job) + metrics.audit(audits)
    if "labels" in job.inputs:
        found += metrics.relabel(decisions(job), truth)
    if "reinforcements" in job.inputs:
        found += reinforced(job)
    if students:
        found += metrics.student(accuracies(students), test_rows(students))
    return found + metrics.trial(tried) + [Figure(*figure) for figure in compared]


def reinforced(job: Job) -> list[Figure]:
    """What became of the views that were drawn, where the reinforcer grades them."""
    stored = job.store.read([job.inputs["reinforcements"][0]], ["id", "region"])
    counts = stored["region"].drop_null().value_counts().to_pylist()
    regions = {pair["values"]: pair["counts"] for pair in counts}
    if not regions or job.curation.reinforce is None:
        return []
    decided = decisions(job)
    kept, k = ACTIONS.index("drop") != decided.action, len(job.classes)
    labels = decided.label[kept]
    owners = pc.index_in(stored["id"], pa.array(decided.ids[kept], pa.string())).drop_null().to_numpy()
    lost = job.curation.reinforce.draws - np.bincount(owners, minlength=len(labels))
    known, drawn = labels >= 0, np.full(len(labels), job.curation.reinforce.draws)
    by_class = [
        np.bincount(labels[known], views[known], minlength=k).astype(np.int64) for views in (lost, drawn)
    ]
    return metrics.reinforce(int(drawn.sum()), regions, *by_class)


def page_data(
    job: Job,
    measured: list[Figure],
    students: Students,
    against: Literal["truth", "curated labels"],
    tried: Sequence[Mapping[str, Any]],
) -> ReportData:
    """What `tasks.report.page` renders; parts whose stage was left out stay empty."""
    result = StudentResult(accuracies(students), against, test_rows(students)) if students else None
    return ReportData(
        dataset=job.curation.dataset,
        partition=job.partition,
        class_names=job.classes,
        arrival=Arrival(job.own("rows").rows, rejections(job)),
        notes=notes(job),
        labels=label_change(job) if "labels" in job.inputs else None,
        suspects=suspects(job) if "issues" in job.inputs and "labels" in job.inputs else (),
        teachers=teachers(job) if "soft_labels" in job.inputs else (),
        student=result,
        distilled=exemplars(job) if "distilled" in job.inputs else (),
        trial=trial_result(job, tried) if tried else None,
        stages=costs(job),
        earlier=tuple(ref.partition for ref in earlier_rows(job)),
        figures=tuple(measured),
    )


def trial_result(job: Job, tried: Sequence[Mapping[str, Any]]) -> TrialResult:
    assert job.curation.distill is not None
    distilled, random = (tuple(pair[arm] for pair in tried) for arm in ("distilled", "random"))
    low, high = margin(distilled, random)[1:]
    return TrialResult(
        distilled,
        random,
        low,
        high,
        tried[0]["test_rows"],
        job.own("distilled").rows,
        job.curation.distill.labels,
    )


def accuracies(students: Students) -> dict[str, tuple[float, ...]]:
    """Each arm's accuracies by seed, those that could be measured."""
    arms: dict[str, tuple[float, ...]] = {}
    for part, info in students.items():
        arm = part.partition("-seed")[0]
        if info["accuracy"] is not None:
            arms[arm] = (*arms.get(arm, ()), info["accuracy"])
    return arms


def test_rows(students: Students) -> int:
    """How many rows each student was judged on."""
    return int(next(iter(students.values()))["test_rows"])


def partition_truth(job: Job) -> np.ndarray:
    return ints_or_minus_one(job.store.read([job.own("rows")], ["truth"])["truth"])


def given_labels(job: Job) -> np.ndarray:
    return ints_or_minus_one(job.store.read([job.own("rows")], ["label"])["label"])


def opinions(job: Job) -> dict[str, SoftLabels]:
    """Every teacher's and the ensemble's soft labels of the partition."""
    teach = job.curation.teach
    assert teach is not None
    names = [name for teacher in teach.teachers for name in teacher.names()] + [teach.ensemble.kind]
    return {name: opinion(job, job.own("soft_labels"), job.own("rows"), name) for name in names}


def findings(job: Job) -> dict[str, Issues]:
    """Every detector's findings on the partition."""
    table = job.store.read([job.own("issues")])
    kinds = table["detector"]
    return {d.kind: Issues.from_arrow(table.filter(pc.equal(kinds, d.kind))) for d in job.curation.detect}


def annotators(job: Job) -> list[Figure]:
    """Everyone's quality, from a detector that weighed annotators."""
    weighed = [state for state in judgements(job) if "annotators" in state.info]
    return [
        figure
        for state in weighed[:1]
        for figure in metrics.annotators(
            state.info["annotators"], state.arrays["quality"], state.arrays["labels"]
        )
    ]


def decisions(job: Job) -> Decisions:
    return Decisions.from_arrow(job.store.read([job.own("labels")]))


def rejections(job: Job) -> tuple[Rejection, ...]:
    frame = pl.DataFrame(job.store.read([job.inputs["rejects"][0]], ["reason", "detail"]))
    grouped = frame.group_by("reason").agg(pl.len().alias("count"), pl.col("detail").drop_nulls().head(3))
    return tuple(
        Rejection(reason, count, tuple(details))
        for reason, count, details in grouped.sort("count", "reason", descending=[True, False]).iter_rows()
    )


def notes(job: Job) -> tuple[str, ...]:
    """What detectors and the policy had to say about the run as a whole."""
    return tuple(note for state in judgements(job) for note in state.info.get("notes", []))


def judgements(job: Job) -> Iterator[State]:
    """What the fits of detectors and policy left, in order."""
    names = {"issues": [f"detector{i}" for i in range(len(job.curation.detect))], "labels": ["policy"]}
    stages = {"issues": "detect", "labels": "relabel"}
    for table, parts in names.items():
        for part in parts if table in job.inputs else []:
            fingerprint = job.own(table).fingerprint
            yield load_state(job.store, job.partition, f"{stages[table]}-{fingerprint}-{part}")


def label_change(job: Job) -> LabelChange:
    decided, k = decisions(job), len(job.classes)
    both = (decided.given >= 0) & (decided.label >= 0)
    pairs = decided.given[both].astype(np.int64) * k + decided.label[both]
    counts = np.bincount(decided.action, minlength=len(ACTIONS))
    return LabelChange(
        given=np.bincount(decided.given[decided.given >= 0], minlength=k),
        curated=np.bincount(decided.label[decided.label >= 0], minlength=k),
        confusion=np.bincount(pairs, minlength=k * k).reshape(k, k),
        actions={action: int(count) for action, count in zip(ACTIONS, counts, strict=True)},
    )


def suspects(job: Job) -> tuple[Suspect, ...]:
    """The flagged rows, the most likely wrong first; ties by id."""
    found = findings(job)
    frames = [found[job.curation.detect[number].kind] for number in decisive(job.curation.detect)]
    flagged = np.any([f.is_issue for f in frames], axis=0)
    p_error = np.max([np.nan_to_num(f.p_error) for f in frames], axis=0)
    decided = decisions(job)
    order = np.lexsort((decided.ids.astype(str), -p_error))
    chosen = order[flagged[order]][:SUSPECTS]
    content = job.store.read([job.own("rows")], ["image", "text", "features"]).take(chosen).to_pylist()
    return tuple(
        Suspect(
            id=str(decided.ids[row]),
            given=int(decided.given[row]),
            suggested=int(frames[0].suggested_label[row]),
            p_error=float(p_error[row]),
            action=ACTIONS[decided.action[row]],
            reason=str(decided.reason[row]),
            picture=payload["image"],
            summary=summary(payload),
        )
        for row, payload in zip(chosen, content, strict=True)
    )


def summary(payload: Mapping[str, Any]) -> str:
    """A payload that is no picture, in a line."""
    if payload["text"] is not None:
        return str(payload["text"])[:200]
    values = payload["features"] or []
    return ", ".join(f"{value:.4g}" for value in values[:8]) + (", …" if len(values) > 8 else "")


def teachers(job: Job) -> tuple[TeacherQuality, ...]:
    """Each teacher against the given labels, and against the truth where it is known."""
    known = {f.name: f.value for f in metrics.teach(opinions(job), partition_truth(job))}
    found = []
    for name, soft in opinions(job).items():
        prefix = f"teacher_{metrics.snake(name)}"
        labelled = soft.labels >= 0
        if f"{prefix}_accuracy_given" in known:
            correct = soft.classes[labelled, 0] == soft.labels[labelled]
            found.append(
                TeacherQuality(
                    name=name,
                    bins=reliability(soft.weights[labelled, 0] / ONE, correct),
                    accuracy_given=known[f"{prefix}_accuracy_given"],
                    ece_given=known[f"{prefix}_ece_given"],
                    accuracy_truth=known.get(f"{prefix}_accuracy_truth"),
                    ece_truth=known.get(f"{prefix}_ece_truth"),
                )
            )
    return tuple(found)


def exemplars(job: Job) -> tuple[Exemplars, ...]:
    """The distilled examples, a class at a time."""
    made = job.store.read([job.inputs["distilled"][0]], ["label", "image", "text", "features"]).to_pylist()
    return tuple(
        Exemplars(
            label=label,
            pictures=tuple(row["image"] for row in made if row["label"] == label and row["image"]),
            summaries=tuple(summary(row) for row in made if row["label"] == label and not row["image"]),
        )
        for label in sorted({row["label"] for row in made})
    )


def costs(job: Job) -> tuple[StageCost, ...]:
    """Seconds and bytes of each earlier stage, from its commit. They are on the page and in no table:
    tables hold the same bytes in every run."""
    c = job.curation
    kinds: dict[str, tuple[str, list[str]]] = {
        "rows": ("ingest", [c.source.kind, *(f.kind for f in c.ingest.filters)]),
        "soft_labels": ("teach", [t.kind for t in c.teach.teachers] if c.teach else []),
        "issues": ("detect", [d.kind for d in c.detect]),
        "labels": ("relabel", [c.relabel.kind] if c.relabel else []),
        "reinforcements": ("reinforce", [c.reinforce.kind] if c.reinforce else []),
        "distilled": ("distill", [c.distill.kind] if c.distill else []),
    }
    return tuple(
        StageCost(
            stage,
            tuple(methods),
            job.store.info(job.own(table)).get("seconds"),
            job.store.size(job.own(table)),
        )
        for table, (stage, methods) in kinds.items()
        if table in job.inputs
    )
