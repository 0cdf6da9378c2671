"""Influence: the rows that most move a model's verdict on a row vote for its label.

Banerjee et al., "InfFeed: Influence functions as a feedback to improve the performance of subjective tasks",
LREC-COLING 2024: a row's label is set right by those of its influencers. The paper outlines the rule; what
it leaves open is completed here, and the model is not a fine-tuned transformer but a ridge softmax
regression on the embedding, whose influences are exact (Koh & Liang, ICML 2017; `softmax_influence`).

Influence is taken *relative* to both rows' own, c = u_i . u_t / (|u_i| |u_t|) (compare Barshan, Brunet &
Dziugaite, "RelatIF", AISTATS 2020): unscaled, the wrongly labelled rows have the largest gradients, so they
are everybody's top influencers and vote for their own errors. And its *absolute value* counts: the loss
of a wrongly labelled row is taken at its wrong label, so the rows that know better push against it.
The row itself and exact copies of it have no vote. One round a night, where the paper trains again
after each change: whether a label changes is for relabelling to decide.

The quality is the mean of two views, since each fails where the other does not: the label's share of the
vote, and the probability that the model gives it once the row is left out. The model finds errors that
scatter over the classes, but learns those that are always the same; the vote finds these.

Assumes that the encoder nearly separates the classes linearly. Rows of a rare class are outvoted by those
of its larger neighbours. Cost, with q = p (d + 1) parameters for p classes and d numbers a row:
O(max_rows q^2) to fit and O(n max_rows q) to judge n rows; the state is q^2 numbers. Where the embedding is
longer than MAX_DIMENSIONS, or MAX_PARAMETERS allow no more, its leading principal components stand for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.embedded import nothing_found, points_of, sampled, voters
from tasks.detect.nearest import Points, nearest
from tasks.seeds import mix
from tasks.teach.rowwise import BLOCK_ROWS, in_blocks, one_thread

MAX_DIMENSIONS, MAX_PARAMETERS = 64, 2048
"""Numbers of a row that are kept, and parameters: the Cholesky factor of so many takes 32 MiB."""

CHUNK_ROWS = 8 * BLOCK_ROWS
"""Rows judged in one pass over the window."""


class Influence(Detector):
    """Flags a label when the row's most influential neighbours agree on another one."""

    kind: Literal["influence"] = "influence"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Banerjee et al., InfFeed, LREC-COLING 2024"
    reads = frozenset({"embedding"})

    influencers: int = Field(20, ge=1, le=1000, description="rows that vote on each row")
    agreement: float = Field(
        0.5, ge=0.5, lt=1, description="flag when one other class has more than this share of the vote"
    )
    ridge: float = Field(
        1e-2, ge=1e-6, le=10, description="L2 penalty on the mean loss, embedding standardised; damps H"
    )
    max_rows: int = Field(20_000, ge=2, le=1_000_000, description="most rows that teach and vote")

    def fit(self, window: Window) -> State:
        """The model on the window's labelled training rows, or on a sample of them drawn by content.

        Arrays: weights (p, d + 1), factor (q, q), mean (e,) and components (e, d) float64; classes (p,)
        int64; limit (1,) uint64 of the sample; none without two classes, or with too many. Info: `rows`
        of the sample, and `notes`.
        """
        from tasks.detect import softmax_influence

        rows = sampled((unscaled(shard.take(voters(shard))) for shard in window), self.max_rows)
        classes, labels = np.unique(rows.marks, return_inverse=True)
        if not 2 <= len(classes) <= MAX_PARAMETERS // 2:
            notes = [f"influence judged no row: its model is for 2 to {MAX_PARAMETERS // 2} classes"]
            return State({}, {"rows": len(rows), "notes": notes})
        with one_thread():
            most = min(MAX_DIMENSIONS, MAX_PARAMETERS // len(classes) - 1)
            mean, components = softmax_influence.projection(rows.rows, most)
            model = softmax_influence.fit((rows.rows - mean) @ components, labels, self.ridge)
        arrays = {"weights": model.weights, "factor": model.factor, "mean": mean, "components": components}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        arrays |= {"classes": classes.astype(np.int64), "limit": mix(rows.groups, 1).max(keepdims=True)}
        return State(arrays, {"rows": len(rows), "notes": []})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """.5 is the quality where nobody votes, or no training row has the label; the suggestion, for
        every row that is judged, is the class with the most votes."""
        from tasks.detect.softmax_influence import shares_of

        issues, classes = nothing_found(shard), state.arrays.get("classes", np.zeros(0, np.int64))
        issues.score[shard.labels >= 0] = 0.5
        judged = np.flatnonzero(np.isin(shard.labels, classes))
        for start in range(0, len(judged), CHUNK_ROWS):
            places = judged[start : start + CHUNK_ROWS]
            probability, points = looked_at(shard.take(places), state)
            with one_thread():
                found = nearest(points, either_way(window, state), self.influencers)
            shares = shares_of(*found, len(classes))
            heard = shares.any(axis=1)
            places, shares, given = places[heard], shares[heard], points.marks[heard]
            first = shares.argmax(axis=1)
            issues.score[places] = (shares[np.arange(len(places)), given] + probability[heard]) / 2
            issues.suggested_label[places] = classes[first]
            issues.is_issue[places] = (shares.max(axis=1) > self.agreement) & (first != given)
        return issues


def either_way(window: Window, state: State) -> Iterator[Points]:
    """The rows that vote, as u / |u| and as its opposite: the nearest of both have the largest |c|."""
    for shard in window:
        places = np.flatnonzero(in_sample(shard, state))
        for start in range(0, len(places), BLOCK_ROWS):
            _, points = looked_at(shard.take(places[start : start + BLOCK_ROWS]), state)
            yield Points.concat([points, Points(-points.rows, points.groups, points.marks)])


def in_sample(shard: Labelled, state: State) -> np.ndarray:
    a = state.arrays
    return np.asarray(
        voters(shard) & (mix(shard.keys, 1) <= a["limit"]) & np.isin(shard.labels, a["classes"])
    )


def looked_at(rows: Labelled, state: State) -> tuple[np.ndarray, Points]:
    """Rows of the model's classes: the probability of each label once the model has not seen the row,
    float64 (n,); and u / |u|, marked by the label's place among the classes."""
    from tasks.detect.softmax_influence import SoftmaxModel, look

    a = state.arrays
    model, given = SoftmaxModel(a["weights"], a["factor"]), np.searchsorted(a["classes"], rows.labels)

    def judge(block: np.ndarray) -> np.ndarray:
        return look(model, (block[:, :-1] - a["mean"]) @ a["components"], block[:, -1].astype(np.int64))

    with one_thread():
        found = in_blocks(judge, np.column_stack([unscaled(rows).rows, given]), len(a["factor"]) + 2)
    rise = np.where(in_sample(rows, state), found[:, 1] / state.info["rows"], 0)
    probability = found[:, 0] * np.exp(-rise)
    return probability, Points(found[:, 2:].astype(np.float32), rows.keys, given.astype(np.int32))


def unscaled(shard: Labelled) -> Points:
    """The embedding as it is, once its unit rows have been found to exist."""
    found = points_of(shard, "influence")
    assert shard.embedding is not None
    return Points(shard.embedding, found.groups, found.marks)
