"""One logistic regression a class, each telling the rows that have the class from the rest.

Binary relevance, PT4 of Tsoumakas & Katakis, "Multi-Label Classification: An Overview", IJDWM 2007: as many
two-class problems as there are classes, on the same rows. Each is the strictly convex problem of `softmax`
with two classes, so that the answer depends on the rows alone. scikit-learn's OneVsRestClassifier over
LogisticRegression solves the same problems to a coarser tolerance. What the problems share, the change of
coordinates that takes the most time where features are many, is made once.

Assumes nothing of how classes go together: that two of them exclude each other is learned only as far as
the features show it. Cost: k times that of `softmax` with two classes. Knows nothing of winnow.
"""

from __future__ import annotations

import numpy as np

from tasks.teach import softmax
from tasks.teach.yes_no import LIMIT


def fit(x: np.ndarray, given: np.ndarray, c: float, max_iter: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (k, d) and intercepts (k,) float64 of the log-odds, and the most steps that a class took.

    x: (n, d) float32, standardised, n at least 1. given: (n, k) int8, 1 where a row has the class, else 0.
    A class that all rows have, or none, gets log-odds of LIMIT or its negative whatever the row.
    """
    n, k = given.shape
    coef, intercept, steps = np.zeros((k, x.shape[1])), np.full(k, -LIMIT), 0
    # scikit-learn penalises the difference of the two classes' weights: half as much as both.
    penalty = 2 / (c * n)
    root = softmax.root_of(x, penalty)
    counts = given.sum(axis=0, dtype=np.int64)
    intercept[counts == n] = LIMIT
    for j in np.flatnonzero((counts > 0) & (counts < n)):
        weights, biases, taken = softmax.fit(x, given[:, j].astype(np.int64), 2, penalty, max_iter, root=root)
        coef[j], intercept[j], steps = weights[1] - weights[0], biases[1] - biases[0], max(steps, taken)
    return coef, intercept, steps
