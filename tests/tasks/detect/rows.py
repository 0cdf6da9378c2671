"""Rows for detectors, from soft labels alone. No tests here."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.data import Issues, Labelled, SoftLabels, State
from tasks.detect import Detector, Window


def labelled(soft: SoftLabels, **more: Any) -> Labelled:
    """Rows of the training split, each with a content of its own; `more` are the other fields."""
    n = len(soft)
    return Labelled(soft.ids, np.arange(n, dtype=np.uint64), np.ones(n, dtype=bool), soft, **more)


def fit(detector: Detector, *shards: SoftLabels) -> State:
    return detector.fit(Window.of(*map(labelled, shards)))


def judge(detector: Detector, soft: SoftLabels, state: State | None = None) -> Issues:
    """A shard's findings; by default by what the shard itself says."""
    shard = labelled(soft)
    return detector.apply(shard, state or fit(detector, soft), Window.of(shard))
