"""The threshold policy where rows have a number: what was given is kept, queued for a person or dropped.

Nothing is fixed: a prediction is no measurement, and a teacher that learned from the numbers would only hear
its own voice. A flagged target is queued with what the teachers predict, and one whose quality score is
below `drop_below` loses its number. The cap `max_fixed` holds here too: where a run would drop more than that
share of a partition's numbers it drops none, and asks people instead. Cost: O(n).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.data import ACTIONS, Decisions, Evidence, State
from tasks.relabel.caps import overrun

if TYPE_CHECKING:
    from tasks.relabel.threshold import Threshold

KEEP, DROP, REVIEW = (ACTIONS.index(action) for action in ("keep", "drop", "review"))


def fit(policy: Threshold, shards: Iterable[Evidence]) -> State:
    """Count what would be dropped. Info: `capped` (the whole partition) and `notes`."""
    rows = dropped = 0
    for shard in shards:
        rows += int((shard.given >= 0).sum())
        dropped += int((actions(policy, shard) == DROP).sum())
    capped, notes = overrun(rows, dropped, policy.max_fixed)
    return State({}, {"capped": capped, "notes": notes})


def apply(policy: Threshold, shard: Evidence, state: State) -> Decisions:
    """Decide. The confidence in a number is its quality score, which is no probability; 0 in none."""
    assert shard.before is not None
    assert shard.score is not None
    action = actions(policy, shard)
    stopped = (action == DROP) & state.info["capped"]
    action = np.where(stopped, REVIEW, action)
    after = np.where(action == DROP, np.nan, shard.before)
    there = np.isfinite(after)
    return Decisions(
        ids=shard.ids,
        given=shard.given,
        label=np.where(there, 0, -1).astype(np.int32),
        action=action.astype(np.int8),
        confidence=np.where(there, shard.score, 0).astype(np.float32),
        reason=reasons(policy, shard, action, stopped),
        decided_by=np.full(len(shard), policy.kind, dtype=object),
        before=shard.before,
        after=after,
    )


def actions(policy: Threshold, shard: Evidence) -> np.ndarray:
    """What the scores alone say: (n,) int64 index into ACTIONS."""
    assert shard.score is not None
    known = shard.given >= 0
    # The threshold as float32, so that a stored score that prints as 0.05 is not below 0.05.
    low = shard.score < np.float32(policy.drop_below)
    return np.select([known & ~shard.is_issue, known & low], [KEEP, DROP], default=REVIEW)


def reasons(policy: Threshold, shard: Evidence, action: np.ndarray, stopped: np.ndarray) -> np.ndarray:
    """One sentence a row, (n,) object str."""
    assert shard.before is not None
    assert shard.values is not None
    ending = np.select(
        [stopped, action == DROP, shard.given < 0, action == REVIEW],
        [
            f": more numbers would be dropped than max_fixed {policy.max_fixed} of the partition allows",
            f", and a detector scores it below drop_below {policy.drop_below}",
            "",
            ", and a detector flags it",
        ],
        default=", and no detector flags it",
    )
    frame = pl.DataFrame(
        {
            "given": shard.before,
            "value": shard.values,
            "known": shard.given >= 0,
            "ending": pl.Series(ending.astype(object), dtype=pl.String),
        }
    )
    shown = pl.col("given", "value").round_sig_figs(6).cast(pl.String).str.strip_suffix(".0")
    frame = frame.with_columns(shown)
    opinion = (
        pl.when("known")
        .then(pl.format("teachers predict {} and {} was given", "value", "given"))
        .otherwise(pl.format("no number was given and teachers predict {}", "value"))
    )
    return frame.select(pl.concat_str(opinion, "ending")).to_series().to_numpy()
