"""Confident learning's counts: thresholds, the confident joint, and how many labels of each pair to prune.

Northcutt, Jiang & Chuang, JAIR 70 (2021), section 3, in the arithmetic of cleanlab 2.9 (`cleanlab.count`,
`cleanlab.filter`): which rows are flagged hangs on single bits here, so three traps are kept on purpose.
Thresholds are float32 means, whose last bits follow the order of the rows. The joint is scaled with the
true class first, since sums over the other layout differ in the last bit and tip x.5 when it is rounded.
Pruned counts are cut to integers, not rounded.

What is counted over rows is an integer, so counts of blocks add up to those of the whole in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from tasks.detect.blocks import THREADS, in_order

TOLERANCE = 1e-6
"""How far below a threshold still reaches it, and by how much a given label is favoured."""

PART_ROWS = 1 << 20
"""Rows whose order is kept at once: 8 MiB."""

UNREACHABLE = 2
"""The threshold of a class that no row is labelled with."""


def class_starts(labels: np.ndarray, k: int) -> np.ndarray:
    """Where each class starts among the rows class by class: (k + 1,) int64."""
    starts = np.zeros(k + 1, dtype=np.int64)
    np.cumsum(np.bincount(labels, minlength=k), out=starts[1:])
    return starts


def by_class(values: np.ndarray, labels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Values (n,) class by class, in row order within each. Rows are sorted a part at a time, since the order
    of all of them would take more memory than they do."""
    ordered, following = np.empty_like(values), starts[:-1].copy()
    for begin in range(0, len(values), PART_ROWS):
        part = labels[begin : begin + PART_ROWS]
        found = np.bincount(part, minlength=len(following))
        place = np.repeat(following - np.cumsum(found) + found, found) + np.arange(len(part))
        ordered[place] = values[begin : begin + PART_ROWS][np.argsort(part, kind="stable")]
        following += found
    return ordered


def thresholds(given: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean probability of each class among the rows labelled with it: given (n,) float32, class by class ->
    (k,), at least 2e-6; float64 if a class is absent, else float32, as cleanlab's are."""
    means = [given[a:b].mean() if b > a else UNREACHABLE for a, b in pairwise(starts)]
    return np.clip(means, 2 * TOLERANCE, None)


def floors(threshold: np.ndarray) -> np.ndarray:
    """The smallest float32 that reaches each threshold: (k,)."""
    lowest = threshold - TOLERANCE
    narrow = lowest.astype(np.float32)
    return np.where(narrow < lowest, np.nextafter(narrow, np.float32(np.inf)), narrow)


@dataclass(frozen=True)
class Survey:
    """What a row says by itself. given: (b,) float32 probability of its label. agrees: (b,) bool, its label
    is the likeliest class, or as good as. guess: (b,) the class it is confidently of, -1 for none.
    top, highest: (b,) the likeliest class, the lowest of equals, and its probability."""

    given: np.ndarray
    agrees: np.ndarray
    guess: np.ndarray
    top: np.ndarray
    highest: np.ndarray


def survey(labels: np.ndarray, pred_probs: np.ndarray, floor: np.ndarray) -> Survey:
    """Rows one by one: labels (b,), pred_probs (b, k) float32, floor (k,) float32.

    A row that reaches several thresholds is of its likeliest class, one that reaches a single threshold
    is of that class. Raises ValueError where a probability is NaN or outside 0..1.
    """
    rows = np.arange(len(labels))
    given, top = pred_probs[rows, labels], pred_probs.argmax(axis=1)
    highest = pred_probs[rows, top]
    # argmax stops at the first NaN, and a NaN passes no comparison.
    if len(rows) and not (highest.max() <= 1 + TOLERANCE and pred_probs.min() >= -TOLERANCE):
        raise ValueError("pred_probs holds NaN or values outside 0..1; has the teacher diverged?")
    raised = given + np.float32(TOLERANCE)
    agrees = (top == labels) | (raised > highest) | ((raised == highest) & (labels < top))
    # Where the likeliest class reaches its threshold the row is of that class, whatever else it reaches.
    guess = np.where(highest >= floor[top], top, -1)
    unsure = np.flatnonzero((guess < 0) & (highest >= floor.min(initial=np.inf)))
    reached = pred_probs[unsure] >= floor
    many, first = reached.sum(axis=1), reached.argmax(axis=1)
    guess[unsure] = np.where(many == 1, first, np.where(many == 0, -1, top[unsure]))
    return Survey(given, agrees, guess, top, highest)


def prune_counts(confident: np.ndarray, counts: np.ndarray, at_least: int, share: float) -> np.ndarray:
    """How many labels to prune: confident (k, k) int64, rows the given label, and counts (k,) of the given
    labels -> (k, k) int64, rows the true class, columns the given label, the diagonal what is kept.

    Each class keeps `at_least` rows; `share` of the estimated noise is pruned.
    """
    matrix = calibrated(confident, counts)
    diagonal = matrix.diagonal()
    kept = np.maximum(diagonal, at_least)
    if share == 1:  # what is not short of rows stays as it is, in integers
        short = np.flatnonzero(kept > diagonal)
        matrix[:, short] = spread(matrix[:, short], (kept - diagonal)[short])
        np.fill_diagonal(matrix, kept)
        return matrix
    pruned = spread(np.asfortranarray(matrix), kept - diagonal)
    np.fill_diagonal(pruned, kept)
    reduced = pruned * share
    np.fill_diagonal(reduced, kept)
    np.fill_diagonal(reduced, kept + np.sum(pruned - reduced, axis=0))
    whole: np.ndarray = reduced.astype(np.int64)
    return whole


def spread(matrix: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Columns, less what each of their diagonals is missing, taken from its other entries alike."""
    taken = missing / np.maximum(np.count_nonzero(matrix, axis=0) - 1.0, 1.0)
    less: np.ndarray = np.maximum(matrix - taken, 0)
    return less


def calibrated(confident: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The confident joint scaled to the given labels' counts, in integers: (k, k) int64, rows the given label
    -> (k, k) int64, rows the true class."""
    scaled = confident.T.astype(np.float64, order="C")
    scaled /= np.maximum(confident.sum(axis=1), 1e-100)
    scaled *= counts
    scaled /= np.maximum(scaled.sum(), 1e-100)
    scaled *= counts.sum()
    return rounded(scaled, counts)


def rounded(matrix: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Rounded to integers so that each column sums to its total: (r, k) float64, (k,) int -> (r, k) int64."""
    whole = np.rint(matrix)
    missing = totals - whole.sum(axis=0).astype(np.int64)
    while len(columns := np.flatnonzero(missing)):
        # Which of equal rests comes first is NumPy's default sort to say, as in cleanlab.
        rests = [
            np.ascontiguousarray((matrix[:, some] - whole[:, some]).T)
            for some in np.array_split(columns, THREADS)
        ]
        by_rest = np.concatenate(list(in_order(partial(np.argsort, axis=1), rests)))
        rising, changes = missing[columns] > 0, np.minimum(np.abs(missing[columns]), len(matrix))
        by_rest[rising] = by_rest[rising, ::-1]
        entry = by_rest[np.arange(len(matrix)) < changes[:, None]]
        whole[entry, np.repeat(columns, changes)] += np.repeat(np.sign(missing[columns]), changes)
        missing[columns] -= np.sign(missing[columns]) * changes
    integers: np.ndarray = whole.astype(np.int64)
    return integers
