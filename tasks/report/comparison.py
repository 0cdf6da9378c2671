"""A night against the nights before it, as figures.

What a night alone cannot show: labels that all moved by one are consistent with themselves. So a
classifier that has seen earlier nights only is asked about this one, and the night's pictures, classes
and contents are compared with theirs. The figures that a gate bounds are lower confidence limits (see
`tasks.report.shift`). Bounded: whole columns of labels and content keys, at most SAMPLE rows of either
side for what needs vectors. Cost: two small networks, and SAMPLE**2 distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from tasks.report import Figure, shift
from tasks.seeds import mix, seed_of

MEANINGS = {
    "missing_partitions": "dates missing right before this one, at the usual step",
    "share_repeated": "rows whose content came before, on this night or an earlier one",
    "share_leaked": "rows whose content is also on the other side of the split",
    "class_shift": "how far the classes' shares moved (effect size w), a limit",
    "class_jump": "how much more or less often the class came that moved most (1: twice, or half), a limit",
    "new_classes": "rows of classes that earlier nights lack, a limit",
    "drift_accuracy": "how often a classifier tells this night's rows from earlier ones; half is chance",
    "drift_z": "the same in deviations from chance",
    "embedding_drift": "rows that could not have come on earlier nights, a limit",
    "label_agreement": "given labels that a classifier of earlier nights agrees with",
    "label_shift": "how many fewer labels it agrees with than on earlier nights, a limit",
    "label_swap": "rows of one class that it calls one other class, the largest share, a limit",
}
"""Every figure that compares with earlier nights, and what it is."""

OF_ONE_CLASS = {"class_shift", "class_jump", "new_classes", "label_agreement", "label_shift", "label_swap"}
"""Those that look at one class a row, and say nothing of other tasks."""

COMPARED = MEANINGS.keys() | {"curation_loss"}
"""Figures that need something to compare with, so that a partition may rightly lack them."""

NIGHTS, SAMPLE, FEWEST = 7, 4000, 20
"""Earlier partitions that are looked at; rows of a sample at most; rows below which none is judged."""

NEAR = 0.01
"""Vectors this close, relative to their length, are one picture that was stored twice."""

WIDTH, STEPS, BATCH, LEARNING_RATE = 128, 500, 128, 1e-3
"""The classifier of earlier nights."""


@dataclass(frozen=True)
class Sample:
    """Rows of one side, in the order of `sampled`.

    labels: (n,) int32, -1 for none. trains: (n,) bool. vectors: (n, d) numbers, None where rows have none.
    """

    labels: np.ndarray
    trains: np.ndarray
    vectors: np.ndarray | None


@dataclass(frozen=True)
class Side:
    """This night, or the earlier ones: every row's key (n,) uint64, label (n,) int32 and whether it is
    of the training split (n,) bool, and a sample of the rows."""

    keys: np.ndarray
    labels: np.ndarray
    trains: np.ndarray
    sample: Sample


def sampled(keys: np.ndarray) -> np.ndarray:
    """Which rows a sample holds, in an order that means nothing: those whose keys have the smallest
    hashes, so that it depends on the rows' contents alone. (n,) uint64 -> (at most SAMPLE,) int64."""
    return np.argsort(mix(keys, seed_of("comparison", "sample")), kind="stable")[:SAMPLE]


def figures(night: Side, earlier: Side, n_classes: int, seed: int, device: str) -> list[Figure]:
    """Every figure that these rows allow."""
    n = len(night.keys)
    if min(n, len(earlier.keys)) == 0:
        return []
    repeats = np.isin(night.keys, earlier.keys) | later_copies(night.keys)
    now, before = (
        np.bincount(side.labels[side.labels >= 0], minlength=n_classes) for side in (night, earlier)
    )
    found = [
        Figure("report", "share_repeated", float(repeats.mean()), "share"),
        Figure("report", "share_leaked", leaked(night, earlier), "share"),
        Figure("report", "class_shift", shift.class_shift(now, before), "effect"),
        Figure("report", "class_jump", shift.class_jump(now, before), "effect"),
        Figure("report", "new_classes", shift.new_classes(now, before), "share"),
    ]
    if night.sample.vectors is None or earlier.sample.vectors is None:
        return found
    return (
        found
        + drift(night.sample.vectors, earlier.sample.vectors, seed, device)
        + agreement(night.sample, earlier.sample, n_classes, seed, device)
    )


def later_copies(keys: np.ndarray) -> np.ndarray:
    """Which rows repeat one before them: (n,) uint64 -> (n,) bool."""
    copies = np.ones(len(keys), bool)
    copies[np.unique(keys, return_index=True)[1]] = False
    return copies


def leaked(night: Side, earlier: Side) -> float:
    """The share of the night's rows whose content is also on the other side of the split, on this night
    or an earlier one: equal contents among all rows, or nearly equal vectors within the samples."""
    across = np.zeros(len(night.keys), bool)
    for training in (True, False):
        mine = night.trains == training
        others = np.concatenate([side.keys[side.trains != training] for side in (night, earlier)])
        across[mine] = np.isin(night.keys[mine], others)
    return max(float(across.mean()), nearly_leaked(night.sample, earlier.sample))


def nearly_leaked(night: Sample, earlier: Sample) -> float:
    if night.vectors is None or earlier.vectors is None or not len(night.vectors):
        return 0.0
    found = 0
    for training in (True, False):
        mine = night.vectors[night.trains == training]
        others = [s.vectors[s.trains != training] for s in (night, earlier) if s.vectors is not None]
        found += int(shift.close(mine, np.concatenate(others), NEAR).sum())
    return found / len(night.vectors)


def drift(night: np.ndarray, earlier: np.ndarray, seed: int, device: str) -> list[Figure]:
    """The classifier two-sample test between equally many rows of both sides."""
    n = min(len(night), len(earlier))
    if n < FEWEST:
        return []
    accuracy, n_test = shift.two_sample_accuracy(night[:n], earlier[:n], seed, device)
    z = (accuracy - 0.5) * 2 * float(np.sqrt(n_test))
    return [
        Figure("report", "drift_accuracy", accuracy, "share"),
        Figure("report", "drift_z", z, "deviations"),
        Figure("report", "embedding_drift", shift.least_distance(accuracy, n_test), "share"),
    ]


def agreement(night: Sample, earlier: Sample, n_classes: int, seed: int, device: str) -> list[Figure]:
    """What a classifier of half of the earlier rows makes of the night's given labels, against what it
    makes of the other half's."""
    from tasks.report.perceptron import fit, predict

    assert night.vectors is not None
    assert earlier.vectors is not None
    known = np.flatnonzero(earlier.labels >= 0)
    learn, check = known[::2], known[1::2]
    judged = np.flatnonzero(night.labels >= 0)
    if min(len(check), len(judged)) < FEWEST:
        return []
    model = fit(
        earlier.vectors[learn],
        np.eye(n_classes, dtype=np.float32)[earlier.labels[learn]],
        steps=STEPS,
        width=WIDTH,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
        seed=seed,
        device=device,
    )
    given, said = night.labels[judged], predict(model, night.vectors[judged])
    wrong = float((said != given).mean())
    usual = float((predict(model, earlier.vectors[check]) != earlier.labels[check]).mean())
    return [
        Figure("report", "label_agreement", 1 - wrong, "share"),
        Figure("report", "label_shift", shift.least_rise(wrong, len(judged), usual, len(check)), "share"),
        Figure("report", "label_swap", swap(given, said, n_classes), "share"),
    ]


def swap(given: np.ndarray, said: np.ndarray, n_classes: int) -> float:
    """The largest share of one class's rows, at the least, that the classifier calls one other class."""
    pairs = np.bincount(given * n_classes + said, minlength=n_classes**2).reshape(n_classes, n_classes)
    limits = shift.least_share(pairs, pairs.sum(axis=1, keepdims=True))
    np.fill_diagonal(limits, 0.0)
    return float(limits.max(initial=0.0))


def missing_partitions(partition: str, earlier: Sequence[str]) -> list[Figure]:
    """How many dates are missing right before a partition named by one, at the usual step of those
    before it; nothing where names are no dates or two of them show no step yet."""
    try:
        days = np.array([date.fromisoformat(name).toordinal() for name in (*earlier, partition)])
    except ValueError:
        return []
    steps = np.diff(days)
    if len(steps) < 2:
        return []
    usual = max(float(np.median(steps[:-1])), 1.0)
    return [Figure("report", "missing_partitions", max(0.0, round(steps[-1] / usual) - 1.0), "partitions")]
