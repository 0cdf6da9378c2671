"""The given label by what the row's annotators and the teachers say together, and everyone's quality.

Goh, Tkachenko & Mueller, "CROWDLAB", arXiv 2210.06812; see `tasks.teach.crowdlab`. The window gives each
annotator one weight and the teachers one; a row's posterior is the weighted average of the teachers'
probabilities and of its annotations, the score its value at the given label. A row is flagged when
another class has more. Annotators' qualities are kept in the state, and the worst is told in a note.

The posterior ranks labels; it is no probability of an error (with three people a row it says 0.74 on
average where 0.97 are right), so `p_error` is left to others. Assumes that no teacher read the
annotations; leave the teacher `annotators` out beside it. Rows that nobody annotated are scored by the
teachers alone and never flagged. Cost: O(labels) and the window's probabilities in memory, 4 n k bytes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from tasks.data import Annotations, Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.errors import StageFailed


class Crowdlab(Detector):
    """Flag rows whose given label is not what annotators and teachers agree on."""

    kind: Literal["crowdlab"] = "crowdlab"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Goh, Tkachenko & Mueller, CROWDLAB, arXiv 2210.06812"
    reads: ClassVar[frozenset[Literal["opinions", "embedding", "dynamics", "annotations"]]] = frozenset(
        {"annotations"}
    )

    def fit(self, window: Window) -> State:
        """Weigh the window's annotators and teachers.

        Arrays, float64: `weights` and `quality` (M,), `model` and `agreement` (1,); `labels` (M,) int64,
        how many each annotator gave. Info: `annotators`, their names in order, and `notes`. Where no row
        has two labels there are no annotators to weigh: M is 0.
        """
        from tasks.teach.crowdlab import judge
        from tasks.teach.votes import names_in, votes_of

        shards = list(window)
        said = Annotations.concat([annotations_of(shard) for shard in shards])
        names = names_in(said)
        votes = votes_of(said, names, window.n_classes)
        if not (np.bincount(votes.row, minlength=1) > 1).any():
            nothing = {name: np.zeros(0) for name in ("weights", "quality", "labels")}
            notes = ["crowdlab flagged nothing: no row of the window has labels of two annotators"]
            return State(
                {**nothing, "model": np.ones(1), "agreement": np.ones(1)}, {"annotators": [], "notes": notes}
            )
        pred_probs = np.concatenate([shard.soft.pred_probs() for shard in shards])
        found = judge(votes, pred_probs, len(names))
        arrays = {
            "weights": found.weights.annotators,
            "quality": found.annotator_quality,
            "labels": np.bincount(votes.annotator, minlength=len(names)),
            "model": np.array([found.weights.model]),
            "agreement": np.array([found.weights.agreement]),
        }
        return State(arrays, {"annotators": names, "notes": self._notes(names, arrays)})

    def _notes(self, names: list[str], arrays: dict[str, np.ndarray]) -> list[str]:
        """A sentence on the annotator of the lowest quality, of those that have one."""
        quality = arrays["quality"]
        lowest = int(np.nanargmin(quality))
        return [
            f"{len(names)} annotators; the lowest quality is {names[lowest]}'s, {quality[lowest]:.3f} "
            f"from {int(arrays['labels'][lowest]):,} labels"
        ]

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Scores (n,): the posterior of the given label; the suggestion is the class of the highest."""
        from tasks.teach.crowdlab import Weights, posterior
        from tasks.teach.votes import votes_of

        n, names, arrays = len(shard), state.info["annotators"], state.arrays
        judged, annotated = shard.soft.pred_probs().astype(np.float64), np.zeros(n, bool)
        if names:
            votes = votes_of(annotations_of(shard), names, window.n_classes)
            weights = Weights(arrays["weights"], float(arrays["model"][0]), float(arrays["agreement"][0]))
            judged, annotated = posterior(votes, judged, weights), np.bincount(votes.row, minlength=n) > 0
        known, rows = shard.labels >= 0, np.arange(n)
        own = judged[rows, np.maximum(shard.labels, 0)]
        is_issue = known & annotated & (judged.max(axis=1, initial=0) > own)
        return Issues(
            shard.ids,
            np.where(known, np.clip(own, 0, 1), 1).astype(np.float32),
            is_issue,
            judged.argmax(axis=1).astype(np.int32),
            np.where(known, np.nan, 0).astype(np.float32),
        )


def annotations_of(shard: Labelled) -> Annotations:
    """What people said of the rows. Raises StageFailed where that was not read."""
    if shard.annotations is None:
        raise StageFailed("detect.crowdlab reads annotations, and these rows come without; ingest them again")
    return shard.annotations
