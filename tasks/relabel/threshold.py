"""Threshold policy: act on a flagged label according to how sure the teachers are of another.

With q the calibrated probability of the suggested class, a flagged row is fixed (q >= fix_at), put
before a person (q >= review_at), kept for its soft label only (q >= drop_at) or dropped. A row that
came without a label gains one at fix_at. Everything else is kept.

It assumes calibrated probabilities: at fix_at = 0.95 about one fix in twenty or fewer is wrong. Two
caps guard against the night when that fails (a teacher gone astray, a class renamed upstream): if
one run would fix or drop too large a share of the partition's labels, or of a class's, it changes
none of them and asks people instead. A share is compared as integers, so a cap met exactly holds.

Cost: O(n k), one pass to count and one to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.data import ACTIONS, Decisions, Evidence, State
from tasks.relabel import Policy
from tasks.relabel.reasons import opinions

KEEP, FIX, SOFTEN, DROP, REVIEW = (ACTIONS.index(a) for a in ("keep", "fix", "soften", "drop", "review"))


class Threshold(Policy):
    """Fixes, queues, softens or drops a flagged label by the probability of the suggested class."""

    kind: Literal["threshold"] = "threshold"
    revision: ClassVar[int] = 1

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

        Returns arrays `labelled` and `changed` (k,) int64, by given class, and `capped` (k,) bool; in
        `info`: `capped` (the whole partition) and `notes`. Rows without a given label count nowhere.
        """
        counts = [np.zeros((2, 0), dtype=np.int64)]
        for shard in shards:
            known = shard.given >= 0
            changing = known & np.isin(self._actions(shard), (FIX, DROP))
            k = shard.pred_probs.shape[1]
            counts.append(
                np.stack([np.bincount(shard.given[rows], minlength=k) for rows in (known, changing)])
            )
        labelled, changed = np.sum(counts[1:] or counts, axis=0)
        total, moved = int(labelled.sum()), int(changed.sum())
        capped = exceeds(moved, total, self.max_fixed)
        over = [
            exceeds(int(c), int(n), self.max_fixed_per_class) for c, n in zip(changed, labelled, strict=True)
        ]
        notes = []
        if capped:
            notes.append(
                f"{moved} of the partition's {total} labels would be fixed or dropped, more than "
                f"max_fixed {self.max_fixed}: none was changed, all are queued for review"
            )
        notes += [
            f"{changed[c]} of the {labelled[c]} labels of class {c} would be fixed or dropped, more than "
            f"max_fixed_per_class {self.max_fixed_per_class}: none was changed, all are queued for review"
            for c in np.flatnonzero(over)
        ]
        arrays = {"labelled": labelled, "changed": changed, "capped": np.array(over, dtype=bool)}
        return State(arrays, {"capped": capped, "notes": notes})

    def apply(self, shard: Evidence, state: State, class_names: tuple[str, ...]) -> Decisions:
        """Decide; the confidence is the probability of the resulting label, of the likeliest class
        where none results."""
        action, given, known = self._actions(shard), shard.given, shard.given >= 0
        changing = np.isin(action, (FIX, DROP))
        over = np.zeros(len(shard), dtype=bool)
        over[known] = state.arrays["capped"][given[known]]
        stopped = np.where(changing & state.info["capped"], 1, np.where(changing & over, 2, 0))
        action = np.where(stopped > 0, REVIEW, action)

        label = np.where(action == FIX, target(shard), np.where(action == DROP, -1, given))
        confidence = np.where(
            label >= 0, probability_of(label, shard.pred_probs), shard.pred_probs.max(axis=1, initial=0)
        )
        return Decisions(
            shard.ids,
            given,
            label.astype(np.int32),
            action.astype(np.int8),
            confidence.astype(np.float32),
            self._reasons(shard, action, stopped, class_names),
            np.full(len(shard), self.kind, dtype=object),
        )

    def _actions(self, shard: Evidence) -> np.ndarray:
        """What the thresholds alone say: (n,) int64 index into ACTIONS."""
        known, other = shard.given >= 0, target(shard)
        q = probability_of(other, shard.pred_probs)
        # Thresholds as float32, so that a stored probability that prints as 0.95 reaches 0.95.
        fix_at, review_at, drop_at = np.float32([self.fix_at, self.review_at, self.drop_at])
        conditions = [
            ~known & (q >= fix_at),
            ~known,
            ~shard.is_issue,
            (other < 0) | (other == shard.given),
            q >= fix_at,
            q >= review_at,
            q >= drop_at,
        ]
        return np.select(conditions, [FIX, REVIEW, KEEP, REVIEW, FIX, REVIEW, SOFTEN], default=DROP)

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
        other = target(shard)
        undirected = (action == REVIEW) & ((other < 0) | (other == shard.given))
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
        p_given, p_other = (probability_of(c, shard.pred_probs) for c in (shard.given, other))
        doubted = shard.is_issue & (other != shard.given)
        return opinions(shard.given, p_given, other, p_other, doubted, ending, class_names)


def target(shard: Evidence) -> np.ndarray:
    """The class a row would change to, (n,) int32: the suggested one, or the likeliest if none was given."""
    return np.where(shard.given < 0, shard.pred_probs.argmax(axis=1), shard.suggested).astype(np.int32)


def probability_of(label: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """p(label) of each row, (n,) float32, 0 where the label is -1."""
    return np.where(label >= 0, pred_probs[np.arange(len(label)), np.maximum(label, 0)], np.float32(0))


def exceeds(part: int, whole: int, cap: float) -> bool:
    """Whether part / whole > cap, exactly, for the decimal that was written: 0.29 of 100 is 29."""
    return part > Fraction(str(cap)) * whole
