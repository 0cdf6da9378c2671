"""How a network learned each row: the area under its margin, how often it was forgotten, its early error.

Pleiss et al., "Identifying mislabeled data using the area under the margin ranking", NeurIPS 2020,
section 3: the margin of a row is the logit of its given label less the largest other one; its area is the
mean over the row's presentations. Toneva et al., "An empirical study of example forgetting during deep
neural network learning", ICLR 2019, section 3: a row is forgotten when it was right at one
presentation and is wrong at the next; one that was never right counts as forgotten each time. Paul et
al., "Deep learning on a data diet", NeurIPS 2021, section 2: the error is the distance between the
probabilities and the given label as a one-hot vector (EL2N), early in training, since later nearly every
row is fitted. All are taken in the row's own mini-batch, as the network trains and before it learns from it;
the paper, which stops to judge all rows after 10 to 20 of 200 epochs, pays a pass for its error.

A row goes by its content *and* its given label: copies with one label are one row that is shown more
often, and what a network says of a label is not taken for a word on another. Kept are 24 bytes a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks import seeds

MARKS, DYNAMICS, ERRORS = "dynamics_keys", "dynamics", "dynamics_errors"
"""Beside a network's weights: uint64 (m,), ascending; float32 (m, 3), the area under the margin, the times
forgotten and the presentations; float32 (m,), the error at presentation EARLY."""

NAMES = (MARKS, DYNAMICS, ERRORS)

EARLY = 3
"""Counted from 1, after two passes then; of a row that was shown less often, the last."""


def marks_of(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What a row goes by, uint64 (n,), from its content's key and its given label."""
    return seeds.mix(keys, 1) + labels.astype(np.uint64)


def recorded_of(keys: np.ndarray, labels: np.ndarray, marks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What was recorded of rows, float32 (n, d): the line of values (m, d) whose mark is the row's, NaN for a
    row without one or without a label. marks: uint64 (m,), ascending."""
    found = np.full((len(keys), values.shape[1]), np.nan, np.float32)
    if len(marks):
        wanted = marks_of(keys, labels)
        at = np.minimum(np.searchsorted(marks, wanted), len(marks) - 1)
        known = (marks[at] == wanted) & (labels >= 0)
        found[known] = values[at[known]]
    return found


class Recorder:
    """Watches a training. `before` are the arrays of an earlier one that the network goes on from: its
    margins count on, and so do its events, but for a row that is forgotten between the two."""

    def __init__(
        self, keys: np.ndarray, labels: np.ndarray, before: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """The rows of the training: keys uint64 (n,), labels int (n,)."""
        self._marks, self._place = np.unique(marks_of(keys, labels), return_inverse=True)
        n = len(self._marks)
        self._margins, self._shown, self._forgotten = (
            np.zeros(n),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
        )
        self._learned, self._right = np.zeros(n, bool), np.zeros(n, bool)
        self._errors = np.full(n, np.nan, np.float32)
        if before and MARKS in before:
            _, here, there = np.intersect1d(self._marks, before[MARKS], return_indices=True)
            area, forgotten, shown = before[DYNAMICS][there].T.astype(np.float64)
            self._margins[here], self._shown[here] = area * shown, shown
            self._learned[here] = forgotten < shown
            self._forgotten[here] = np.where(forgotten < shown, forgotten, 0)
            if ERRORS in before:  # states of an earlier winnow have none
                self._errors[here] = before[ERRORS][there]

    def see(self, rows: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """A mini-batch: rows int (b,) in 0..n-1, labels (b,) as columns of logits float (b, p), p > 1."""
        margins, places = margins_of(logits, labels), self._place[rows]
        errors = errors_of(logits, labels)
        waiting = np.arange(len(rows))
        while len(waiting):  # twice where a batch ends one pass and opens the next with the same row
            seen, first = np.unique(places[waiting], return_index=True)
            margin = margins[waiting[first]]
            right = margin > 0
            self._margins[seen] += margin
            self._shown[seen] += 1
            early = self._shown[seen] <= EARLY
            self._errors[seen[early]] = errors[waiting[first[early]]]
            self._forgotten[seen] += self._right[seen] & ~right
            self._learned[seen] |= right
            self._right[seen] = right
            waiting = np.delete(waiting, first)

    def arrays(self) -> dict[str, np.ndarray]:
        """The dynamics of the rows that were shown, by the names above."""
        shown = self._shown > 0
        count = self._shown[shown]
        forgotten = np.where(self._learned[shown], self._forgotten[shown], count)
        found = np.stack([self._margins[shown] / count, forgotten, count], axis=1)
        return {
            MARKS: self._marks[shown],
            DYNAMICS: found.astype(np.float32),
            ERRORS: self._errors[shown],
        }


def margins_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit of the label less the largest other one: float (n, p), p > 1 -> float (n,)."""
    rows, others = np.arange(len(labels)), logits.copy()
    others[rows, labels] = -np.inf
    margins: np.ndarray = logits[rows, labels] - others.max(axis=1)
    return margins


def errors_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far the probabilities are from the label as a one-hot vector, 0..sqrt(2): float (n, p) -> (n,)."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    away = odds / odds.sum(axis=1, keepdims=True)
    away[np.arange(len(labels)), labels] -= 1
    return np.asarray(np.linalg.norm(away, axis=1))
