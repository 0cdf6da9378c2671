"""The k largest of many probabilities, as they are stored: rounded to 32767ths, ties to the lower class.

Sorting a row of 1,000 classes to find five costs some ten microseconds. Here the row is folded into columns:
the k-th largest of the columns' maxima is no more than the k-th largest probability, so only the few
that reach it are rounded and sorted. What comes out is what sorting all would give.
"""

from __future__ import annotations

import numpy as np

ONE = 32767
FOLD = 16
BLOCK = 512
"""Rows at a time, small enough for the processor's cache. Changes no value."""


def largest(pred_probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n, k) int32 and weights (n, k) int16, the largest first; pred_probs: (n, n_classes) float
    in 0..1, k <= n_classes."""
    n, n_classes = pred_probs.shape
    if n_classes < 2 * FOLD * k:
        return _sorted(pred_probs, k)
    classes, weights = np.empty((n, k), np.int32), np.empty((n, k), np.int16)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        classes[block], weights[block] = _selected(np.ascontiguousarray(pred_probs[block]), k)
    return classes, weights


def rounded(probs: np.ndarray) -> np.ndarray:
    """Probabilities as int16, half to even."""
    return np.asarray(np.rint(probs.astype(np.float64) * ONE), np.int16)


def _sorted(probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    weights = rounded(probs)
    classes = np.argsort(-weights, axis=1, kind="stable")[:, :k].astype(np.int32)
    return classes, np.take_along_axis(weights, classes, axis=1)


def _selected(probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    m, n_classes = probs.shape
    columns = n_classes // FOLD
    maxima = probs[:, : FOLD * columns].reshape(m, FOLD, columns).max(axis=1)
    reached = np.partition(maxima, columns - k, axis=1)[:, columns - k]
    # Whatever rounds to as much as that; a step further down, for the roundings of this very line.
    least = ((np.maximum(np.rint(reached.astype(np.float64) * ONE), 1) - 0.5) / ONE).astype(probs.dtype)
    wanted = probs >= np.nextafter(least, -1, dtype=probs.dtype)[:, None]
    wanted[:, :k] = True  # where fewer than k are above zero, the first of those that are not follow
    flat = np.flatnonzero(wanted)
    row, weight = flat // n_classes, rounded(probs.ravel()[flat]).astype(np.int64)
    # One sort: by row, then by weight downwards, then by class.
    ranked = np.sort((row << 48) | ((ONE - weight) << 32) | (flat - row * n_classes))
    first = np.searchsorted(ranked, np.arange(m) << 48)
    top = ranked[first[:, None] + np.arange(k)]
    return (top & 0xFFFFFFFF).astype(np.int32), (ONE - ((top >> 32) & 0xFFFF)).astype(np.int16)
