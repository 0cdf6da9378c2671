"""Teachers that cost money: which rows of a partition they are asked about, and their answers, kept.

The draw is a fit of its own, after the cheap teacher's: it looks at the whole partition, and is decided by
what decides the stage. Answers lie in one state a partition and expensive teacher, `answers-{key}`, that
is written whole after every few rows. So a killed run asks about at most those few again; a rerun, a
forced run, another budget or another draw asks only about rows of which no answer is kept; and a content
that an earlier partition of the window paid for is not paid for again. What is drawn does not depend on
what is kept: the same partition gives the same table, whoever paid and when.
"""

from __future__ import annotations

import numpy as np

from tasks.data import Examples, State
from tasks.stages.asking import ask_folds
from tasks.stages.base import Job
from tasks.stages.hashing import digest_of
from tasks.teach import Teacher
from tasks.teach.budgeted import Budgeted, estimated_error

ROWS_A_CALL = 16
"""How many answers a crash can lose."""


def asked(job: Job, teacher: Budgeted, place: tuple[str, str], rows: Examples, folds: np.ndarray) -> State:
    """What the expensive teacher says of the rows that are drawn of a whole partition.

    place: where the cheap teacher's states lie. Arrays: `places` (b,) int64, ascending, and `log_probs`
    (b, n_classes) float32. Info: what `Budgeted.chosen` says, `error`, `error_from`, `paid` (rows asked now).
    """
    said = ask_folds(job, teacher, place, rows, folds)[0]
    error, source = teacher.error, "the curation"
    if error is None:
        error, source = estimated_error(np.exp(said), rows.labels), "the cheap teacher, by confident learning"
    places, why = teacher.chosen(said, rows.keys, error)
    log_probs, paid = answered(job, teacher.expensive, rows.take(places))
    notes = [
        f"budgeted asked about {len(places):,} of {len(rows):,} rows, {why['support']:,} of them worth it, "
        f"as {why['wrong']:,} may be answered wrong (by {source})"
    ]
    info = {**why, "error": error, "error_from": source, "paid": paid, "notes": notes}
    return State({"places": places, "log_probs": log_probs}, info)


def answered(job: Job, teacher: Teacher, rows: Examples) -> tuple[np.ndarray, int]:
    """One answer a row, float32 (n, n_classes), from what is kept where it is; and how many were not."""
    k = len(job.classes)
    name = answers_name(teacher, k)
    keys, log_probs = kept(job, name, k)
    _, first = np.unique(rows.keys, return_index=True)
    missing = first[~np.isin(rows.keys[first], keys)]
    own = job.store.load_state(job.partition, name)
    mine = [own[0]] if own else []
    for start in range(0, len(missing), ROWS_A_CALL):
        part = rows.take(missing[start : start + ROWS_A_CALL])
        said = teacher.predict(State({}, {}), part, k, job.device)[0]
        mine.append({"keys": part.keys, "log_probs": said})
        together = {array: np.concatenate([each[array] for each in mine]) for array in ("keys", "log_probs")}
        job.store.save_state(job.partition, name, together, {})
        keys, log_probs = np.append(keys, mine[-1]["keys"]), np.concatenate([log_probs, said])
    order = np.argsort(keys, kind="stable")
    found = order[np.searchsorted(keys, rows.keys, sorter=order)] if len(rows) else np.zeros(0, np.int64)
    return log_probs[found], len(missing)


def kept(job: Job, name: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The answers of the window's partitions: content keys (a,) uint64 and log-probabilities (a, k)."""
    partitions = [ref.partition for ref in job.inputs.get("lessons", job.inputs["rows"])]
    found = [job.store.load_state(name_of, name) for name_of in dict.fromkeys([*partitions, job.partition])]
    arrays = [state[0] for state in found if state is not None]
    none: dict[str, np.ndarray] = {"keys": np.zeros(0, np.uint64), "log_probs": np.zeros((0, k), np.float32)}
    keys, log_probs = (np.concatenate([part[name] for part in [none, *arrays]]) for name in none)
    return keys, log_probs


def answers_name(teacher: Teacher, n_classes: int) -> str:
    """Another teacher, another file of it, or another class to choose from: other answers."""
    return f"answers-{digest_of([teacher.identity(), n_classes])}"
