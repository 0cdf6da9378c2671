"""How much would be found? Wrong labels planted in a shadow copy, and detection run on it once more.

A team without any truth cannot tell recall from looking at what was flagged. So some labels are changed
in memory, detectors are fitted and asked again, and the share of the planted ones that they flag is an
estimate of the share of real ones. What it is worth depends on how alike the planted ones are, hence
three kinds:

- `uniform`: any other class, as a slip of the hand gives; the easiest to find;
- `confusion`: a class that the teachers confuse with the given one, drawn by how much probability they
  give it over all rows of that label: what a class that is hard to tell from another gives;
- `annotator`: what another person said of that very row, where people disagreed: what human error is
  like, and the nearest of the three to it. Only rows that have such an opinion can be planted.

Which rows and classes follows from their content, so the same night plants the same. Two things make the
estimate too kind: teachers do not learn from the planted labels as they do from real wrong ones, and a
planted row is as hard as the average row, whereas people err on hard ones. Cost: every detector once more
for each kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Annotations, Labelled, SoftLabels
from tasks.detect import Window
from tasks.method import Method
from tasks.seeds import uniform

Noise = Literal["uniform", "confusion", "annotator"]


class PlantedFlips(Method):
    """Recall of detection, estimated from planted wrong labels."""

    kind: Literal["planted_flips"] = "planted_flips"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = ""

    share: float = Field(0.05, gt=0, le=0.5, description="share of the labelled rows that get another label")
    noise: tuple[Noise, ...] = Field(
        ("uniform", "confusion"), min_length=1, description="what the planted labels are like"
    )

    def plant(self, rows: Labelled, noise: str, confusions: np.ndarray, seed: int) -> Labelled:
        """The rows with some labels changed, each row by itself. confusions: `confusions_of` the window."""
        k, given = rows.soft.n_classes, rows.labels
        if noise == "annotator":
            assert rows.annotations is not None
            drawn = said_otherwise(rows.annotations, given)
            possible = (given >= 0) & (drawn >= 0)
        else:
            weights = confusions if noise == "confusion" else 1 - np.eye(k)
            drawn, possible = drawn_from(weights, given, uniform(rows.keys, seed + 1)), (given >= 0) & (k > 1)
        chosen = possible & (uniform(rows.keys, seed) < self.share)
        return relabelled(rows, np.where(chosen, drawn, given).astype(np.int32))


def said_otherwise(annotations: Annotations, given: np.ndarray) -> np.ndarray:
    """What the first person said of a row who did not say the given label: (n,) int32, -1 where all did."""
    said = np.full(len(given), -1, np.int32)
    others = np.flatnonzero(annotations.classes != given[annotations.rows])
    rows, first = np.unique(annotations.rows[others], return_index=True)
    said[rows] = annotations.classes[others[first]]
    return said


def confusions_of(window: Window) -> np.ndarray:
    """How much the teachers believe in class j over the rows labelled i: (k, k) float64, the
    diagonal 0, all ones beside it where there is nothing. Sums of whole numbers, exact below 2**53: no
    order matters."""
    k = window.n_classes
    sums = np.zeros(k * k)
    for shard in window:
        rows = shard.soft.take(shard.labels >= 0)
        pairs = rows.labels[:, None].astype(np.int64) * k + rows.classes
        sums += np.bincount(pairs.ravel(), rows.weights.ravel(), minlength=k * k)
    confusions = sums.reshape(k, k)
    np.fill_diagonal(confusions, 0)
    confused = confusions.sum(axis=1, keepdims=True) > 0
    return np.where(confused, confusions, 1 - np.eye(k))


def drawn_from(weights: np.ndarray, given: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A class a row by the weights (k, k) of its label's row, from its own number u (n,) in 0..1: the
    inverse of the cumulative weights."""
    upto = np.cumsum(weights[np.maximum(given, 0)], axis=1, dtype=np.float64)
    drawn = (upto <= u[:, None] * upto[:, -1:]).sum(axis=1)
    return np.asarray(np.minimum(drawn, weights.shape[1] - 1).astype(np.int32))


def relabelled(rows: Labelled, labels: np.ndarray) -> Labelled:
    """The rows as if these labels had come with them. What was recorded while teachers trained on the real
    ones (`dynamics`) would say nothing of planted ones, and is blank."""
    blank = None if rows.dynamics is None else np.full_like(rows.dynamics, np.nan)
    opinions = tuple(said_of(soft, labels) for soft in rows.opinions)
    return replace(rows, soft=said_of(rows.soft, labels), opinions=opinions, dynamics=blank)


def said_of(soft: SoftLabels, labels: np.ndarray) -> SoftLabels:
    """A teacher's opinion, which did not know the label, with another label to stand beside."""
    return SoftLabels.from_pred_probs(soft.ids, labels, soft.pred_probs(), soft.classes.shape[1])
