"""What detectors of numbers share: the window's targets and predictions, their spread, findings on a shard.

A window is held as three numbers a row. Means and deviations are correctly rounded sums, so that they are
the same however the rows were dealt. Cost: one pass over the window; 24 bytes a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tasks.data import Issues, Labelled
from tasks.detect import Window
from tasks.detect.embedded import nothing_found

NO_ROWS = "no target was flagged: no row of the window's training split has one"


class Pairs(NamedTuple):
    """Rows with a target: given and predicted (n,) float64, keys (n,) uint64 from their contents."""

    given: np.ndarray
    predicted: np.ndarray
    keys: np.ndarray


def pairs_of(shard: Labelled) -> Pairs:
    """A shard's rows, NaN where no target is given."""
    assert shard.given is not None
    assert shard.soft.values is not None
    return Pairs(shard.given, shard.soft.values, shard.keys)


def learned(window: Window) -> Pairs:
    """The window's rows that statistics may come from."""
    parts = [pairs_of(shard.take(shard.learnable)) for shard in window]
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def spread(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, 0 and 1 of no values; a deviation of 0 is 1, to be divided by."""
    if not len(values):
        return 0.0, 1.0
    mean = math.fsum(values.tolist()) / len(values)
    deviation = math.sqrt(math.fsum(np.square(values - mean).tolist()) / len(values))
    return mean, deviation or 1.0


def findings(shard: Labelled, score: Callable[[np.ndarray, np.ndarray], np.ndarray], limit: float) -> Issues:
    """Each row with a target by its score, of given and predicted (m,) float64: 0..1, flagged below limit."""
    found, rows = nothing_found(shard), np.flatnonzero(shard.labels >= 0)
    given, predicted, _ = pairs_of(shard.take(rows))
    scores = score(given, predicted)
    found.score[rows] = scores
    found.is_issue[rows] = scores < limit
    return found
