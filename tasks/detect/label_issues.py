"""cleanlab's flags and scores, called safely: one thread at a time, refusals as sentences.

Northcutt, Jiang & Chuang, JAIR 70 (2021), section 3, as `cleanlab.filter` and `cleanlab.rank` 2.9
compute it. cleanlab hands the matrix to its helpers through module globals: two threads inside it
at once would judge each other's rows, and the last matrix would stay in memory.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from cleanlab import count, rank
from cleanlab import filter as cleanlab_filter

_inside_cleanlab = threading.Lock()


@dataclass(frozen=True)
class Found:
    """flags: (n,) bool. thresholds: (k,) float64, 2 where no row has the class. confident_joint:
    (k, k) int64 counts, rows the given label, columns the confident class, the diagonal at least 1.
    refusal: why cleanlab would not judge these rows, or None."""

    flags: np.ndarray
    thresholds: np.ndarray
    confident_joint: np.ndarray
    refusal: str | None


def find(labels: np.ndarray, pred_probs: np.ndarray, **options: Any) -> Found:
    """Judge n >= 1 rows: labels (n,) int in 0..k-1, pred_probs (n, k) float32 out of sample.

    `options` go to `cleanlab.filter.find_label_issues`. It refuses fewer than two distinct labels.
    """
    # Rare and absent classes are legal here; the caller says which they are.
    warnings.filterwarnings("ignore", "May not flag all label issues", module="cleanlab")
    flags, refusal = np.zeros(len(labels), dtype=bool), None
    with _inside_cleanlab:
        try:
            flags = cleanlab_filter.find_label_issues(labels, pred_probs, n_jobs=1, **options)
        except ValueError as error:
            refusal = str(error)
        finally:
            vars(cleanlab_filter).pop("pred_probs_by_class", None)
    thresholds = count.get_confident_thresholds(labels, pred_probs)
    joint = count.compute_confident_joint(labels, pred_probs, thresholds=thresholds, calibrate=False)
    return Found(flags, thresholds.astype(np.float64), np.ascontiguousarray(joint, dtype=np.int64), refusal)


def quality(labels: np.ndarray, pred_probs: np.ndarray, method: str) -> np.ndarray:
    """cleanlab's label quality scores in 0..1, low is bad: (n,) int and (n, k) float32 -> (n,) float32.

    One difference: teachers that are certain of the given label give 1. cleanlab's entropy score
    tends to 1 there and jumps to 0 at p = 1 itself, which int16 probabilities often are.
    """
    n, k = pred_probs.shape
    if n == 0 or k == 1:  # nothing to compare with: cleanlab would reduce an empty array
        return np.ones(n, dtype=np.float32)
    scores = rank.get_label_quality_scores(labels, pred_probs, method=method)
    certain = pred_probs[np.arange(n), labels] >= 1
    return np.where(certain, 1, np.clip(scores, 0, 1)).astype(np.float32)
