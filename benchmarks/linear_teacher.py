"""The linear teacher against scikit-learn's cross-validation: 50,000 x 384 features, 10 classes, 5 folds.

Features are those of the encoder `convnet_embedding` on Fashion-MNIST, and a tenth of the labels are moved
to another class at random, as labels are that winnow is for. Fold by fold, in turn, both learn from the
other folds and judge this one, which is what `cross_val_predict` does; both take float32 features,
standardise them by the training rows, have the penalty of C = 1 and one thread, hence processor
seconds. Times are medians over the five folds; the log loss is that of the given labels.

Features of an encoder nearly repeat one another, and there the coordinates that winnow searches in pay
most. The last figures are on the same features made uncorrelated, where they pay least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from rich.progress import Progress

from benchmarks._embeddings import fashion
from benchmarks.figures import Figure
from tasks import seeds
from tasks.data import Examples
from tasks.teach.linear import Linear
from tasks.teach.rowwise import one_thread

ROWS, DIMENSION, CLASSES, FOLDS = 50_000, 384, 10, 5
Judge = Callable[[Examples, Examples], np.ndarray]


@dataclass(frozen=True)
class Judged:
    """seconds: the median fold. probs: (n, k), each row by the model that did not see it."""

    seconds: float
    probs: np.ndarray


def run(progress: Progress) -> list[Figure]:
    import sklearn
    from sklearn.metrics import log_loss

    rows = fashion(ROWS, DIMENSION)
    rows = replace(rows, labels=with_noise(rows.labels))
    plain = replace(rows, embedding=uncorrelated(rows.embedding))
    with one_thread():
        ours, theirs = cross_fitted([winnow, scikit_learn], rows, progress)
        again = cross_fitted([winnow], rows, progress)[0]
        ours_plain, theirs_plain = cross_fitted([winnow, scikit_learn], plain, progress)
    losses = [log_loss(rows.labels, each.probs) for each in (ours, theirs)]
    peer = f"scikit-learn {sklearn.__version__}"
    return [
        Figure("linear, a fold", ours.seconds, "s"),
        Figure("scikit-learn, a fold", theirs.seconds, "s", peer=peer),
        Figure("times faster", theirs.seconds / ours.seconds, "", "≥ 5", peer),
        Figure("log loss out of fold", losses[0]),
        Figure("log loss out of fold of scikit-learn", losses[1], peer=peer),
        Figure("log loss relative to the peer's", losses[0] / losses[1], "", "≤ 1.01", peer),
        Figure("largest difference of a probability", float(np.abs(ours.probs - theirs.probs).max())),
        Figure(
            "probabilities that differ when done again", int((ours.probs != again.probs).sum()), "", "= 0"
        ),
        Figure("times faster, uncorrelated features", theirs_plain.seconds / ours_plain.seconds, peer=peer),
    ]


def with_noise(labels: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(0)
    moved = (labels + random.integers(1, CLASSES, len(labels))) % CLASSES
    return np.where(random.random(len(labels)) < 0.1, moved, labels).astype(np.int32)


def uncorrelated(embedding: np.ndarray | None) -> np.ndarray:
    assert embedding is not None
    centred = embedding.astype(np.float64) - embedding.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(np.maximum(variances, variances.max() * 1e-9))
    return np.asarray(centred @ directions / scale, dtype=np.float32)


def cross_fitted(judges: list[Judge], rows: Examples, progress: Progress) -> list[Judged]:
    """What each says of all rows; they take turns, fold by fold."""
    folds = seeds.folds_of(rows.keys, FOLDS)
    probs = [np.empty((len(rows), CLASSES)) for _ in judges]
    seconds: list[list[float]] = [[] for _ in judges]
    for fold in progress.track(range(FOLDS), description="folds in turn"):
        train, held_out = rows.take(folds != fold), rows.take(folds == fold)
        for judge, answer, taken in zip(judges, probs, seconds, strict=True):
            started = time.process_time()
            answer[folds == fold] = judge(train, held_out)
            taken.append(time.process_time() - started)
    return [Judged(median(taken), answer) for taken, answer in zip(seconds, probs, strict=True)]


def winnow(train: Examples, held_out: Examples) -> np.ndarray:
    teacher = Linear()
    state = teacher.fit(train, CLASSES, 0, "cpu")
    odds = np.exp(teacher.predict(state, held_out, CLASSES, "cpu")[0].astype(np.float64))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def scikit_learn(train: Examples, held_out: Examples) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    odds = model.fit(train.embedding, train.labels).predict_proba(held_out.embedding).astype(np.float64)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
