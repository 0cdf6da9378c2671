"""Calibration: does a prediction made with confidence 0.9 come true nine times in ten?

Expected calibration error after Guo et al., "On Calibration of Modern Neural Networks", ICML 2017,
equation 3, over bins of equal mass instead of equal width (Nguyen & O'Connor, "Posterior calibration
and exploratory analysis for natural language processing models", EMNLP 2015): nearly all predictions
of a good model lie in the last of fifteen equally wide bins, where the error would be hidden by
averaging. Assumes that confidence is comparable between rows; says nothing of accuracy. One sort:
O(n log n) time, O(n) memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: mean confidence and accuracy, (b,) float64, and rows, (b,) int64, of
    each bin that holds any, in order of confidence."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Reliability:
    """Bins of equal mass: (n,) float in 0..1 and (n,) bool -> at most `bins` bins.

    Rows of equal confidence share a bin, so the order of rows never shows; where ties straddle a
    boundary, bins come out unequal or fewer. Raises ValueError when a confidence is no probability.
    """
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is not in 0..1; pass the probability of the predicted class")
    order = np.argsort(confidence, kind="stable")
    ranked = confidence[order].astype(np.float64)
    right = correct[order].astype(np.int64)
    n = len(ranked)
    first_of_equals = np.searchsorted(ranked, ranked, side="left")
    bin_of_row = first_of_equals * bins // max(n, 1)
    starts = np.flatnonzero(np.diff(bin_of_row, prepend=-1))
    if not n:
        return Reliability(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    count = np.diff(starts, append=n).astype(np.int64)
    return Reliability(np.add.reduceat(ranked, starts) / count, np.add.reduceat(right, starts) / count, count)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy, over rows by bin; 0..1, NaN for no rows.

    Arguments as for `reliability`.
    """
    diagram = reliability(confidence, correct, bins)
    n = int(diagram.count.sum())
    gaps = np.abs(diagram.accuracy - diagram.confidence)
    return float((gaps * diagram.count).sum() / n) if n else float("nan")
