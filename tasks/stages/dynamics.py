"""How the networks that know a partition's window learned each of its rows; see `tasks.teach.dynamics`.

A row trains the teachers of all folds but its own, less those that held it out to choose a checkpoint. Its
dynamics are the mean over these, fold by fold, of the teachers that judge the *last* partition of the
window: they know all rows of their window, so every row is judged on one scale, and their states are
kept as long as that partition's soft labels are. NaN is a row that none of them trained on: of a
partition that came after its teachers, of another split, of another label then.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np

from storage.store import Store, TableRef
from tasks.data import Examples
from tasks.stages.asking import MODELS
from tasks.stages.base import Job, load_state
from tasks.teach.dynamics import DYNAMICS, ERRORS, MARKS, recorded_of

_loading = Lock()


def dynamics_of(job: Job, rows: Examples) -> np.ndarray:
    """The area under the margin, the times forgotten and the early error, float32 (n, 3). Raises StageFailed
    where the teachers' states are gone."""
    teach = job.curation.teach
    assert teach is not None
    recording = tuple(number for number, teacher in enumerate(teach.teachers) if teacher.records_dynamics)
    with _loading:
        marks, means = recorded(
            job.store.root, job.store.dataset, job.own("soft_labels"), recording, teach.folds
        )
    return recorded_of(rows.keys, rows.labels, marks, means)


@lru_cache(maxsize=2)
def recorded(
    root: str, dataset: str, soft: TableRef, recording: tuple[int, ...], folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the teachers numbered `recording` have seen: marks uint64 (m,), ascending, and the means over
    their folds, float32 (m, 3), the error NaN where a state was made before errors were recorded."""
    store = Store(root, dataset)
    models = load_state(store, soft.partition, f"teach-{soft.fingerprint}-{MODELS}").info
    states = []
    for number in recording:
        partition, key = models[str(number)]
        states += [load_state(store, partition, f"teach-{key}-fold{fold}").arrays for fold in range(folds)]
    marks = np.unique(np.concatenate([np.zeros(0, np.uint64), *(state[MARKS] for state in states)]))
    sums, counts = np.zeros((len(marks), 3)), np.zeros((len(marks), 1))
    for state in states:
        at = np.searchsorted(marks, state[MARKS])
        sums[at, :2] += state[DYNAMICS][:, :2]
        sums[at, 2] += state.get(ERRORS, np.nan)
        counts[at] += 1
    return marks, (sums / counts).astype(np.float32)
