"""Several yes/no questions about a row, as one question about more rows: the binary view.

Where several classes may apply to a row at once, a teacher gives for each class the log-odds that it does,
log p / (1 - p). Binary relevance (Tsoumakas & Katakis, "Multi-Label Classification: An Overview",
IJDWM 2007, PT4) makes n rows of k answers n k rows of two classes; whatever is known of two classes, such
as a temperature, a mean of opinions, or confident learning, then works on them unchanged. It treats the
answers of a row as if they were independent: that some classes go together is left to the teachers.
"""

from __future__ import annotations

import numpy as np

LIMIT = float(np.log1p(-1e-6) - np.log(1e-6))
"""The log-odds of 1 - 1e-6: no answer is surer. A class that no training row has gets its negative."""


TEMPERED = 1 << 18
"""Answers of a fold that the temperature is taken from, at most: it is a single number, and an answer costs
637 logarithms."""


def tempered(keys: np.ndarray, k: int) -> np.ndarray:
    """The rows whose k answers the temperature is taken from, in order: those of the smallest content keys
    (n,) uint64."""
    most = max(TEMPERED // max(k, 1), 1)
    return np.sort(np.argsort(keys, kind="stable")[:most])


def log_probs(log_odds: np.ndarray) -> np.ndarray:
    """Log-odds (..., n, k) float -> log-probabilities (..., n k, 2) float32, of no and of yes, finite.

    The k answers of a row stand side by side.
    """
    z = log_odds.astype(np.float64)
    both = -np.logaddexp(0.0, np.stack([z, -z], axis=-1))
    return both.reshape(*z.shape[:-2], -1, 2).astype(np.float32)


def probabilities(log_odds: np.ndarray) -> np.ndarray:
    """p of each answer being yes, float32 of the same shape."""
    return np.exp(-np.logaddexp(0.0, -log_odds.astype(np.float64))).astype(np.float32)


def softened(log_odds: np.ndarray, temperature: float) -> np.ndarray:
    """Log-odds divided by a temperature, float32: the view's `temperature.scale`."""
    scaled: np.ndarray = (log_odds.astype(np.float64) / temperature).astype(np.float32)
    return scaled


def log_odds(probs: np.ndarray, floor: float) -> np.ndarray:
    """The log-odds of probabilities of yes, float32, both answers lifted to `floor`, which is above 0."""
    p = np.clip(probs.astype(np.float64), floor, 1.0)
    q = np.clip(1.0 - probs.astype(np.float64), floor, 1.0)
    odds: np.ndarray = (np.log(p) - np.log(q)).astype(np.float32)
    return odds


def every_class(known: np.ndarray, k: int) -> np.ndarray:
    """Log-odds (n, p) float of the first p classes -> (n, k) float32, none surer than LIMIT, those of a class
    that comes after them its negative."""
    odds = np.full((len(known), k), -LIMIT)
    odds[:, : known.shape[1]] = np.clip(known[:, :k], -LIMIT, LIMIT)
    return odds.astype(np.float32)


def answers(given: np.ndarray) -> np.ndarray:
    """Sets (n, k) int8, 1 for a class that applies, -1 throughout a row without -> (n k,) int64, as
    `log_probs` orders them."""
    flat: np.ndarray = given.reshape(-1).astype(np.int64)
    return flat


def as_sets(answered: np.ndarray, k: int) -> np.ndarray:
    """Something of each answer (n k,) -> (n, k)."""
    sets: np.ndarray = answered.reshape(-1, k)
    return sets
