"""How a network learned each row: the area under its margin, and how often it was forgotten.

Pleiss et al., "Identifying mislabeled data using the area under the margin ranking", NeurIPS 2020,
section 3: the margin of a row is the logit of its given label less the largest other one; its area is the
mean over the row's presentations. Toneva et al., "An empirical study of example forgetting during deep
neural network learning", ICLR 2019, section 3: a row is forgotten when it was right at one
presentation and is wrong at the next; one that was never right counts as forgotten each time. Both are
taken in the row's own mini-batch, as the network trains and before it learns from it.

A row goes by its content *and* its given label: copies with one label are one row that is shown more
often, and what a network says of a label is not taken for a word on another. Kept are 20 bytes a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks import seeds

MARKS, DYNAMICS = "dynamics_keys", "dynamics"
"""Beside a network's weights: uint64 (m,), ascending; float32 (m, 3), the area under the margin, the times
forgotten and the presentations."""

NAMES = (MARKS, DYNAMICS)


def marks_of(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What a row goes by, uint64 (n,), from its content's key and its given label."""
    return seeds.mix(keys, 1) + labels.astype(np.uint64)


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
        if before and MARKS in before:
            _, here, there = np.intersect1d(self._marks, before[MARKS], return_indices=True)
            area, forgotten, shown = before[DYNAMICS][there].T.astype(np.float64)
            self._margins[here], self._shown[here] = area * shown, shown
            self._learned[here] = forgotten < shown
            self._forgotten[here] = np.where(forgotten < shown, forgotten, 0)

    def see(self, rows: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """A mini-batch: rows int (b,) in 0..n-1, labels (b,) as columns of logits float (b, p), p > 1."""
        margins, places = margins_of(logits, labels), self._place[rows]
        waiting = np.arange(len(rows))
        while len(waiting):  # twice where a batch ends one pass and opens the next with the same row
            seen, first = np.unique(places[waiting], return_index=True)
            margin = margins[waiting[first]]
            right = margin > 0
            self._margins[seen] += margin
            self._shown[seen] += 1
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
        return {MARKS: self._marks[shown], DYNAMICS: found.astype(np.float32)}


def margins_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit of the label less the largest other one: float (n, p), p > 1 -> float (n,)."""
    rows, others = np.arange(len(labels)), logits.copy()
    others[rows, labels] = -np.inf
    margins: np.ndarray = logits[rows, labels] - others.max(axis=1)
    return margins
