"""Stored soft labels as blocks of dense float32 probabilities that fit a core's cache.

The same bits as `SoftLabels.pred_probs`, in a fraction of its time and memory: there are only 32,768
stored probabilities, so they are looked up, and what is not stored is written once a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tasks.data import ONE, SoftLabels
from tasks.detect import Window
from tasks.detect.blocks import Block, spans

STORED = (np.arange(ONE + 1) / ONE).astype(np.float32)
"""The probability that each weight stands for."""


def pred_probs(soft: SoftLabels) -> np.ndarray:
    """(n, n_classes) float32, bit for bit those of `soft.pred_probs()`."""
    n, k = len(soft), soft.n_classes
    known = soft.labels >= 0
    unlisted = known & ~(soft.classes == soft.labels[:, None]).any(axis=1)
    rest = np.maximum(k - soft.classes.shape[1] - unlisted, 1)
    share = np.minimum(soft.tail / rest, soft.weights.min(axis=1, initial=ONE)) / ONE
    dense = np.empty((n, k), dtype=np.float32)
    dense[:] = share.astype(np.float32)[:, None]
    rows = np.flatnonzero(known)
    dense[rows, soft.labels[rows]] = STORED[soft.given_weight[rows]]
    np.put_along_axis(dense, soft.classes, STORED[soft.weights], axis=1)
    return dense


def given_probs(soft: SoftLabels) -> np.ndarray:
    """(n,) float32, the probability of each row's label; every row has one."""
    given: np.ndarray = STORED[soft.given_weight]
    return given


def rows(soft: SoftLabels, span: slice) -> SoftLabels:
    """A run of rows, without a copy."""
    return SoftLabels(
        soft.ids[span],
        soft.labels[span],
        soft.classes[span],
        soft.weights[span],
        soft.given_weight[span],
        soft.tail[span],
        soft.n_classes,
    )


def blocks(window: Window) -> Iterator[Block]:
    """The window's labelled rows."""
    for shard in window:
        labelled = shard.soft if (shard.labels >= 0).all() else shard.soft.take(shard.labels >= 0)
        for span in spans(len(labelled), labelled.n_classes):
            piece = rows(labelled, span)
            yield Block(
                piece.labels.astype(np.int64), partial(given_probs, piece), partial(pred_probs, piece)
            )


def ids_at(window: Window, places: np.ndarray) -> np.ndarray:
    """The ids (t,) of the window's labelled rows at `places` (t,), ascending."""
    found, start = [np.zeros(0, dtype=object)], 0
    for shard in window if len(places) else ():
        ids = shard.ids[shard.labels >= 0]
        here = places[(places >= start) & (places < start + len(ids))]
        found.append(ids[here - start])
        start += len(ids)
    return np.concatenate(found)
