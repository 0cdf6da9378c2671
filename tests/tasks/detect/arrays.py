"""Labels and dense probabilities for the mathematics of detectors. No tests here."""

from __future__ import annotations

import numpy as np


def random_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) int64 and pred_probs (n, k) float32 with absent, single-row and never-predicted classes,
    zeros, one-hot rows, and, every other seed, probabilities so coarse that most margins are equal."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 12)), int(rng.integers(2, 200))
    classes = rng.choice(k, size=int(rng.integers(1, k + 1)), replace=False)
    labels = rng.choice(classes, size=n)
    labels[0] = rng.integers(k)
    pred_probs = rng.dirichlet(np.full(k, rng.choice([0.05, 0.3, 1.0])), n)
    pred_probs[np.arange(n), labels] += rng.choice([0.0, 0.5, 2.0])
    if rng.random() < 0.5:
        pred_probs[:, rng.integers(k)] = 0.0
    pred_probs += 1e-300
    pred_probs /= pred_probs.sum(axis=1, keepdims=True)
    if seed % 2:
        steps = rng.choice([4, 10, 100])
        pred_probs = np.round(pred_probs * steps) / steps
    return labels, pred_probs.astype(np.float32)
