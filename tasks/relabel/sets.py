"""The threshold policy where several classes may apply to a row: what is decided is each answer.

The detectors doubt single answers of a flagged row, a class that was given or one that was not. With q the
calibrated probability of the other answer, a doubted answer alone would be changed (q >= fix_at), put
before a person (q >= review_at), left to the soft label (q >= drop_at) or given up. A row has one action,
the strongest that any of its doubted answers calls for: drop, review, soften, fix. So a set is changed only
where all doubts of it can be proved, and people never see half of a change. A row that came without labels
gains a set where every answer reaches fix_at.

Of the two caps, that of the partition counts rows, that of a class the answers on it that would change,
whichever way, and the dropped rows that had it, against the rows that have it before or after. O(n k).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import ACTIONS, Decisions, Evidence, State
from tasks.given import labels_of
from tasks.relabel.caps import class_overruns, overrun
from tasks.relabel.reasons import answers_doubted

if TYPE_CHECKING:
    from tasks.relabel.threshold import Threshold

KEEP, FIX, SOFTEN, DROP, REVIEW = (ACTIONS.index(a) for a in ("keep", "fix", "soften", "drop", "review"))

STRENGTH = (KEEP, FIX, SOFTEN, REVIEW, DROP)
"""The actions by rising strength."""


def fit(policy: Threshold, shards: Iterable[Evidence]) -> State:
    """Count what would change. Arrays: `labelled` and `changed` (k,) int64, rows that have a class before or
    after and answers on it that would change, and `capped` (k,) bool. Info: `capped` (the whole partition)
    and `notes`."""
    rows = moved = 0
    counts = [np.zeros((2, 0), dtype=np.int64)]
    for shard in shards:
        given, known, action = sets_of(shard), shard.given >= 0, actions(policy, shard)
        fixed, dropped = known & (action == FIX), known & (action == DROP)
        rows, moved = rows + int(known.sum()), moved + int((fixed | dropped).sum())
        toggled = doubts_of(shard) & fixed[:, None]
        changed = toggled.sum(axis=0) + (given[dropped] == 1).sum(axis=0)
        counts.append(np.stack([((given == 1) | toggled).sum(axis=0), changed]))
    labelled, changed = np.sum(counts[1:] or counts, axis=0)
    capped, notes = overrun(rows, moved, policy.max_fixed)
    over, more = class_overruns(labelled, changed, policy.max_fixed_per_class)
    arrays = {"labelled": labelled, "changed": changed, "capped": over}
    return State(arrays, {"capped": capped, "notes": notes + more})


def apply(policy: Threshold, shard: Evidence, state: State, class_names: tuple[str, ...]) -> Decisions:
    """Decide. The confidence is the least of the probabilities of the resulting answers; without a result
    that of the likeliest ones."""
    given, known, doubts = sets_of(shard), shard.given >= 0, doubts_of(shard)
    action = actions(policy, shard)
    fixed, dropped = action[:, None] == FIX, action[:, None] == DROP
    touched = (fixed & doubts) | (dropped & (given == 1))
    changing = known & np.isin(action, (FIX, DROP))
    over: np.ndarray = touched & state.arrays["capped"]
    class_over = over.any(axis=1)
    stopped = np.select([changing & state.info["capped"], changing & class_over], [1, 2], default=0)
    action = np.where(stopped > 0, REVIEW, action)

    likeliest = (shard.pred_probs >= 0.5).astype(np.int8)
    better = np.where(known[:, None], np.where(doubts, 1 - given, given), likeliest)
    decided = np.where(action[:, None] == FIX, better, given).astype(np.int8)
    decided[action == DROP] = -1
    label = labels_of(decided)
    answers = np.where(label[:, None] >= 0, decided, likeliest)
    confidence = probability_of(answers, shard.pred_probs).min(axis=1, initial=1)
    return Decisions(
        ids=shard.ids,
        given=shard.given,
        label=label,
        action=action.astype(np.int8),
        confidence=confidence.astype(np.float32),
        reason=reasons(policy, shard, action, stopped, class_names),
        decided_by=np.full(len(shard), policy.kind, dtype=object),
        before=given,
        after=decided,
    )


def actions(policy: Threshold, shard: Evidence) -> np.ndarray:
    """What the thresholds alone say: (n,) int64 index into ACTIONS."""
    known, doubts = shard.given >= 0, doubts_of(shard)
    q = 1 - probability_of(sets_of(shard), shard.pred_probs)
    # Thresholds as float32, so that a stored probability that prints as 0.95 reaches 0.95.
    steps = np.array([policy.fix_at, policy.review_at, policy.drop_at], dtype=np.float32)
    strength = np.select([q >= step for step in steps], [1, 3, 2], default=4)
    strongest = np.where(doubts, strength, 0).max(axis=1, initial=0)
    flagged = known & shard.is_issue
    undirected = flagged & ~doubts.any(axis=1)
    certain = (certainty(shard.pred_probs) >= steps[0]).all(axis=1)
    strength = np.where(flagged, np.where(undirected, 3, strongest), np.where(known, 0, 3))
    return np.asarray(STRENGTH)[np.where(~known & certain, 1, strength)]


def reasons(
    policy: Threshold, shard: Evidence, action: np.ndarray, stopped: np.ndarray, class_names: tuple[str, ...]
) -> np.ndarray:
    """One sentence a row, (n,) object str; of several doubted answers it names the one that
    decided: of a fixed set the least probable, else the one whose doubt is the weakest."""
    if not len(shard):
        return np.zeros(0, dtype=object)
    given, doubts, rows = sets_of(shard), doubts_of(shard), np.arange(len(shard))
    p_given, number = probability_of(given, shard.pred_probs), doubts.sum(axis=1)
    least = np.where(doubts, p_given, 2).argmin(axis=1)
    weakest = np.where(doubts, p_given, -1).argmax(axis=1)  # whose doubt held the others back
    worst = np.where(np.equal(action, FIX), least, weakest)
    endings = {
        KEEP: " and no detector flags it",
        FIX: "",
        REVIEW: f", short of fix_at {policy.fix_at}",
        SOFTEN: f", short of review_at {policy.review_at}: only its soft label teaches",
        DROP: f", short of drop_at {policy.drop_at}: no answer convinces",
    }
    undirected = (shard.given >= 0) & shard.is_issue & (number == 0)
    ending = np.select(
        [stopped == 1, stopped == 2, undirected, *(action == a for a in endings)],
        [
            f": more labels would change than max_fixed {policy.max_fixed} of the partition allows",
            f": more labels would change than max_fixed_per_class {policy.max_fixed_per_class} allows",
            ", and a detector flags it but names no class",
            *endings.values(),
        ],
        default="",
    )
    return answers_doubted(
        np.where(shard.given >= 0, p_given.min(axis=1), np.nan),
        certainty(shard.pred_probs).min(axis=1),
        number,
        worst,
        shard.pred_probs[rows, worst],
        given[rows, worst] == 1,
        ending,
        class_names,
    )


def sets_of(shard: Evidence) -> np.ndarray:
    assert shard.before is not None
    return shard.before


def doubts_of(shard: Evidence) -> np.ndarray:
    """The doubted answers of flagged rows that have labels, (n, k) bool."""
    assert shard.doubts is not None
    doubted: np.ndarray = shard.doubts & (shard.is_issue & (shard.given >= 0))[:, None]
    return doubted


def probability_of(answers: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """p of each answer, (n, k) float32: of a class that applies p, of one that does not 1 - p."""
    p: np.ndarray = np.where(answers == 1, pred_probs, 1 - pred_probs)
    return p


def certainty(pred_probs: np.ndarray) -> np.ndarray:
    """p of the likelier answer, (n, k) float32."""
    p: np.ndarray = np.maximum(pred_probs, 1 - pred_probs)
    return p
