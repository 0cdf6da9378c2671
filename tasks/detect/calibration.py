"""Scores into a probability, learned from what people decided: cross-fitted ridge logistic regression.

Platt, "Probabilistic Outputs for Support Vector Machines", 1999, with several scores in place of one and
a second, one-dimensional fit on what the first says of rows that it did not see. Below some five hundred
decisions a line through log-odds is steadier than isotonic steps, which also tie rows and lose ranking.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from tasks.teach.rowwise import one_thread

LEAST = 1e-4
"""Scores and probabilities are held this far from 0 and 1: beyond it they tell surety, not evidence."""


def calibrate(x: np.ndarray, wrong: np.ndarray, folds: np.ndarray) -> dict[str, np.ndarray]:
    """Learn from n decisions: x (n, f) log-odds of an error, wrong (n,) bool, folds (n,) from 0 up.

    Returns float64 arrays: `mean` and `scale` (f,) of x, `coef` (folds, f) and `intercept` (folds,) of
    models that each left a fold out, and `line`, slope and shift of what they say of the fold left out.
    """
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    z, unseen, models = (x - mean) / scale, np.zeros(len(x)), []
    for fold in range(int(folds.max()) + 1):
        train = folds != fold
        coef, intercept = logistic(z[train], wrong[train])
        unseen[~train] = z[~train] @ coef + intercept
        models.append((coef, intercept))
    slope, shift = logistic(unseen[:, None], wrong)
    return {
        "mean": mean,
        "scale": scale,
        "coef": np.stack([coef for coef, _ in models]),
        "intercept": np.array([intercept for _, intercept in models]),
        "line": np.array([slope[0], shift]),
    }


def p_error(x: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """P(error) of other rows, (n, f) -> (n,) float64: the models' mean log-odds, and the line."""
    z = (x - arrays["mean"]) / arrays["scale"]
    said = np.zeros((len(x), len(arrays["coef"])))
    for number in range(x.shape[1]):  # a matrix product may sum a row otherwise in a shard of another length
        said += z[:, [number]] * arrays["coef"][:, number]
    slope, shift = arrays["line"]
    return np.asarray(expit(slope * (said + arrays["intercept"]).mean(axis=1) + shift))


def logistic(x: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (f,) and intercept of a ridge logistic regression (C = 1); where all rows agree only the
    intercept, of their share by Laplace's rule."""
    if wrong.all() or not wrong.any():
        return np.zeros(x.shape[1]), float(logit((wrong.sum() + 1) / (len(wrong) + 2)))
    with one_thread():
        model = LogisticRegression(C=1.0).fit(x, wrong)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def error_odds(quality: np.ndarray) -> np.ndarray:
    """Log-odds of an error from a label quality in 0..1."""
    return np.asarray(-logit(np.clip(quality.astype(np.float64), LEAST, 1 - LEAST)))
