"""From tables to what a report shows: the rows of `metrics`, and the data of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.data import ACTIONS, ONE, TRUSTED, Decisions, Issues, SoftLabels, State, ints_or_minus_one
from tasks.detect.targets import spread
from tasks.detect.together import decisive
from tasks.given import labels_of, numbers_or_nan, sets_to_array
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
    numbers,
    sets,
)
from tasks.report.calibration import reliability
from tasks.report.trial import margin
from tasks.stages.base import Job, load_state
from tasks.stages.earlier import earlier_rows
from tasks.stages.reading import GIVEN, given_of, opinion

SUSPECTS = 24
"""Rows shown as most likely wrong: what a person looks through in a minute."""

VIEWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("region", pa.string()),
        pa.field("partner", pa.string()),
        pa.field("first", pa.int32()),
    ]
)

Students = Mapping[str, Mapping[str, Any]]


def figures(
    job: Job,
    students: Students,
    audits: Mapping[str, Mapping[str, int]],
    compared: Sequence[Sequence[Any]],
    tried: Sequence[Mapping[str, Any]],
    cut: Sequence[Mapping[str, Any]],
) -> list[Figure]:
    """Every figure of the partition, in the order of the stages. compared: those against earlier nights;
    tried: the pairs of students that learned from the distilled set and from random rows; cut: those that
    learned from soft labels as stored and as given."""
    rows, rejects = job.own("rows"), job.inputs["rejects"][0]
    truth = partition_truth(job)
    found = metrics.ingest(rows.rows, rejects.rows) + metrics.labelled(given_labels(job))
    if "soft_labels" in job.inputs:
        found += taught(job, truth)
    if "issues" in job.inputs:
        heard = [job.curation.detect[number].kind for number in decisive(job.curation.detect)]
        found += metrics.detect(findings(job), given_labels(job), truth, heard)
    found += annotators(job) + metrics.audit(audits)
    if "labels" in job.inputs:
        found += decided(job, truth)
    if "reinforcements" in job.inputs:
        found += reinforced(job)
    if students and job.curation.task == "multi_label":
        found += sets.student(scores(students))
    elif students:
        found += metrics.student(scores(students), test_rows(students))
    return found + metrics.cut(cut) + metrics.trial(tried) + [Figure(*figure) for figure in compared]


def reinforced(job: Job) -> list[Figure]:
    """What teachers said of the views, and what became of them where the reinforcer grades them."""
    stored, made = views(job), decisions(job)
    return [*agreement(stored, made), *graded(job, stored, made)]


def views(job: Job) -> pa.Table:
    """The id, region and partner of every stored view, and the `first` of its classes."""

    def shortened(batch: pa.RecordBatch) -> pa.RecordBatch:
        first = pc.list_element(batch["classes"], 0)
        return batch.drop_columns("classes").append_column("first", first)

    batches = job.store.batches(job.inputs["reinforcements"][0], ["id", "region", "partner", "classes"])
    return pa.Table.from_batches(map(shortened, batches), VIEWS)


def agreement(stored: pa.Table, made: Decisions) -> list[Figure]:
    """How often the teachers' own opinion of a view of one row alone is that row's label."""
    own = pc.or_(pc.is_null(stored["region"]), pc.equal(stored["region"], "confident").fill_null(False))
    alone = stored.filter(pc.and_(own, pc.is_null(stored["partner"])))
    reliable = np.isin(made.action, [ACTIONS.index(action) for action in TRUSTED])
    owners = pc.index_in(alone["id"], pa.array(made.ids[reliable], pa.string()))
    known = owners.is_valid()
    labels = made.label[reliable][owners.filter(known).to_numpy()]
    agreed = alone["first"].filter(known).to_numpy() == labels
    return metrics.agreement(int(agreed.sum()), len(agreed))


def graded(job: Job, stored: pa.Table, made: Decisions) -> list[Figure]:
    counts = stored["region"].drop_null().value_counts().to_pylist()
    regions = {pair["values"]: pair["counts"] for pair in counts}
    if not regions or job.curation.reinforce is None:
        return []
    kept, k = ACTIONS.index("drop") != made.action, len(job.classes)
    labels = made.label[kept]
    owners = pc.index_in(stored["id"], pa.array(made.ids[kept], pa.string())).drop_null().to_numpy()
    lost = job.curation.reinforce.draws - np.bincount(owners, minlength=len(labels))
    known, drawn = labels >= 0, np.full(len(labels), job.curation.reinforce.draws)
    by_class = [
        np.bincount(labels[known], views[known], minlength=k).astype(np.int64) for views in (lost, drawn)
    ]
    return metrics.reinforce(int(drawn.sum()), regions, *by_class)


def taught(job: Job, truth: np.ndarray) -> list[Figure]:
    """What teachers are worth, by what they are asked."""
    if job.curation.task == "regression":
        return numbers.teach(opinions(job), *targets(job))
    if job.curation.task == "multi_label":
        return sets.teach(opinions(job), *answers(job))
    held = opinions(job)
    return metrics.teach(held, truth) + metrics.soft_labels(held[ensemble(job)])


def decided(job: Job, truth: np.ndarray) -> list[Figure]:
    made = decisions(job)
    if job.curation.task == "regression":
        return numbers.relabel(made, targets(job)[1])
    if made.before is not None and made.after is not None:
        given, label, truth = sets.coded(made.before, made.after, answers(job)[1])
        made = replace(made, given=given, label=label)
    return metrics.relabel(made, truth)


def page_data(
    job: Job,
    measured: list[Figure],
    students: Students,
    against: Literal["truth", "curated labels"],
    tried: Sequence[Mapping[str, Any]],
) -> ReportData:
    """What `tasks.report.page` renders; parts whose stage was left out stay empty."""
    measure = "macro F1" if job.curation.task == "multi_label" else "accuracy"
    result = StudentResult(scores(students), against, test_rows(students), measure) if students else None
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


def scores(students: Students) -> dict[str, tuple[float, ...]]:
    """Each arm's accuracies by seed, or macro F1s, those that could be measured."""
    arms: dict[str, tuple[float, ...]] = {}
    for part, info in students.items():
        arm, score = part.partition("-seed")[0], info.get("accuracy", info.get("f1"))
        if score is not None:
            arms[arm] = (*arms.get(arm, ()), score)
    return arms


def test_rows(students: Students) -> int:
    """How many rows each student was judged on."""
    return int(next(iter(students.values()))["test_rows"])


def partition_truth(job: Job) -> np.ndarray:
    """The true labels (n,) int32, -1 where unknown; of other tasks 1 where what is given is wrong, else 0."""
    if job.curation.task == "regression":
        known = job.store.read(list(job.inputs["rows"]), ["target_truth"])["target_truth"].drop_null()
        return numbers.verdicts(*targets(job), spread(known.to_numpy())[1])
    if job.curation.task == "multi_label":
        given, truths = answers(job)
        wrong = (given != truths).any(axis=1)
        return np.where(labels_of(truths) >= 0, wrong, -1).astype(np.int32)
    return ints_or_minus_one(job.store.read([job.own("rows")], ["truth"])["truth"])


def targets(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The given and the true numbers of regression, (n,) float64, NaN for none."""
    rows = job.store.read([job.own("rows")], ["target", "target_truth"])
    return numbers_or_nan(rows["target"]), numbers_or_nan(rows["target_truth"])


def answers(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The given and the true sets of multi_label, (n, k) int8 as in Examples."""
    rows, k = job.store.read([job.own("rows")], ["labels", "truths"]), len(job.classes)
    return sets_to_array(rows["labels"], k), sets_to_array(rows["truths"], k)


def given_labels(job: Job) -> np.ndarray:
    """(n,) int32, -1 where there is none; 0 where another task than single_label gives one."""
    return given_of(job.store.read([job.own("rows")], [GIVEN[job.curation.task]]), len(job.classes))[0]


def opinions(job: Job) -> dict[str, SoftLabels]:
    """Every teacher's and the ensemble's soft labels of the partition."""
    teach = job.curation.teach
    assert teach is not None
    names = [name for teacher in teach.teachers for name in teacher.names()] + [ensemble(job)]
    return {name: opinion(job, job.own("soft_labels"), job.own("rows"), name) for name in names}


def ensemble(job: Job) -> str:
    """Under which name the teachers' common opinion is stored."""
    assert job.curation.teach is not None
    return job.curation.teach.ensemble.kind


def findings(job: Job) -> dict[str, Issues]:
    """Every detector's findings on the partition."""
    table = job.store.read([job.own("issues")])
    kinds = table["detector"]
    k = len(job.classes) if job.curation.task == "multi_label" else None
    return {d.kind: Issues.from_arrow(table.filter(pc.equal(kinds, d.kind)), k) for d in job.curation.detect}


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
    table = job.store.read([job.own("labels")])
    return Decisions.from_arrow(table, job.curation.task, len(job.classes))


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
    counts = np.bincount(decided.action, minlength=len(ACTIONS))
    actions = {action: int(count) for action, count in zip(ACTIONS, counts, strict=True)}
    if job.curation.task == "regression":
        none = np.zeros(0, np.int64)
        return LabelChange(none, none, np.zeros((0, 0), np.int64), actions)
    if decided.before is not None and decided.after is not None:
        there = (decided.given >= 0) & (decided.label >= 0)
        return LabelChange(
            given=(decided.before == 1).sum(axis=0),
            curated=(decided.after == 1).sum(axis=0),
            confusion=np.zeros((0, 0), np.int64),
            actions=actions,
            moved=int((decided.before != decided.after)[there].any(axis=1).sum()),
        )
    both = (decided.given >= 0) & (decided.label >= 0)
    pairs = decided.given[both].astype(np.int64) * k + decided.label[both]
    return LabelChange(
        given=np.bincount(decided.given[decided.given >= 0], minlength=k),
        curated=np.bincount(decided.label[decided.label >= 0], minlength=k),
        confusion=np.bincount(pairs, minlength=k * k).reshape(k, k),
        actions=actions,
    )


def suspects(job: Job) -> tuple[Suspect, ...]:
    """The flagged rows, the most likely wrong first, or the lowest quality where no detector states a
    probability; ties by id."""
    found = findings(job)
    frames = [found[job.curation.detect[number].kind] for number in decisive(job.curation.detect)]
    flagged = np.any([f.is_issue for f in frames], axis=0)
    p_error = np.max([np.nan_to_num(f.p_error) for f in frames], axis=0)
    score = np.min([f.score for f in frames], axis=0)
    decided, of_numbers = decisions(job), job.curation.task == "regression"
    order = np.lexsort((decided.ids.astype(str), score if of_numbers else -p_error))
    chosen = order[flagged[order]][:SUSPECTS]
    content = job.store.read([job.own("rows")], ["image", "text", "features"]).take(chosen).to_pylist()
    return tuple(
        Suspect(
            id=str(decided.ids[row]),
            given=int(decided.given[row]),
            suggested=int(frames[0].suggested_label[row]),
            p_error=None if of_numbers else float(p_error[row]),
            score=float(score[row]),
            **said_of(job, decided, frames, int(row)),
            action=ACTIONS[decided.action[row]],
            reason=str(decided.reason[row]),
            picture=payload["image"],
            summary=summary(payload),
        )
        for row, payload in zip(chosen, content, strict=True)
    )


def said_of(job: Job, decided: Decisions, frames: Sequence[Issues], row: int) -> dict[str, str]:
    """What was given and what teachers say, where these are no single classes."""
    if job.curation.task == "multi_label":
        assert decided.before is not None
        given = decided.before[row] == 1
        doubted = np.any([f.doubted[row] for f in frames if f.doubted is not None], axis=0)
        return {"before": named(job, given), "after": named(job, given ^ doubted)}
    if job.curation.task != "regression":
        return {}
    values = opinion(job, job.own("soft_labels"), job.own("rows")).values
    assert decided.before is not None
    assert values is not None
    return {"before": f"{decided.before[row]:.6g}", "after": f"{values[row]:.6g}"}


def named(job: Job, classes: np.ndarray) -> str:
    """Some of the classes, (k,) bool, by name."""
    return ", ".join(np.array(job.classes, object)[classes]) or "none of the classes"


def summary(payload: Mapping[str, Any]) -> str:
    """A payload that is no picture, in a line."""
    if payload["text"] is not None:
        return str(payload["text"])[:200]
    values = payload["features"] or []
    return ", ".join(f"{value:.4g}" for value in values[:8]) + (", …" if len(values) > 8 else "")


def teachers(job: Job) -> tuple[TeacherQuality, ...]:
    """Each teacher against the given labels, and against the truth where it is known."""
    if job.curation.task == "multi_label":
        return of_sets(job)
    held = opinions(job)
    known = {f.name: f.value for f in metrics.teach(held, partition_truth(job))}
    found = []
    for name, soft in held.items():
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


def of_sets(job: Job) -> tuple[TeacherQuality, ...]:
    """The same of whole sets, and of single answers where it is about confidence."""
    given, truths = answers(job)
    known, true = (labels_of(each) >= 0 for each in (given, truths))
    found = []
    for name, soft in opinions(job).items() if known.any() else ():
        p = sets.probabilities(soft)
        right = (p[known] >= 0.5) == (given[known] == 1)
        against_given = sets.judged(p[known], given[known])
        against_truth = sets.judged(p[true], truths[true]) if true.any() else {}
        found.append(
            TeacherQuality(
                name=name,
                bins=reliability(np.maximum(p[known], 1 - p[known]).ravel(), right.ravel()),
                accuracy_given=against_given["exact_match"],
                ece_given=against_given["ece"],
                accuracy_truth=against_truth.get("exact_match"),
                ece_truth=against_truth.get("ece"),
                measure="sets right",
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
