"""Label quality: how far a label agrees with class probabilities, by cleanlab's three scores (2.9, `rank`).

Self-confidence is the probability of the label; the normalized margin also looks at the likeliest other
class, the confidence-weighted entropy at all of them. Every row is scored alone. O(n k).
"""

from __future__ import annotations

import numpy as np

from tasks.detect.counting import TOLERANCE


def quality(labels: np.ndarray, pred_probs: np.ndarray, method: str, certain: bool = True) -> np.ndarray:
    """cleanlab's label quality scores in 0..1, low is bad: (n,) int and (n, k) float32 -> (n,) float32.

    One difference: teachers that are certain of the given label give 1. cleanlab's entropy score
    tends to 1 there and jumps to 0 at p = 1 itself, which int16 probabilities often are. With
    `certain` False there is none.
    """
    n, k = pred_probs.shape
    if n == 0 or k == 1:  # nothing to compare with: cleanlab would reduce an empty array
        return np.ones(n, dtype=np.float32)
    given = pred_probs[np.arange(n), labels]
    scores: np.ndarray = given
    if method == "normalized_margin":
        scores = normalized_margin(labels, pred_probs)
    elif method == "confidence_weighted_entropy":
        scores = weighted_entropy(given, pred_probs)
    if not certain:
        return scores
    bounded: np.ndarray = np.where(given >= 1, np.float32(1), np.clip(scores, 0, 1))
    return bounded


def normalized_margin(labels: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """(p of the label - the largest p of the others + 1) / 2: (n,) float32."""
    rows = np.arange(len(labels))
    others = pred_probs.copy()
    others[rows, labels] = -np.inf
    margin: np.ndarray = (pred_probs[rows, labels] - others.max(axis=1) + 1) / 2
    return margin


def weighted_entropy(given: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    """log(e + 1) / e of e = normalized entropy / p of the label, both at least 1e-6 below: (n,) float32."""
    from scipy.special import xlogy

    entropy = -xlogy(pred_probs, pred_probs).sum(axis=1) / np.log(pred_probs.shape[1])
    weighted = entropy / np.maximum(given, TOLERANCE)
    scores: np.ndarray = np.log(weighted + 1) / np.maximum(weighted, TOLERANCE)
    return scores.astype(np.float32, copy=False)
