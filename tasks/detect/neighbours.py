"""Neighbours vote: a label that the most similar rows do not carry is suspect.

Zhu, Dong & Liu, "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022 (SimiFeat).
The k nearest rows of a frozen embedding, the row itself among them, vote for their labels, each with
its cosine similarity; the row's own vote has the similarity that its two nearest neighbours
extrapolate to, 2 s1 - s2. Votes are divided by their Euclidean length. The rule `vote` flags a row
whose given label does not have most votes. The rule `rank` flags, in each class, as many of the rows with
the fewest votes for their label as labels of that class are wrong; how many, `consensus` estimates.

Assumes that the nearest rows of a row mostly share its true class, and that errors are not shared by
whole neighbourhoods, as systematic mistakes of people are. Unlike the paper's code: copies of a row (equal
content) do not vote on it; only rows of the training split vote; one embedding of a row is looked at
instead of 21 augmented ones; nothing random is added to the rates; a row whose neighbours all agree with
it is never flagged. Cost: 2 n d operations a row judged; `rank` judges a sample of the window first.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.embedded import closest, nothing_found, points_of, sampled, stream, voters
from tasks.errors import StageFailed

MOST_CLASSES = 128
"""The rank rule counts triples of labels: 128 classes are two million."""
TINY = 1e-8
"""What the paper's code adds to a vote before taking its logarithm."""


class Neighbours(Detector):
    """Votes of the k nearest rows in the embedding, by cosine similarity."""

    kind: Literal["neighbours"] = "neighbours"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Zhu, Dong & Liu, Detecting Corrupted Labels Without Training a Model, ICML 2022"
    reads = frozenset({"embedding"})

    k: int = Field(10, ge=3, le=1000, description="rows that vote, the row itself among them")
    rule: Literal["vote", "rank"] = Field(
        "vote", description="flag what is outvoted, or the share of each class that is estimated to be wrong"
    )
    sample: int = Field(
        15_000, ge=100, description="most rows of the window that the rank rule's estimates are taken from"
    )

    def fit(self, window: Window) -> State:
        """Nothing for `vote`. For `rank`: `transition` (k, k) float64, rows the true class, columns the
        given label; `prior` (k,) of the true classes; `threshold` (k,), infinity for a class that no row of
        the sample has: a label is flagged whose -log vote reaches it. Raises StageFailed for too many
        classes."""
        if self.rule == "vote":
            return State({}, {"notes": []})
        k = window.n_classes
        if k > MOST_CLASSES:
            raise StageFailed(
                f"detect: the rank rule of neighbours is for at most {MOST_CLASSES} classes and there are "
                f"{k}; set rule: vote"
            )
        from tasks.detect import consensus

        rows = sampled(stream(window, self.kind, voters), self.sample)
        found, labels = closest(rows, stream(window, self.kind, voters), self.k - 1)
        suspicion = -np.log(quality(tally(found, labels, rows.marks, k), rows.marks) + TINY)
        whole = np.isfinite(found[:, 1])
        transition, prior = consensus.solve(*consensus.counts(rows.marks[whole], labels[whole, :2], k))
        share = consensus.wrong(transition, prior, np.bincount(rows.marks, minlength=k))
        threshold = np.full(k, np.inf)
        for label in np.unique(rows.marks):
            threshold[label] = np.quantile(suspicion[rows.marks == label], 1 - share[label])
        return State({"transition": transition, "prior": prior, "threshold": threshold}, {"notes": []})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """score: the normalised vote for the given label. The suggestion is the class of most votes, other
        than the given one on a flagged row."""
        issues, known = nothing_found(shard), np.flatnonzero(shard.labels >= 0)
        if not len(known):
            return issues
        rows = points_of(shard.take(known), self.kind)
        votes = tally(
            *closest(rows, stream(window, self.kind, voters), self.k - 1), rows.marks, window.n_classes
        )
        score = quality(votes, rows.marks)
        disputed = (votes > 0).sum(axis=1) > 1
        if self.rule == "vote":
            flagged = disputed & (votes.argmax(axis=1) != rows.marks)
        else:
            flagged = disputed & (-np.log(score + TINY) >= state.arrays["threshold"][rows.marks])
        votes[flagged, rows.marks[flagged]] = -np.inf
        issues.score[known], issues.is_issue[known] = score, flagged
        issues.suggested_label[known] = votes.argmax(axis=1)
        return issues


def tally(distance: np.ndarray, labels: np.ndarray, own: np.ndarray, n_classes: int) -> np.ndarray:
    """Votes of the neighbours and of the row itself: distances and labels (n, m), given labels (n,) ->
    float64 (n, n_classes).

    With one neighbour the row votes like it; with none, with weight 1.
    """
    n, found = len(own), np.isfinite(distance)
    weight = np.where(found, 1.0 - np.where(found, distance, 0), 0)
    second = np.where(found[:, 1], weight[:, 1], weight[:, 0])
    itself = np.where(found[:, 0], 2 * weight[:, 0] - second, 1.0)
    votes = np.zeros((n, n_classes))
    np.add.at(votes, (np.arange(n)[:, None], np.maximum(labels, 0)), weight)
    np.add.at(votes, (np.arange(n), own), itself)
    return votes


def quality(votes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of the given label in the votes, divided by their Euclidean length: (n,) float64 in 0..1.
    Votes against (cosines below zero) count as none."""
    length = np.sqrt((votes * votes).sum(axis=1))
    given = votes[np.arange(len(labels)), labels]
    share: np.ndarray = np.clip(given / np.where(length > 0, length, 1), 0, 1)
    return share
