"""Linear least squares with an L2 penalty, solved at once.

Hoerl & Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 1970: the
weights that minimise the sum of squared errors plus alpha times their own squares, the intercept free. The
problem is strictly convex and its answer a linear system, (X'X + alpha I) w = X'y of centred rows and
targets, which a Cholesky decomposition solves; scikit-learn's Ridge solves the same one. The penalty says
the same whatever the target's unit, since w scales with it.

Sums run over blocks of rows of one size, in float64 and in order. The linear algebra library must be held to
one thread. Cost: n d^2 + d^3 / 3. Knows nothing of winnow.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

BLOCK_ROWS = 2048


def fit(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """Weights (d,) and the intercept, float64.

    x: (n, d) float32, n at least 1, of about unit scale. y: (n,) float64, finite. alpha: above 0.
    """
    n, d = x.shape
    centre, level = x.mean(axis=0, dtype=np.float64), float(y.mean())
    moments, product = np.diag(np.full(d, alpha)), np.zeros(d)
    for start in range(0, n, BLOCK_ROWS):
        rows = x[start : start + BLOCK_ROWS] - centre
        moments += rows.T @ rows
        product += rows.T @ (y[start : start + BLOCK_ROWS] - level)
    weights: np.ndarray = cho_solve(cho_factor(moments, lower=True), product)
    return weights, level - float(centre @ weights)
