"""Real digits as `Examples`, for the tests of teachers."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from tasks import seeds
from tasks.data import Examples


def digits(n: int = 1797, noise: float = 0.0) -> tuple[Examples, np.ndarray]:
    """The first n of scikit-learn's digits and their true labels; a share `noise` of labels is wrong."""
    data = load_digits()
    truth = data.target[:n].astype(np.int32)
    images = (data.images[:n] * 15.9).astype(np.uint8)[..., None]
    random = np.random.default_rng(0)
    wrong = random.random(n) < noise
    labels = np.where(wrong, (truth + random.integers(1, 10, n)) % 10, truth).astype(np.int32)
    ids = np.array([f"digit-{i}" for i in range(n)], dtype=object)
    keys = seeds.mix(np.arange(n, dtype=np.uint64), 1)
    embedding = (images.reshape(n, 64) / 255).astype(np.float32)
    return Examples(ids, keys, labels, images=images, embedding=embedding), truth


def in_parts(n: int) -> list[np.ndarray]:
    """All of 0..n-1, cut unevenly: one row, a few, the rest backwards."""
    return [np.arange(0, 1), np.arange(1, min(8, n)), np.arange(min(8, n), n)[::-1]]
