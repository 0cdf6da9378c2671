"""Disagreement: where teachers that err on different rows all contradict the label, it is probably wrong.

Brodley & Friedl, "Identifying mislabeled training data", JAIR 11 (1999), section 3: a row is suspect when
all classifiers of a committee, none of which trained on it, misclassify it (consensus), or when more
than half do (majority). Consensus keeps hard rows and misses errors, majority the reverse; consensus is
the default, as what it flags may be changed. Stricter than theirs, the contradicting teachers must
name *one* other class: teachers who all miss the label in different directions find the row hard, not
the label wrong, and have nothing to suggest.

The score combines the teachers' mean probability of the label with how far they are from one another,
the Jensen-Shannon divergence (Lin, IEEE Transactions on Information Theory 37, 1991; for committees
McCallum & Nigam, ICML 1998): d = (H(mean) - mean H) / log min(m, k), 0 where all say the same and 1 where
each is sure of another class. quality = (1 - d) p + d / 2: as they part company, what they say of the label
counts less, and where nothing is left of it the row is as good as undecided.

Assumes teachers of different kinds: two of the same family make the same mistakes and agree on them.
Cost: O(m n k), a shard at a time; nothing is fitted.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.targets import normalised


class Disagreement(Detector):
    """Flags the labels that a committee of teachers contradicts with one voice."""

    kind: Literal["disagreement"] = "disagreement"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Brodley & Friedl, Identifying Mislabeled Training Data, JAIR 11 (1999)"
    reads = frozenset({"opinions"})

    flag_by: Literal["consensus", "majority"] = Field(
        "consensus", description="whether all teachers must name one other class, or more than half"
    )

    def fit(self, window: Window) -> State:
        """Nothing; `info["notes"]` has a sentence where there is one teacher only, who agrees with itself."""
        teachers = next((len(shard.opinions) for shard in window if len(shard)), 0)
        notes = ["disagreement heard one teacher only; name a second under teach.teachers"]
        return State({}, {"notes": notes if teachers == 1 else []})

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """Flags, and suggests the class that the most teachers name, the lower of equals; -1 where that is
        the given one."""
        n, m, labels, rows = len(shard), len(shard.opinions), shard.labels, np.arange(len(shard))
        if n and not m:
            raise ValueError("disagreement compares the opinions of teachers, and there are none")
        votes = np.zeros((n, shard.soft.n_classes), dtype=np.int64)
        mean, entropies, given = np.zeros(votes.shape), np.zeros(n), np.maximum(labels, 0)
        for opinion in shard.opinions:
            pred_probs = normalised(opinion.pred_probs().astype(np.float64))
            votes[rows, pred_probs.argmax(axis=1)] += 1
            mean += pred_probs / m
            entropies += entropy(pred_probs) / m
        known, named = labels >= 0, votes.argmax(axis=1).astype(np.int32)
        needed = m if self.flag_by == "consensus" else m // 2 + 1
        is_issue = known & (named != labels) & (votes.max(axis=1) >= needed)
        most = np.log(max(min(m, votes.shape[1]), 2))
        apart = np.clip((entropy(mean) - entropies) / most, 0, 1)
        quality = (1 - apart) * mean[rows, given] + apart / 2
        return Issues(
            shard.ids,
            np.where(known, np.clip(quality, 0, 1), 1).astype(np.float32),
            is_issue,
            np.where(known & (named != labels), named, -1).astype(np.int32),
            np.full(n, np.nan, dtype=np.float32),
        )


def entropy(pred_probs: np.ndarray) -> np.ndarray:
    """(n, k) -> (n,), in nats; 0 log 0 is 0."""
    logs = np.log(np.where(pred_probs > 0, pred_probs, 1.0))
    return np.asarray(-(pred_probs * logs).sum(axis=1))
