"""Softmax regression by L-BFGS in coordinates where the problem is round.

Minimises the mean cross-entropy plus penalty/2 times the squared weights, the intercepts free. Boehning,
"Multinomial logistic regression algorithm", Ann. Inst. Statist. Math. 1992: whatever the weights, the
Hessian is at most (I - 11'/k)/2 times the rows' second moments, so with half of these,
L L' = X'X/(2n) + penalty I, the curvature in V = W L is at most 1 in every direction. Features that say
nearly the same make the plain problem a narrow valley, where L-BFGS (Liu & Nocedal, Mathematical
Programming 1989) takes hundreds of steps; in V it takes tens. L only changes the path: the problem is
strictly convex, the minimum is one point, and the search ends as scikit-learn's does, when no entry of
the plain gradient exceeds a tolerance.

Rows are visited in blocks that stay in the processor's cache between the product that judges them and the
one that learns from them; products in float32, sums over blocks and steps in float64, always in the
same order. The linear algebra library must be held to one thread. Cost: 4 n d k operations an evaluation,
and once min(n, max(8192, 4 d)) d^2 + d^3. Knows nothing of winnow.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import OptimizeResult, minimize

BLOCK_ROWS = 2048
MOMENT_ROWS = 8192
"""Second moments are taken from so many rows, or four a feature: they need not be exact."""
TOLERANCE = 1e-5
"""A tenth of scikit-learn's, at which probabilities of 600 digits are up to .006 off the minimum's; here
.001. It also bounds what is left of where the search began."""
FLOOR = 1e-6
"""Added to the second moments of standardised features (1 on the diagonal) where the penalty is less."""


class Loss:
    """The penalised mean cross-entropy of rows x (n, d) float32 and labels (n,) in 0..k-1."""

    def __init__(self, x: np.ndarray, labels: np.ndarray, k: int, penalty: float) -> None:
        self.x, self.labels, self.k, self.penalty = x, labels, k, penalty

    def __call__(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Weights (k, d) and intercepts (k,) float64 -> the loss and its gradients, float64."""
        weights, bias = np.ascontiguousarray(coef.T, dtype=np.float32), intercept.astype(np.float32)[:, None]
        total, by_coef, by_intercept = 0.0, np.zeros_like(coef), np.zeros_like(intercept)
        for start in range(0, len(self.x), BLOCK_ROWS):
            rows, given = self.x[start : start + BLOCK_ROWS], self.labels[start : start + BLOCK_ROWS]
            own = given, np.arange(len(rows))
            odds = np.ascontiguousarray((rows @ weights).T)  # a class's odds side by side: exp and sums fly
            odds += bias
            odds -= odds.max(axis=0)
            total -= float(odds[own].sum(dtype=np.float64))
            np.exp(odds, out=odds)
            sums = odds.sum(axis=0)
            total += float(np.log(sums).sum(dtype=np.float64))
            odds /= sums
            odds[own] -= 1
            by_coef += odds @ rows
            by_intercept += odds.sum(axis=1)
        n = len(self.x)
        loss = total / n + self.penalty / 2 * float((coef * coef).sum())
        return loss, by_coef / n + self.penalty * coef, by_intercept / n


def fit(
    x: np.ndarray,
    labels: np.ndarray,
    k: int,
    penalty: float,
    max_iter: int,
    first: tuple[np.ndarray, np.ndarray] | None = None,
    root: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (k, d) and intercepts (k,) float64 at the minimum, and the steps it took.

    x: (n, d) float32, standardised. first: weights and intercepts to start from instead of zero. root:
    what `root_of` gives for these rows and this penalty, where it is known already.
    """
    d, loss = x.shape[1], Loss(x, labels, k, penalty)
    root = root_of(x, penalty) if root is None else root
    back = solve_triangular(root, np.eye(d), lower=True)
    steepest = np.inf

    def plain(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v = point.reshape(k, d + 1)
        return v[:, :d] @ back, v[:, d] * np.sqrt(2)

    def evaluate(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal steepest
        value, by_coef, by_intercept = loss(*plain(point))
        steepest = max(float(np.abs(by_coef).max()), float(np.abs(by_intercept).max()))
        return value, np.column_stack([by_coef @ back.T, by_intercept * np.sqrt(2)]).ravel()

    def enough(intermediate_result: OptimizeResult) -> None:
        # The last point that the line search evaluated is the one it accepted.
        if steepest <= TOLERANCE:
            raise StopIteration

    start = np.zeros((k, d + 1))
    if first is not None:
        start[:, :d], start[:, d] = first[0] @ root, first[1] / np.sqrt(2)
    options = {"maxiter": max_iter, "maxfun": 20 * max_iter, "gtol": 0.0, "ftol": 64 * np.finfo(float).eps}
    found = minimize(evaluate, start.ravel(), jac=True, method="L-BFGS-B", callback=enough, options=options)
    coef, intercept = plain(found.x)
    return np.ascontiguousarray(coef), np.ascontiguousarray(intercept), int(found.nit)


def root_of(x: np.ndarray, penalty: float) -> np.ndarray:
    """The lower triangular L of L L' = X'X/(2n) + penalty I, from evenly spaced rows."""
    n, d = x.shape
    some = x[:: max(n // max(MOMENT_ROWS, 4 * d), 1)].astype(np.float64)
    moments = some.T @ some / (2 * len(some))
    moments[np.diag_indices(d)] += max(penalty, FLOOR)
    lower: np.ndarray = cholesky(moments, lower=True)
    return lower
