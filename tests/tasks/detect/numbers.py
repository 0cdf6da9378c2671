"""Rows with a number each, for detectors of regression. No tests here."""

from __future__ import annotations

import numpy as np

from tasks.data import Issues, Labelled, SoftLabels
from tasks.detect import Detector, Window


def numbered(given: np.ndarray, predicted: np.ndarray, seed: int = 0, first: int = 0) -> Labelled:
    """Rows of the training split, each with a content of its own."""
    n = len(given)
    ids = np.array([f"row{i}" for i in range(first, first + n)], dtype=object)
    keys = np.random.default_rng([seed, first]).integers(0, 2**64, n, dtype=np.uint64)
    soft = SoftLabels.from_values(ids, given, predicted)
    return Labelled(ids, keys, np.ones(n, dtype=bool), soft, given=given)


def judged(detector: Detector, rows: Labelled) -> Issues:
    """Findings on rows by what they themselves say."""
    window = Window.of(rows)
    return detector.apply(rows, detector.fit(window), window)


def noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, out-of-sample predictions that are right but for noise, and which twentieth of the targets is
    wrong by a deviation or more."""
    random = np.random.default_rng(seed)
    clean = random.normal(size=n) * 3 + 10
    predicted = clean + random.normal(size=n) * 0.3
    wrong = random.random(n) < 0.05
    shift = random.choice([-1, 1], n) * random.uniform(3, 12, n)
    return np.where(wrong, clean + shift, clean), predicted, wrong
