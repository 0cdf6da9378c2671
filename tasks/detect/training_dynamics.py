"""Training dynamics: a wrong label is learned late, against what its neighbours teach, and forgotten again.

Pleiss et al., "Identifying mislabeled data using the area under the margin ranking", NeurIPS 2020: while
a network trains, the rows that look like a wrongly labelled one push its logits towards the true
class, so that the mean margin of the given label over the training stays low. Toneva et al., "An
empirical study of example forgetting", ICLR 2019: how often a row turned from right to wrong. Both are
recorded by the `convnet` teacher as it trains anyway (see `tasks.teach.dynamics`), so they cost no
training of their own. A row without them (no network trained on it) is not judged: score .5, no issue.

The flag departs from Pleiss et al., who give n / (k + 1) rows an extra class and flag what lies below
the 99th percentile of *their* areas. Those rows would be lost to the teachers, whose training this
is, and a training of its own, twice so that every row is judged, would double the price of a night.
Here a row is flagged when its area is below `threshold`, 0 by default: on the average over the training
another class had the larger logit. That is the sign of the evidence and no figure was tuned for it. On
digits with a fifth of the labels wrong, scattered or always the next class, it was right for 97% and 95%
of its flags where their rule was for 99% and 98%, and found 99.8% and 99% of the errors, theirs 99% and 96%.
Hardness alone lowers the area too: rare and ambiguous rows are flagged together with wrong ones.

The networks stop early and see a row some 16 times at a rate that falls, where the paper trains 150
epochs at a constant one. Cost: one pass over the window.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window


class TrainingDynamics(Detector):
    """Scores labels by the area under their margin, or by how rarely their rows were forgotten."""

    kind: Literal["training_dynamics"] = "training_dynamics"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Pleiss et al., Area under the margin ranking, NeurIPS 2020"
    reads = frozenset({"dynamics"})

    score: Literal["margin", "forgetting"] = Field(
        "margin", description="what the quality is made from; the flag is the margin's either way"
    )
    threshold: float = Field(0.0, description="flag rows whose area under the margin (in logits) is below")

    def fit(self, window: Window) -> State:
        """Nothing but a sentence in `info["notes"]` on labelled training rows that no network trained on."""
        rows = unseen = 0
        for shard in window:
            asked = shard.learnable
            rows += int(asked.sum())
            unseen += int((asked & ~known(shard)).sum())
        notes = [f"{unseen} of {rows} labelled training rows were in no recorded training and are not judged"]
        return State({}, {"notes": notes if unseen else []})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """The quality is 1 / (1 + exp(-area)), the odds that the mean margin gives the label against the
        best other class; or 1 / (1 + times forgotten). A flagged row's suggestion is the soft labels'
        likeliest other class: the dynamics name none."""
        n, judged = len(shard), known(shard)
        dynamics = dynamics_of(shard)[judged].astype(np.float64)
        score = np.where(shard.labels < 0, 1.0, 0.5)
        by_margin = self.score == "margin"
        score[judged] = 1 / (1 + (np.exp(-dynamics[:, 0].clip(-700, 700)) if by_margin else dynamics[:, 1]))
        is_issue = np.zeros(n, dtype=bool)
        is_issue[judged] = dynamics[:, 0] < self.threshold
        suggested = np.full(n, -1, dtype=np.int32)
        pred_probs = shard.soft.take(is_issue).pred_probs()
        pred_probs[np.arange(len(pred_probs)), shard.labels[is_issue]] = -1.0
        suggested[is_issue] = pred_probs.argmax(axis=1)
        return Issues(
            shard.ids, score.astype(np.float32), is_issue, suggested, np.full(n, np.nan, dtype=np.float32)
        )


def dynamics_of(shard: Labelled) -> np.ndarray:
    """The area under the margin, the times forgotten and the early error, float32 (n, 3)."""
    if shard.dynamics is None:
        raise ValueError("training_dynamics judges by how a network learned each row, and nobody recorded it")
    return shard.dynamics


def known(shard: Labelled) -> np.ndarray:
    """The rows that can be judged, bool (n,)."""
    return np.asarray((shard.labels >= 0) & ~np.isnan(dynamics_of(shard)[:, 0]))
