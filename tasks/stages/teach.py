"""Teach: K folds of every teacher over a window, then an opinion on each of the partition's rows.

An ensemble that learns how to weigh the teachers does so once they are trained, from what they say of
the window's rows that they never saw.

The window is the partition's own, or that of an earlier anchor whose teachers are used again; see
`tasks.stages.lessons`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
import pyarrow as pa

from storage.snapshot import Snapshot, Window
from tasks.config import Curation, Refit, Teach
from tasks.data import Examples, SoftLabels, State
from tasks.errors import BadInput, StageFailed
from tasks.seeds import folds_of, seed_of
from tasks.stages.asking import ENSEMBLE, MODELS, NLL_GRID, ask, together
from tasks.stages.base import Job, Stage, by_row, load_state
from tasks.stages.hashing import digest_of
from tasks.stages.lessons import Lesson, anchors, course, labels_name, windows
from tasks.stages.paid import answers_name, asked
from tasks.stages.reading import examples, picked
from tasks.teach import Start, Teacher, yes_no
from tasks.teach.budgeted import Budgeted


class NothingToLearn(StageFailed):
    """No row of a window can train the teachers of a fold."""


class TeachStage(Stage):
    name = "teach"
    tables = ("soft_labels",)
    reads_window = ("rows",)

    def enabled(self, curation: Curation) -> bool:
        return curation.teach is not None

    def identity(self, curation: Curation) -> Any:
        teach = settings(curation)
        methods = [teacher.identity() for teacher in teach.teachers]
        decides = [methods, teach.folds, teach.top_k, teach.ensemble.identity(), curation.device]
        # A fresh teacher depends on its own window alone, which is an input; a warm one on all before it.
        return [*decides, teach.refit.growth, curation.window_size] if is_warm(curation) else decides

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, Window | None]:
        """The partition's rows, last of its window; or, where teachers are used again, its rows and as
        `lessons` all that its anchor's teachers come from."""
        own = snapshot.own("rows", partition)
        if own is None or not learns(curation):
            return {"rows": own}
        if settings(curation).refit == Refit():
            return super().inputs(curation, snapshot, partition, made)
        lineup = snapshot.lineup("rows")
        known = anchors(lineup, settings(curation).refit.growth, curation.window_size)
        anchor = known[bisect_left(known, bisect_right(lineup.names, partition)) - 1]
        last = None if is_warm(curation) else curation.window_size
        return {"rows": own, "lessons": lineup.up_to(lineup.names[anchor], last)["rows"]}

    def rounds(self, job: Job) -> list[list[str]]:
        folds = range(settings(job.curation).folds)
        teachers = [f"{number}-fold{fold}" for number in trained(job.curation) for fold in folds]
        paid = [f"{number}-asked" for number in budgeted(job.curation)]
        return [[*teachers, MODELS], [ENSEMBLE] if settings(job.curation).ensemble.fitted else [], paid]

    def place(self, job: Job, part: str) -> tuple[str, str]:
        if part == MODELS or part.endswith("-asked"):
            return super().place(job, part)
        if part == ENSEMBLE:
            return ensemble_place(job)
        number, fold = numbers(part)
        lesson = course(job, settings(job.curation).teachers[number])[-1]
        return lesson.partition, lesson.state_name(fold)

    def states_used(self, job: Job) -> list[str]:
        lessons = [course(job, settings(job.curation).teachers[n])[-1] for n in trained(job.curation)]
        states = [f"{lesson.partition}/teach-{lesson.key}-" for lesson in lessons]
        states.append(f"{job.partition}/{job.state_name(MODELS)}")
        for number, teacher in budgeted(job.curation).items():
            states.append(f"{job.partition}/{job.state_name(f'{number}-asked')}")
            states.append(f"{job.partition}/{answers_name(teacher.expensive, len(job.classes))}")
        # What labels a window has is noted once a partition asks that is not the window's own anchor.
        noted = [(lesson.partition, labels_name(lesson.window)) for lesson in lessons[:1]]
        if settings(job.curation).ensemble.fitted:
            noted.append(ensemble_place(job))
        return states + ["/".join(place) for place in noted if job.store.has_state(*place)]

    def fit(self, job: Job, part: str) -> State:
        """A teacher's state for a fold; or where all of this job's states lie, for whoever asks them."""
        refuse_top_k(job)
        teachers = settings(job.curation).teachers
        if part == MODELS:
            last = {number: course(job, teachers[number])[-1] for number in trained(job.curation)}
            places = {str(number): [lesson.partition, lesson.key] for number, lesson in last.items()}
            fitted = settings(job.curation).ensemble.fitted
            return State({}, places | ({ENSEMBLE: list(ensemble_place(job))} if fitted else {}))
        if part == ENSEMBLE:
            return weigh(job)
        if part.endswith("-asked"):
            number = int(part.removesuffix("-asked"))
            teacher, lesson = budgeted(job.curation)[number], course(job, teachers[number])[-1]
            rows = examples(job, [job.own("rows")], payloads(job))
            folds = folds_of(rows.keys, settings(job.curation).folds)
            return asked(job, teacher, (lesson.partition, lesson.key), rows, folds)
        number, fold = numbers(part)
        lessons = course(job, teachers[number])
        known = learned_before(job, teachers[number], lessons, fold)
        return learn(job, teachers[number], lessons[-1], fold, known)

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        teach = settings(job.curation)
        rows = examples(job, [job.own("rows")], payloads(job), (start, stop))
        folds = folds_of(rows.keys, teach.folds)
        names, log_probs, cross_fitted = ask(job, rows, folds)
        outside = np.full(len(rows), -1, np.int16)
        answered_by: dict[str, str | np.ndarray] = dict(zip(names, names, strict=True))
        fold_of = {name: folds if known else outside for name, known in zip(names, cross_fitted, strict=True)}
        for number, teacher in budgeted(job.curation).items():
            name, paid = teacher.kind, job.state(f"{number}-asked").arrays
            here = (paid["places"] >= start) & (paid["places"] < stop)
            places = paid["places"][here] - start
            log_probs[names.index(name), places] = paid["log_probs"][here]
            answered_by[name] = teacher.answered_by(np.isin(np.arange(len(rows)), places))
            fold_of[name] = np.where(np.isin(np.arange(len(rows)), places), outside, folds)
        tables = [
            encoded(job, rows, opinion(job, said)).to_arrow(answered_by[name], fold_of[name])
            for name, said in zip(names, log_probs, strict=True)
        ]
        soft = encoded(job, rows, together(job, names, log_probs))
        tables.append(soft.to_arrow(teach.ensemble.kind, folds if all(cross_fitted) else outside))
        return {"soft_labels": by_row(tables)}


def refuse_top_k(job: Job) -> None:
    """Raises BadInput where some answers about a row would not be stored: they have no tail to be in."""
    most, k = settings(job.curation).top_k, len(job.classes)
    if job.curation.task == "multi_label" and most < k:
        raise BadInput(
            f"teach.top_k is {most}, and multi_label stores the answers to all of {job.curation.dataset}'s "
            f"{k} classes; write top_k: {k} or more"
        )


def opinion(job: Job, said: np.ndarray) -> np.ndarray:
    """One teacher's of what `ask` returns: probabilities (n, n_classes) or values (n,)."""
    if job.curation.task == "multi_label":
        return yes_no.probabilities(said)
    return said[:, 0] if job.curation.task == "regression" else np.exp(said)


def encoded(job: Job, rows: Examples, said: np.ndarray) -> SoftLabels:
    """An opinion, probabilities (n, n_classes) or values (n,), as it is stored."""
    if job.curation.task != "single_label":
        assert rows.given is not None
        encode = SoftLabels.from_values if job.curation.task == "regression" else SoftLabels.from_independent
        return encode(rows.ids, rows.given, said)
    return SoftLabels.from_pred_probs(rows.ids, rows.labels, said, settings(job.curation).top_k)


def settings(curation: Curation) -> Teach:
    assert curation.teach is not None
    return curation.teach


def is_warm(curation: Curation) -> bool:
    return settings(curation).refit.start == "warm"


def trained(curation: Curation) -> list[int]:
    """The numbers of the teachers that are trained here."""
    return [number for number, teacher in enumerate(settings(curation).teachers) if teacher.cross_fitted]


def learns(curation: Curation) -> bool:
    """Whether the stage looks at the window at all."""
    return bool(trained(curation)) or settings(curation).ensemble.fitted


def ensemble_place(job: Job) -> tuple[str, str]:
    """Where the ensemble's state lies: beside the teachers', under the last partition of their window."""
    teach, window = settings(job.curation), windows(job)[-1]
    teachers = [teacher.identity() for teacher in teach.teachers]
    keys = [course(job, teach.teachers[number])[-1].key for number in trained(job.curation)]
    decides = [teach.ensemble.identity(), teachers, keys, teach.folds, window.digest, len(job.classes)]
    return window.partitions[-1], f"teach-{digest_of(decides)}-{ENSEMBLE}"


def weigh(job: Job) -> State:
    """Fit the ensemble on what the teachers say of a sample of the window's labelled training rows."""
    from tasks.noise_matrix import sample

    teach, window, k = settings(job.curation), windows(job)[-1], len(job.classes)
    names = [name for teacher in teach.teachers for name in teacher.names()]
    of_sets = job.curation.task == "multi_label"
    known = examples(job, window.refs, ())
    assert known.trains is not None
    places = np.flatnonzero((known.labels >= 0) & known.trains)
    if not len(places):
        empty = np.zeros((len(names), 0, 2 if of_sets else k), np.float32)
        return teach.ensemble.fit(names, empty, known.labels[places])
    places = places[sample(known.keys[places], len(names), 2 * k if of_sets else k)]
    rows = picked(job, window.refs, places, payloads(job))
    names, said, _ = ask(job, rows, folds_of(rows.keys, teach.folds))
    if of_sets:
        assert rows.given is not None
        return teach.ensemble.fit(names, yes_no.log_probs(said), yes_no.answers(rows.given))
    return teach.ensemble.fit(names, said, rows.labels)


def numbers(part: str) -> tuple[int, int]:
    """The teacher and the fold of a part."""
    number, fold = part.split("-fold")
    return int(number), int(fold)


def payloads(job: Job) -> frozenset[str]:
    """What the teachers read of a row."""
    return frozenset().union(*(teacher.looks_at() for teacher in settings(job.curation).teachers))


def budgeted(curation: Curation) -> dict[int, Budgeted]:
    """The teachers that ask another one about some of the rows, by number."""
    return {n: t for n, t in enumerate(settings(curation).teachers) if isinstance(t, Budgeted)}


def learned_before(job: Job, teacher: Teacher, lessons: list[Lesson], fold: int) -> State | None:
    """What the training before the last left, made again from as far back as states are gone; None
    where there was none, or none of its rows could teach."""
    *earlier, _ = lessons
    at = len(earlier)
    while at and not job.store.has_state(earlier[at - 1].partition, earlier[at - 1].state_name(fold)):
        at -= 1
    known = None
    if at:
        known = load_state(job.store, earlier[at - 1].partition, earlier[at - 1].state_name(fold))
    for lesson in earlier[at:]:
        try:
            known = learn(job, teacher, lesson, fold, known)
        except NothingToLearn:
            known = None
        else:
            job.store.save_state(lesson.partition, lesson.state_name(fold), known.arrays, known.info)
    return known


def learn(job: Job, teacher: Teacher, lesson: Lesson, fold: int, known: State | None) -> State:
    """Train on a window's given labels. Raises NothingToLearn."""
    window = examples(job, lesson.window.refs, payloads(job))
    seed = seed_of(job.curation.dataset, lesson.partition, teacher.learner().identity(), fold)
    start = Start(without_grid(known), lesson.new) if known else None
    return cross_fit(job, teacher, window, fold, seed, start)


def cross_fit(
    job: Job, teacher: Teacher, window: Examples, fold: int, seed: int, start: Start | None = None
) -> State:
    """Train on the other folds' rows, and add what this fold's own rows say of the temperature.

    The classes are those of the window and not the vocabulary's: what was learned stays valid when a
    class appears that the window does not have. A value has no temperature. Raises NothingToLearn.
    """
    from tasks.teach.temperature import nll_grid

    assert window.trains is not None
    usable = (window.labels >= 0) & window.trains
    folds = folds_of(window.keys, settings(job.curation).folds)
    train = window.take(usable & (folds != fold))
    if not len(train):
        option = "teach" if job.stage == "teach" else "teach.relearn"
        way_out = (
            "label more rows, or widen window"
            if usable.any()
            else f"map the source's label, or leave out {option}"
        )
        raise NothingToLearn(
            f"{job.stage} of {job.partition}: no labelled training row outside fold {fold}; {way_out}"
        )
    n_classes = classes_of(window.take(usable))
    if not n_classes:
        raise NothingToLearn(f"{job.stage} of {job.partition}: no row has any class; map the source's labels")
    state = teacher.fit(train, n_classes, seed, job.device, start)
    if job.curation.task == "regression":
        return state
    held = window.take(usable & (folds == fold))
    if held.given is not None:
        held = held.take(yes_no.tempered(held.keys, n_classes))
    log_probs = teacher.predict(state, held, n_classes, job.device)[0]
    judges = held.labels
    if held.given is not None:
        log_probs, judges = yes_no.log_probs(log_probs), yes_no.answers(held.given[:, :n_classes])
    judges = judges if teacher.tempered else judges[:0]
    return State({**state.arrays, NLL_GRID: nll_grid(log_probs[: len(judges)], judges)}, state.info)


def classes_of(rows: Examples) -> int:
    """How many of the vocabulary's classes there are up to the last one that a row has; of regression, 1."""
    if rows.given is None or rows.given.ndim == 1:
        return int(rows.labels.max()) + 1
    return int(np.flatnonzero((rows.given == 1).any(axis=0)).max(initial=-1)) + 1


def without_grid(state: State) -> State:
    """A state as its teacher made it."""
    return State({name: array for name, array in state.arrays.items() if name != NLL_GRID}, state.info)
