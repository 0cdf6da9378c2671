"""Influence functions of ridge softmax regression, exact: no stochastic inverse, no diagonal.

Koh & Liang, "Understanding black-box predictions via influence functions", ICML 2017, equations 1 and 2.
With x~ = (x, 1), p = softmax(W x~) and the objective (1/n) sum loss + (ridge/2) |W|^2, the gradient of
one row is g = (p - e_y) (x) x~ and the Hessian H = (1/n) sum (diag p - p p') (x) x~ x~' + ridge I. With
H = C C' and u = C^-1 g, leaving row i out raises the loss of row t by u_i . u_t / n, to first order.
Knows nothing of winnow. Rows n, numbers d, classes p, parameters q = p (d + 1): O(n q^2) to fit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

TOLERANCE = 1e-9
"""The largest element of the gradient that the solver stops at; influence is derived where it is 0."""


@dataclass(frozen=True)
class SoftmaxModel:
    """weights: (p, d + 1) float64, the bias last. factor: (q, q) float64, the lower Cholesky factor of the
    Hessian, parameters class by class."""

    weights: np.ndarray
    factor: np.ndarray


def fit(x: np.ndarray, labels: np.ndarray, ridge: float) -> SoftmaxModel:
    """x: (n, d) float64. labels: (n,) int in 0..p-1, p > 1, each class present."""
    x = with_bias(x)
    n, p = len(x), int(labels.max()) + 1
    # Of two classes scikit-learn fits the difference of their weights, whose square is twice theirs.
    strength = ridge / 2 if p == 2 else ridge
    model = LogisticRegression(
        C=1 / (n * strength), fit_intercept=False, solver="newton-cholesky", tol=TOLERANCE, max_iter=200
    )
    with warnings.catch_warnings():
        # Its line search may stop a rounding error above so small a tolerance, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, labels)
    weights = model.coef_.astype(np.float64)
    weights = np.vstack([-weights / 2, weights / 2]) if p == 2 else weights
    return SoftmaxModel(weights, cholesky(hessian(x, weights, ridge), lower=True))


def hessian(x: np.ndarray, weights: np.ndarray, ridge: float) -> np.ndarray:
    """x: (n, d + 1) with the bias. (q, q) float64."""
    (n, d), p = x.shape, len(weights)
    probs = softmax(x @ weights.T, axis=1)
    blocks = np.empty((p, d, p, d))
    for a in range(p):
        for b in range(a, p):
            share = probs[:, a] * ((a == b) - probs[:, b]) / n
            blocks[a, :, b] = x.T @ (x * share[:, None])
            blocks[b, :, a] = blocks[a, :, b].T
    return blocks.reshape(p * d, p * d) + ridge * np.eye(p * d)


def gradients(model: SoftmaxModel, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """g of each row, (n, q) float64, for x (n, d) and labels (n,) int in 0..p-1."""
    x = with_bias(x)
    residual = softmax(x @ model.weights.T, axis=1)
    residual[np.arange(len(x)), labels] -= 1
    return np.asarray((residual[:, :, None] * x[:, None, :]).reshape(len(x), -1))


def directions(model: SoftmaxModel, gradients: np.ndarray) -> np.ndarray:
    """u of rows with such gradients, both (n, q) float64."""
    return np.asarray(solve_triangular(model.factor, gradients.T, lower=True)).T


def look(model: SoftmaxModel, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each row p_y, |u|^2 and u / |u|, side by side, (n, 2 + q) float64.

    Leaving out a row that the model was fitted on raises its own loss -log p_y by |u|^2 / n.
    """
    g = gradients(model, x, labels)
    u = directions(model, g)
    # The last column of a class's gradient is its residual, as the bias is 1: p - 1 for the label's.
    probability = 1 + g.reshape(len(x), len(model.weights), -1)[np.arange(len(x)), labels, -1]
    squared = (u * u).sum(axis=1)
    length = np.sqrt(np.where(squared > 0, squared, 1))
    return np.column_stack([probability, squared, u / length[:, None]])


def with_bias(x: np.ndarray) -> np.ndarray:
    return np.hstack([x, np.ones((len(x), 1))])


def projection(x: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardise x (n, e), and rotate it to at most `most` leading principal components if there are more
    numbers: mean (e,) and components (e, d), float64, for (x - mean) @ components."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    if x.shape[1] <= most:
        return mean, np.diag(1 / scale)
    standard = (x - mean) / scale
    _, vectors = eigh(standard.T @ standard, subset_by_index=(x.shape[1] - most, x.shape[1] - 1))
    return mean, vectors[:, ::-1] / scale[:, None]


def shares_of(influence: np.ndarray, labels: np.ndarray, p: int) -> np.ndarray:
    """Each class's share of a vote by influencers: c (n, r), counted where positive, with their labels (n, r)
    in 0..p-1 -> float64 (n, p), each row sums to 1, or to 0 where nobody voted."""
    n = len(influence)
    places = np.arange(n)[:, None] * p + np.maximum(labels, 0)
    votes = np.bincount(places.ravel(), np.maximum(influence, 0).ravel(), minlength=n * p).reshape(n, p)
    return np.asarray(votes / np.maximum(votes.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))
