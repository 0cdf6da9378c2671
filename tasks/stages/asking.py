"""Ask the teachers that never saw a row: what teach does for rows and reinforce for views of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.data import Examples, SoftLabels, State
from tasks.seeds import folds_of
from tasks.stages.base import Job, load_state
from tasks.teach import Teacher, yes_no

NLL_GRID = "nll_grid"
"""Beside a model's own arrays, what its fold says of the temperature; see `tasks.teach.temperature`."""

MODELS = "models"
"""The state of teach that tells where the trained teachers' states lie: for each teacher's number, the
partition and the key of `tasks.stages.lessons`; and the place of the ensemble's state."""

ENSEMBLE = "ensemble"


def ask(
    job: Job, rows: Examples, folds: np.ndarray, taught: str | None = None
) -> tuple[list[str], np.ndarray, list[bool]]:
    """The opinion of every teacher, each fold's rows asked of the teacher that left the fold out.

    `taught` is the fingerprint of the teach stage whose models are asked (default: this job's own);
    teachers without models are then left out, since they cannot judge what was not in their file.
    Returns the names (m), log-probabilities float32 (m, n, n_classes), calibrated by temperature, or of
    multi_label log-odds, or of regression values float64 (m, n, 1); and for each whether it was cross-fitted.
    """
    teach = job.curation.teach
    assert teach is not None
    models = load_state(job.store, job.partition, f"teach-{taught or job.fingerprint}-{MODELS}")
    names: list[str] = []
    said: list[np.ndarray] = []
    cross_fitted: list[bool] = []
    for number, teacher in enumerate(teach.teachers):
        if taught is not None and teacher not in asked(job):
            continue  # who does not look at a row, or costs money, is not asked about its views
        if teacher.cross_fitted:
            answers = ask_folds(job, teacher, models.info[str(number)], rows, folds)
        else:
            answers = teacher.predict(State({}, {}), rows, len(job.classes), job.device)
        names += teacher.names()
        said += list(answers)
        cross_fitted += [teacher.cross_fitted] * len(answers)
    return names, np.stack(said), cross_fitted


def ask_folds(
    job: Job, teacher: Teacher, place: tuple[str, str], rows: Examples, folds: np.ndarray
) -> np.ndarray:
    """One cross-fitted teacher's answers as of `ask`, (1, n, …); its states lie at a partition and a key.

    The temperature of fold f comes from the other folds' predictions, so that no row has a say in
    its own soft label (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
    """
    from tasks.teach.temperature import best_temperature, scale
    from tasks.teach.yes_no import softened

    assert job.curation.teach is not None
    partition, key = place
    states = [
        load_state(job.store, partition, f"teach-{key}-fold{fold}")
        for fold in range(job.curation.teach.folds)
    ]
    task = job.curation.task
    if task == "regression":
        answers = np.zeros((1, len(rows), 1), np.float64)
    else:
        grids = np.stack([state.arrays.pop(NLL_GRID) for state in states])
        answers = np.zeros((1, len(rows), len(job.classes)), np.float32)
    for fold, state in enumerate(states):
        mine = folds == fold
        if mine.any():
            said = teacher.predict(state, rows.take(mine), len(job.classes), job.device)
            if task == "regression":
                answers[:, mine] = said
                continue
            temperature = best_temperature(grids.sum(axis=0) - grids[fold])
            answers[:, mine] = (softened if task == "multi_label" else scale)(said, temperature)
    return answers


def together(job: Job, names: Sequence[str], log_probs: np.ndarray, taught: str | None = None) -> np.ndarray:
    """What `ask` returned as one opinion, probabilities (n, n_classes), or values (n,)."""
    teach = job.curation.teach
    assert teach is not None
    if job.curation.task == "regression":
        return teach.ensemble.together(names, log_probs[:, :, 0])
    state = State({}, {})
    if teach.ensemble.fitted:
        models = load_state(job.store, job.partition, f"teach-{taught or job.fingerprint}-{MODELS}")
        state = load_state(job.store, *models.info[ENSEMBLE])
    if job.curation.task == "multi_label":
        answered = teach.ensemble.apply(names, yes_no.log_probs(log_probs), state)
        return yes_no.as_sets(answered[:, 1], len(job.classes))
    return teach.ensemble.apply(names, log_probs, state)


def asked(job: Job) -> list[Teacher]:
    """The teachers that can tell what they think of an example which is no row."""
    assert job.curation.teach is not None
    return [
        t for t in job.curation.teach.teachers if t.cross_fitted and t.looks_at() & {"images", "embedding"}
    ]


def looked_at(job: Job) -> frozenset[str]:
    """What they read of it."""
    return frozenset().union(*(teacher.looks_at() for teacher in asked(job)))


def judges(job: Job) -> list[Any]:
    """What decides their opinion, as JSON: equal where neither they nor what stands before them changed."""
    teach, encoder = job.curation.teach, job.curation.ingest.encoder
    assert teach is not None
    models = load_state(job.store, job.partition, f"teach-{job.own('soft_labels').fingerprint}-{MODELS}")
    methods = [teacher.identity() for teacher in asked(job)]
    return [
        *(methods, models.info, teach.ensemble.identity(), teach.folds, teach.top_k, len(job.classes)),
        encoder.identity() if encoder else None,
    ]


def judged(job: Job, made: Examples) -> np.ndarray:
    """Log-probabilities float32 (m, n_classes) of the ensemble about examples that are no rows, each by the
    teachers that left out the fold of its key. Those without an embedding are encoded first."""
    teach, encoder = job.curation.teach, job.curation.ingest.encoder
    assert teach is not None
    if encoder and made.embedding is None and "embedding" in looked_at(job):
        made = replace(made, embedding=encoder.encode(made))
    taught = job.own("soft_labels").fingerprint
    names, log_probs, _ = ask(job, made, folds_of(made.keys, teach.folds), taught)
    probabilities = together(job, names, log_probs, taught)
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), np.float32)


def soft_labels(
    job: Job,
    rows: Examples,
    images: np.ndarray | None = None,
    features: np.ndarray | None = None,
    tiles: int = 1,
    say: Callable[[Examples], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `top_k` classes int32 and weights int16 (m, k) of rows, or of what was made from them: as the
    teachers `judged` them, or somebody else who can `say` log-probabilities."""
    teach = job.curation.teach
    assert teach is not None
    if images is not None or features is not None:
        if images is not None and tiles > 1:
            from tasks.distill.mosaic import decode

            images = decode(images, tiles)
        repeated = rows.take(np.repeat(np.arange(len(rows)), tiles**2))
        rows = replace(repeated, images=images, features=features, embedding=None)
    log_probs = say(rows) if say else judged(job, rows)
    said = np.exp(log_probs.astype(np.float64)).reshape(-1, tiles**2, len(job.classes)).mean(axis=1)
    nobody = np.full(len(said), -1, np.int32)
    soft = SoftLabels.from_pred_probs(rows.ids[:: tiles**2], nobody, said, teach.top_k)
    return soft.classes, soft.weights
