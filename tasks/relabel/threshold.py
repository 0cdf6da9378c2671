"""Threshold policy: act on a flagged label according to how sure the teachers are of another.

With q the calibrated probability of the suggested class, a flagged row is fixed (q >= fix_at), put
before a person (q >= review_at), kept for its soft label only (q >= drop_at) or dropped. A row that
came without a label gains one at fix_at. Everything else is kept.

It assumes calibrated probabilities: at fix_at = 0.95 about one fix in twenty or fewer is wrong. Two
caps guard against the night when that fails (a teacher gone astray, a class renamed upstream): if
one run would fix or drop too large a share of the partition's labels, or of a class's, it changes
none of them and asks people instead. Cost: O(n k), one pass to count and one to decide.

Where several classes may apply to a row, each doubted answer is judged so (see `sets`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.data import ACTIONS, Decisions, Evidence, State
from tasks.method import Task
from tasks.relabel import Policy, numbers, sets
from tasks.relabel.caps import overruns
from tasks.relabel.reasons import opinions

KEEP, FIX, SOFTEN, DROP, REVIEW = (ACTIONS.index(a) for a in ("keep", "fix", "soften", "drop", "review"))


class Threshold(Policy):
    """Fixes, queues, softens or drops a flagged label by the probability of the suggested class."""

    kind: Literal["threshold"] = "threshold"
    revision: ClassVar[int] = 1
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label", "regression"})

    fix_at: float = Field(0.95, ge=0, le=1, description="probability from which a label is changed")
    review_at: float = Field(0.8, ge=0, le=1, description="probability from which people are asked")
    drop_at: float = Field(
        0.5, ge=0, le=1, description="probability below which a flagged row loses its label"
    )
    max_fixed: float = Field(
        0.15, ge=0, le=1, description="largest share of a partition's labels that a run may fix or drop"
    )
    max_fixed_per_class: float = Field(
        0.5, ge=0, le=1, description="largest share of a given class's labels that a run may fix or drop"
    )
    drop_below: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of regression: quality below which a flagged number is dropped; 0: none is",
    )

    def identity(self) -> dict[str, Any]:
        """Without what came later and is not given: what was decided before stays as it is."""
        return {key: value for key, value in super().identity().items() if key != "drop_below" or value}

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.drop_at <= self.review_at <= self.fix_at:
            raise ValueError(
                f"drop_at {self.drop_at}, review_at {self.review_at} and fix_at {self.fix_at} must not fall: "
                "set drop_at <= review_at <= fix_at"
            )
        return self

    def fit(self, shards: Iterable[Evidence]) -> State:
        """Count what would change and compare with the caps.

        Arrays: `labelled` and `changed` (k,) int64, by given class, and `capped` (k,) bool. Info:
        `capped` (the whole partition) and `notes`. Rows without a given label count nowhere. Of multi_label
        `sets` does it, here and in `apply`, of regression `numbers`."""
        shards = list(shards)
        if any(shard.values is not None for shard in shards):
            return numbers.fit(self, shards)
        if any(shard.doubts is not None for shard in shards):
            return sets.fit(self, shards)
        counts = [np.zeros((2, 0), dtype=np.int64)]
        for shard in shards:
            known, k = shard.given >= 0, shard.pred_probs.shape[1]
            changing = known & np.isin(self._actions(shard), (FIX, DROP))
            classes = (shard.given[known], shard.given[changing])
            counts.append(np.stack([np.bincount(c, minlength=k) for c in classes]))
        labelled, changed = np.sum(counts[1:] or counts, axis=0)
        capped, over, notes = overruns(labelled, changed, self.max_fixed, self.max_fixed_per_class)
        arrays = {"labelled": labelled, "changed": changed, "capped": over}
        return State(arrays, {"capped": capped, "notes": notes})

    def apply(self, shard: Evidence, state: State, class_names: tuple[str, ...]) -> Decisions:
        """Decide; without a resulting label the confidence is that of the likeliest class."""
        if shard.values is not None:
            return numbers.apply(self, shard, state)
        if shard.doubts is not None:
            return sets.apply(self, shard, state, class_names)
        given, known, action = shard.given, shard.given >= 0, self._actions(shard)
        class_over = np.zeros(len(shard), dtype=bool)
        class_over[known] = state.arrays["capped"][given[known]]
        changing = np.isin(action, (FIX, DROP))
        stopped = np.select([changing & state.info["capped"], changing & class_over], [1, 2], default=0)
        action = np.where(stopped > 0, REVIEW, action)

        label = np.where(action == FIX, target(shard), np.where(action == DROP, -1, given))
        likeliest = shard.pred_probs.max(axis=1, initial=0)
        confidence = np.where(label >= 0, probability_of(label, shard.pred_probs), likeliest)
        return Decisions(
            ids=shard.ids,
            given=given,
            label=label.astype(np.int32),
            action=action.astype(np.int8),
            confidence=confidence.astype(np.float32),
            reason=self._reasons(shard, action, stopped, class_names),
            decided_by=np.full(len(shard), self.kind, dtype=object),
        )

    def _actions(self, shard: Evidence) -> np.ndarray:
        """What the thresholds alone say: (n,) int64 index into ACTIONS."""
        known, q = shard.given >= 0, probability_of(target(shard), shard.pred_probs)
        # Thresholds as float32, so that a stored probability that prints as 0.95 reaches 0.95.
        fix_at, review_at, drop_at = np.array([self.fix_at, self.review_at, self.drop_at], dtype=np.float32)
        rules = {
            FIX: (q >= fix_at) & (~known | doubted(shard)),
            KEEP: known & ~shard.is_issue,
            REVIEW: (q >= review_at) | ~doubted(shard),
            SOFTEN: q >= drop_at,
        }
        return np.select(list(rules.values()), list(rules), default=DROP)

    def _reasons(
        self, shard: Evidence, action: np.ndarray, stopped: np.ndarray, class_names: tuple[str, ...]
    ) -> np.ndarray:
        """One sentence a row, (n,) object str."""
        endings = {
            KEEP: " and no detector flags it",
            FIX: "",
            REVIEW: f", short of fix_at {self.fix_at}",
            SOFTEN: f", short of review_at {self.review_at}: only its soft label teaches",
            DROP: f", short of drop_at {self.drop_at}: no class convinces",
        }
        undirected = (action == REVIEW) & (shard.given >= 0) & ~doubted(shard)
        ending = np.select(
            [stopped == 1, stopped == 2, undirected, *(action == a for a in endings)],
            [
                f": more labels would change than max_fixed {self.max_fixed} of the partition allows",
                f": more labels would change than max_fixed_per_class {self.max_fixed_per_class} allows",
                ", and a detector flags it but names no other class",
                *endings.values(),
            ],
            default="",
        )
        other = target(shard)
        p_given, p_other = (probability_of(c, shard.pred_probs) for c in (shard.given, other))
        return opinions(shard.given, p_given, other, p_other, doubted(shard), ending, class_names)


def target(shard: Evidence) -> np.ndarray:
    """The class a row would change to, (n,) int32: the suggested one, or the likeliest if none was given."""
    return np.where(shard.given < 0, shard.pred_probs.argmax(axis=1), shard.suggested).astype(np.int32)


def doubted(shard: Evidence) -> np.ndarray:
    """Rows flagged in favour of another class, (n,) bool."""
    directed = (shard.given >= 0) & (shard.suggested >= 0) & (shard.suggested != shard.given)
    flagged: np.ndarray = shard.is_issue & directed
    return flagged


def probability_of(label: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """p(label) of each row, (n,) float32, 0 where the label is -1."""
    return np.where(label >= 0, pred_probs[np.arange(len(label)), np.maximum(label, 0)], np.float32(0))
