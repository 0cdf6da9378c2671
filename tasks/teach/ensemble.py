"""The soft label of a row: the mean of what its teachers say.

Shen & Savvides, "MEAL V2", arXiv 2009.08453, section 3.1: the target is the mean of the teachers'
softmax outputs. Probabilities are averaged, not logits: the mean of logits lets the most confident
teacher decide, and two teachers that are sure of different classes would not come out as one half
each. Assumes that all teachers share the class vocabulary and that each is calibrated
(see `temperature`). Cost: O(m n k).
"""

from __future__ import annotations

import numpy as np


def mean(log_probs: np.ndarray) -> np.ndarray:
    """Mean probabilities: float32 (m, n, k) log-probabilities of m >= 1 teachers -> float32 (n, k).

    Accumulates in float64, teacher by teacher in the order given, so that the bytes do not depend
    on the number of rows or on how NumPy would block the sum. Rows sum to 1 to float32 precision.
    Shen & Savvides, section 3.1.
    """
    teachers, n, k = log_probs.shape
    total = np.zeros((n, k), dtype=np.float64)
    for teacher in log_probs:
        probs = np.exp(teacher.astype(np.float64, order="C"))
        total += probs / probs.sum(axis=1, keepdims=True)
    probabilities: np.ndarray = (total / teachers).astype(np.float32)
    return probabilities
