"""Confident learning: flag the labels that disagree with a class the teachers are confident of.

Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70
(2021), section 3. A row is confidently of class j when its probability of j reaches the mean
probability of j among the rows labelled j. Counting (given label, confident class) pairs and
scaling them to the given labels' counts estimates *how many* labels of each class are really of
another; the probabilities say *which*. The flags are those of cleanlab's `filter.find_label_issues` on
the same decoded probabilities, computed in passes over the window (`label_issues`).

It assumes that the probabilities are out of sample, and that wrong labels depend on the classes
rather than on the single row; where that fails the counts are off and the ranking still helps.

Cost: O(n k), in three passes over the window, four where rows are equal at a cut. Memory: a few blocks of
rows, tables of k x k, about 20 bytes a row and 8 for each label to prune; never a row's probabilities.
The state holds the cuts, and of the rows only those that are equal at one and flagged.

Where several classes may apply to a row, each is judged by itself (see `per_class`).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.detect.blocks import spans
from tasks.detect.cuts import PRUNING, Cuts, find
from tasks.detect.label_issues import flags
from tasks.detect.quality import quality
from tasks.method import Task

TIED = ("margin", "given", "score")
"""What rows may be equal in at a cut."""


class ConfidentLearning(Detector):
    """Flags the labels that confident learning would prune, and scores every label.

    Same flags as cleanlab's `filter.find_label_issues`, same scores as its
    `rank.get_label_quality_scores`, on the window's labelled rows.
    """

    kind: Literal["confident_learning"] = "confident_learning"
    revision: ClassVar[int] = 2
    paper: ClassVar[str] = "Northcutt, Jiang & Chuang, Confident Learning, JAIR 70 (2021)"
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label"})

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
        """Find the window's cuts. Ids must be unique in the window; its row order decides last bits.

        Returns arrays `thresholds` (k,) float64, 2 where no row has the class; `confident_joint` (k, k)
        int64, rows the given label, columns the confident class, the diagonal at least 1; and the cuts:
        `floor`, `given` (k,) and `score` (1,) float32, and of each cell that prunes, `cells` (c,) int64,
        label * k + class, with `margins` (c,) float32. In `info`: `tied`, ids of the rows that are equal at
        a cut and flagged; `rows` (labelled), `refusal` and `notes` (sentences). Of multi_label: see
        `confident_sets.fit`.
        """
        from tasks.detect import confident_sets, dense

        if window.task == "multi_label":
            return confident_sets.fit(self, window)
        cuts, seen = find(
            partial(dense.blocks, window),
            window.n_classes,
            self.filter_by,
            frac_noise=self.frac_noise,
            min_examples_per_class=self.min_examples_per_class,
        )
        notes, n = self._rare_classes(np.diff(seen.starts)), len(seen.labels)
        if cuts.refusal is not None:
            notes.append(f"no label was flagged among the window's {n} labelled rows: {cuts.refusal}")
        places = zip(TIED, cuts.tied, strict=True)
        tied = {name: dense.ids_at(window, np.sort(found)).tolist() for name, found in places}
        return State(cuts.arrays(), {"tied": tied, "rows": n, "refusal": cuts.refusal, "notes": notes})

    def _rare_classes(self, counts: np.ndarray) -> list[str]:
        """A sentence on the classes that the pruning modes leave alone, if there are any."""
        rare = np.flatnonzero((counts > 0) & (counts <= max(self.min_examples_per_class, 1)))
        if not len(rare) or self.filter_by not in PRUNING:
            return []
        return [f"too few labelled rows to flag any of class {', '.join(map(str, rare))}"]

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Scores (n,), low is bad; the suggestion is the likeliest class, other than the given one on
        a flagged row; p_error = 1 - p(given), the calibrated teachers' probability of an error. Of
        multi_label: see `confident_sets.apply`."""
        from tasks.detect import confident_sets, dense

        if window.task == "multi_label":
            return confident_sets.apply(self, shard, state)
        cuts = Cuts.from_arrays(state.arrays, self.filter_by, state.info["refusal"])
        tied = np.stack([is_in(shard.ids, state.info["tied"][name]) for name in TIED])
        score, p_error = np.ones(len(shard), dtype=np.float32), np.zeros(len(shard), dtype=np.float32)
        is_issue, suggested = np.zeros(len(shard), dtype=bool), np.zeros(len(shard), dtype=np.int32)
        for span in spans(len(shard), shard.soft.n_classes):
            pred_probs, labels = dense.pred_probs(dense.rows(shard.soft, span)), shard.labels[span]
            known = np.flatnonzero(labels >= 0)
            given, judged, rows = labels[known].astype(np.int64), pred_probs[known], known + span.start
            score[rows] = quality(given, judged, self.score)
            p_error[rows] = np.clip(1 - judged[np.arange(len(known)), given], 0, 1)
            is_issue[rows] = flagged = flags(cuts, given, judged, tied[:, rows])
            pred_probs[known[flagged], given[flagged]] = -1.0
            suggested[span] = pred_probs.argmax(axis=1)
        return Issues(shard.ids, score, is_issue, suggested, p_error)


def is_in(ids: np.ndarray, wanted: list[str]) -> np.ndarray:
    """Which ids are among the wanted: a hash look-up, where NumPy compares objects pair by pair."""
    found = pc.is_in(pa.array(ids, pa.string()), value_set=pa.array(wanted, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
