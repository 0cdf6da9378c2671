"""Teachers that learned once more, from the decided labels, before they are asked about views.

Those of teach learn the labels that were given, wrong ones included: detection lives on what they doubt.
Whoever labels views for students had better learn what is known by then (the teachers of Faghri et al.,
"Reinforce Data, Multiply Impact", ICCV 2023, learned from labels that were clean). Folds are those of
teach, so nobody is asked about a row whose label taught them; their weights in the ensemble are teach's too.

Each partition has its own, from the rows of its window whose label may be relied on. A state is named by
what it was learned from, and made anew only where a row or a label to rely on came, went or changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from storage.snapshot import Snapshot, Window
from tasks.config import Curation
from tasks.data import State
from tasks.seeds import seed_of
from tasks.stages.asking import MODELS, asked
from tasks.stages.base import Job, load_state
from tasks.stages.hashing import digest_of, digest_of_array
from tasks.stages.reading import examples
from tasks.stages.teach import cross_fit, payloads
from tasks.stages.trusted import read_trusted
from tasks.teach import Teacher

ROWS, LABELS = "learned_rows", "learned_labels"
"""The window's tables among a job's inputs."""


def relearns(curation: Curation) -> bool:
    return curation.teach is not None and curation.teach.relearn


def window(curation: Curation, snapshot: Snapshot, partition: str) -> dict[str, Window | None]:
    """What the teachers learn from: the rows and the labels of the partition's window."""
    found = snapshot.lineup("rows", "labels").up_to(partition, curation.window_size)
    return {ROWS: found["rows"], LABELS: found["labels"]}


def taught(job: Job) -> str:
    """The fingerprint under which the models lie that are asked about the partition's views."""
    return job.fingerprint if relearns(job.curation) else job.own("soft_labels").fingerprint


def parts(job: Job) -> list[str]:
    """One fit a teacher and fold."""
    assert job.curation.teach is not None
    return [f"{number}-fold{fold}" for number in teachers(job) for fold in range(job.curation.teach.folds)]


def teachers(job: Job) -> dict[int, Teacher]:
    """Those that are asked about views, by number."""
    assert job.curation.teach is not None
    return {n: teacher for n, teacher in enumerate(job.curation.teach.teachers) if teacher in asked(job)}


def state_name(job: Job, part: str) -> str:
    if part == MODELS:
        return f"teach-{job.fingerprint}-{MODELS}"
    number, fold = part.split("-")
    return f"teach-{key(job, teachers(job)[int(number)])}-{fold}"


def key(job: Job, teacher: Teacher) -> str:
    """Of all that decides it: the window's rows, as read and encoded, and what is learned of them."""
    curation = job.curation
    assert curation.teach is not None
    decides = [teacher.learner().identity(), curation.teach.folds, curation.device, curation.dataset]
    rows = [ref.content for ref in job.inputs[ROWS]]
    return digest_of([*decides, rows, digest_of_array(job.once(decided), "<i4")])


def decided(job: Job) -> np.ndarray:
    """The labels (n,) int32 to learn of the window's rows, -1 for none."""
    inputs, on_trial = (job.inputs[ROWS], job.inputs[LABELS]), job.curation.trial is not None
    return read_trusted(job.store.root, job.store.dataset, *inputs, on_trial).labels


def fit(job: Job, part: str) -> State:
    """A teacher's state for a fold; or where the models lie: teach's, but for those that learned again.

    Raises NothingToLearn."""
    if part == MODELS:
        models = load_state(job.store, job.partition, f"teach-{job.own('soft_labels').fingerprint}-{MODELS}")
        places = {
            str(number): [job.partition, key(job, teacher)] for number, teacher in teachers(job).items()
        }
        return State({}, models.info | places)
    number, fold = part.split("-fold")
    teacher = teachers(job)[int(number)]
    rows = replace(examples(job, job.inputs[ROWS], payloads(job)), labels=job.once(decided))
    seed = seed_of(job.curation.dataset, job.partition, teacher.learner().identity(), "decided", int(fold))
    return cross_fit(job, teacher, rows, int(fold), seed)
