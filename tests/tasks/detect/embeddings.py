"""Rows for detectors on the embedding. No tests here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

from tasks.data import Issues, Labelled, SoftLabels
from tasks.detect import Detector, Window


def rows(
    embedding: np.ndarray | Sequence[Sequence[float]],
    labels: np.ndarray | Sequence[int],
    n_classes: int,
    keys: np.ndarray | None = None,
    trains: np.ndarray | None = None,
) -> Labelled:
    """Rows whose soft labels say nothing; by default each has a content of its own and trains."""
    n = len(labels)
    ids = np.array([f"row-{i}" for i in range(n)], dtype=object)
    given = np.asarray(labels, dtype=np.int32)
    soft = SoftLabels.from_pred_probs(ids, given, np.full((n, n_classes), 1 / n_classes), n_classes)
    return Labelled(
        ids,
        np.arange(n, dtype=np.uint64) if keys is None else keys.astype(np.uint64),
        np.ones(n, dtype=bool) if trains is None else trains,
        soft,
        embedding=np.asarray(embedding, dtype=np.float32).reshape(n, -1)
        if n
        else np.zeros((0, 0), np.float32),
    )


def found(detector: Detector, window: Labelled, shard: Labelled | None = None) -> Issues:
    """Findings on a shard of the window, by default all of it."""
    whole = Window.of(window)
    return detector.apply(window if shard is None else shard, detector.fit(whole), whole)


def digits(noise: float = 0.0, n: int = 1797) -> tuple[Labelled, np.ndarray]:
    """Real digits, a share of whose labels was moved to another class at random, and which these are."""
    data = load_digits()
    random = np.random.default_rng(0)
    wrong = random.random(n) < noise
    moved = (data.target[:n] + random.integers(1, 10, n)) % 10
    return rows(data.data[:n], np.where(wrong, moved, data.target[:n]), 10), wrong


def same_whatever_the_shard(detector: Detector, window: Labelled) -> None:
    """A row's finding is the same bits in a shard of one row, of many, and in any order; and when the
    window is read in other runs."""
    runs = np.array_split(np.arange(len(window)), 7)
    cut = Window.of(*(window.take(run) for run in runs))
    state, whole = detector.fit(cut), found(detector, window)
    for index in (np.arange(1), np.arange(1, 9), np.arange(9, len(window))[::-1]):
        part = detector.apply(window.take(index), state, cut)
        for name in ("score", "is_issue", "suggested_label"):
            assert getattr(part, name).tobytes() == getattr(whole, name)[index].tobytes(), name
