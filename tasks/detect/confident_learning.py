"""Confident learning: flag the labels that disagree with a class the teachers are confident of.

Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70
(2021), section 3. A row is confidently of class j when its probability of j reaches the mean
probability of j among the rows labelled j. Counting (given label, confident class) pairs and
scaling them to the given labels' counts estimates *how many* labels of each class are really of
another; the probabilities say *which*. The flags are cleanlab's own (`filter.find_label_issues`),
so they are the same as cleanlab's on the same decoded probabilities.

It assumes that the probabilities are out of sample, and that wrong labels depend on the classes
rather than on the single row; where that fails the counts are off and the ranking still helps.

Cost: O(n k) to count, and one sort of a class's rows for each other class it is mistaken for.
Memory: one float32 (n, k) matrix of the window, and with cleanlab's copies at most 3.3 times that
(measured at 100,000 rows and 100 classes).
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window

PRUNING = ("prune_by_noise_rate", "prune_by_class", "both")


class ConfidentLearning(Detector):
    """Flags the labels that confident learning would prune, and scores every label.

    Same flags as cleanlab's `filter.find_label_issues`, same scores as its
    `rank.get_label_quality_scores`, on the window's labelled rows.
    """

    kind: Literal["confident_learning"] = "confident_learning"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Northcutt, Jiang & Chuang, Confident Learning, JAIR 70 (2021)"

    filter_by: Literal[
        "prune_by_noise_rate",
        "prune_by_class",
        "both",
        "confident_learning",
        "predicted_neq_given",
        "low_normalized_margin",
        "low_self_confidence",
    ] = Field("prune_by_noise_rate", description="which rows of the estimated noise to flag")
    score: Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"] = Field(
        "self_confidence", description="the label quality score"
    )
    min_examples_per_class: int = Field(
        1, ge=0, description="rows that each class keeps unflagged (pruning modes)"
    )
    frac_noise: float = Field(
        1.0, gt=0, le=1, description="share of the estimated noise to flag (pruning modes)"
    )

    @model_validator(mode="after")
    def _only_pruning_takes_a_share(self) -> Self:
        if self.frac_noise != 1.0 and self.filter_by not in PRUNING:
            raise ValueError(
                f"frac_noise is {self.frac_noise}, but filter_by {self.filter_by} takes no share; "
                f"leave it at 1 or choose one of {', '.join(PRUNING)}"
            )
        return self

    def fit(self, window: Window) -> State:
        """Flag the window's rows. Ids must be unique in the window; its row order breaks ties.

        Returns arrays `thresholds` (k,) float64, 2 where no row has the class, and `confident_joint`
        (k, k) int64, rows the given label, columns the confident class, the diagonal at least 1; in
        `info`: `flagged` (ids in window order), `rows` (labelled) and `notes` (sentences).
        """
        labelled = [shard.soft.take(shard.labels >= 0) for shard in window]
        n, k = sum(map(len, labelled)), max((shard.n_classes for shard in labelled), default=0)
        if n == 0:
            arrays = {"thresholds": np.full(k, 2.0), "confident_joint": np.eye(k, dtype=np.int64)}
            notes = ["no label was flagged: no row of the window has a given label"]
            return State(arrays, {"flagged": [], "rows": 0, "notes": notes})

        from tasks.detect import label_issues

        ids = np.concatenate([shard.ids for shard in labelled])
        labels = np.concatenate([shard.labels for shard in labelled]).astype(np.int64)
        pred_probs, start = np.empty((n, k), dtype=np.float32), 0
        for shard in labelled:
            pred_probs[start : start + len(shard)] = shard.pred_probs()
            start += len(shard)
        found = label_issues.find(
            labels,
            pred_probs,
            filter_by=self.filter_by,
            frac_noise=self.frac_noise,
            min_examples_per_class=self.min_examples_per_class,
        )
        notes = self._rare_classes(np.bincount(labels, minlength=k))
        if found.refusal:
            notes.append(f"no label was flagged: cleanlab refuses the window's {n} rows ({found.refusal})")
        arrays = {"thresholds": found.thresholds, "confident_joint": found.confident_joint}
        return State(arrays, {"flagged": ids[found.flags].tolist(), "rows": n, "notes": notes})

    def _rare_classes(self, counts: np.ndarray) -> list[str]:
        """A sentence on the classes that the pruning modes leave alone, if there are any."""
        rare = np.flatnonzero((counts > 0) & (counts <= max(self.min_examples_per_class, 1)))
        if not len(rare) or self.filter_by not in PRUNING:
            return []
        return [f"too few labelled rows to flag any of class {', '.join(map(str, rare))}"]

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Scores (n,), low is bad; the suggestion is the likeliest class, other than the given one on
        a flagged row; p_error = 1 - p(given), the calibrated teachers' probability of an error."""
        from tasks.detect.label_issues import quality

        n, known = len(shard), shard.labels >= 0
        pred_probs = shard.soft.pred_probs()
        rows, given = np.flatnonzero(known), shard.labels[known]
        score, p_error = np.ones(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
        score[known] = quality(given, pred_probs[known], self.score)
        p_error[known] = np.clip(1 - pred_probs[rows, given], 0, 1)
        is_issue = is_in(shard.ids, state.info["flagged"]) & known
        pred_probs[is_issue, shard.labels[is_issue]] = -1.0
        return Issues(shard.ids, score, is_issue, pred_probs.argmax(axis=1).astype(np.int32), p_error)


def is_in(ids: np.ndarray, wanted: list[str]) -> np.ndarray:
    """Which ids are among the wanted: a hash look-up, where NumPy compares objects pair by pair."""
    found = pc.is_in(pa.array(ids, pa.string()), value_set=pa.array(wanted, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
