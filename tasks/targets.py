"""What a student is to say of a row, as a probability for each class: from what is stored, (n, n_classes)."""

from __future__ import annotations

import numpy as np

from tasks.data import ONE


def densify(classes: np.ndarray, weights: np.ndarray, n_classes: int) -> np.ndarray:
    """The k largest probabilities to all of them, "smooth": what they leave is spread over the others.

    classes: (n, k) int32; weights: (n, k) int16 of 32767. Returns (n, n_classes) float32 whose rows sum
    to one. Faghri et al. (ICCV 2023, the authors' `densify` of that name): each class that is not listed
    gets (1 - sum) / (n_classes - k). Where all are listed there is nothing to spread. Weights are rounded:
    what their sum is off by is normalised away, and no class that is not listed beats one that is.
    """
    k = classes.shape[1]
    listed = weights.astype(np.float64) / ONE
    left = np.maximum(1 - listed.sum(axis=1, keepdims=True), 0) / max(n_classes - k, 1)
    dense = np.repeat(np.minimum(left, listed.min(axis=1, initial=1, keepdims=True)), n_classes, axis=1)
    np.put_along_axis(dense, classes.astype(np.int64), listed, axis=1)
    return np.asarray(dense / dense.sum(axis=1, keepdims=True), np.float32)


def normalised(pred_probs: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) float, rounded as they were stored, each row made to sum to one again."""
    return np.asarray(pred_probs / pred_probs.sum(axis=1, keepdims=True))


def one_hot(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(n,) int, -1 for no label, to (n, n_classes) float32; without a label all are 0."""
    dense = np.zeros((len(labels), n_classes), np.float32)
    known = labels >= 0
    dense[known, labels[known]] = 1
    return dense
