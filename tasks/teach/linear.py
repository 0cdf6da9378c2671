"""Multinomial logistic regression on the embedding: the teacher to beat.

Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4, with an L2 penalty: the minimum of
the loss that scikit-learn's LogisticRegression has, found in fewer steps and to a tenth of its tolerance
(see `softmax`). The problem is strictly convex: the answer depends on the rows alone and the seed is not
used. The embedding is first standardised by the training rows' mean and deviation, so that the penalty
means the same whatever the encoder's units. Assumes that the encoder has made the classes nearly linearly
separable; on raw pixels it is a baseline. Started from an earlier solution, it takes fewer steps to the
same minimum, within the tolerance. Cost: 4 n e k operations a step, some tens of steps.

Where several classes may apply to a row, it is one such regression a class (see `one_vs_rest`); where rows
have a number, it is linear least squares with the penalty 1 / c (see `ridge`), found without steps.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.method import Task
from tasks.teach import BadTraining, Named, Start
from tasks.teach.rowwise import BLOCK_ROWS, embedding_of, in_blocks, one_thread, over_vocabulary
from tasks.teach.yes_no import every_class


class Linear(Named):
    """Logistic regression with an L2 penalty on the standardised embedding."""

    kind: Literal["linear"] = "linear"
    revision: ClassVar[int] = 2
    paper: ClassVar[str] = "Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4"
    reads: ClassVar[Literal["images", "embedding", "nothing"]] = "embedding"
    memory: ClassVar[int | None] = 2**30
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label", "regression"})

    c: float = Field(
        1.0, gt=0, le=1e6, description="inverse strength of the L2 penalty: smaller follows noisy labels less"
    )
    max_iter: int = Field(1000, ge=1, le=100_000, description="most L-BFGS steps")

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Weights of the classes present; `device` is not used. See Teacher.fit.

        State: coef float64 (p, e), intercept float64 (p,), classes int64 (p,), mean and scale float32 (e,).
        Of other tasks than single_label, in `info`, also the task.
        """
        if not len(train):
            raise BadTraining("teach.teachers: linear has no labelled rows to learn from; ingest some first")
        embedding = embedding_of(train, self.kind)
        with one_thread():
            mean, scale, x = _standardised(embedding)
            if train.given is not None and train.given.ndim == 1:
                return self._of_numbers(train.given, mean, scale, x)
            if train.given is not None:
                return self._of_sets(train.given[:, :n_classes], mean, scale, x)
            classes, labels = np.unique(train.labels, return_inverse=True)
            coef, intercept, iterations = np.zeros((1, embedding.shape[1])), np.zeros(1), 0
            if len(classes) > 1:
                from tasks.teach import softmax

                # Of two classes scikit-learn penalises the difference of the weights: half as much as both.
                penalty = (2 if len(classes) == 2 else 1) / (self.c * len(train))
                first = _restated(start.state, mean, scale, classes) if start else None
                found = softmax.fit(x, labels, len(classes), penalty, self.max_iter, first)
                coef, intercept, iterations = found
        arrays = {"mean": mean, "scale": scale, "coef": coef, "intercept": intercept}
        return State(arrays | {"classes": classes.astype(np.int64)}, {"iterations": iterations})

    def _of_sets(self, given: np.ndarray, mean: np.ndarray, scale: np.ndarray, x: np.ndarray) -> State:
        from tasks.teach import one_vs_rest

        coef, intercept, iterations = one_vs_rest.fit(x, given, self.c, self.max_iter)
        arrays = {"mean": mean, "scale": scale, "coef": coef, "intercept": intercept}
        arrays |= {"classes": np.arange(given.shape[1], dtype=np.int64)}
        return State(arrays, {"iterations": iterations, "task": "multi_label"})

    def _of_numbers(self, given: np.ndarray, mean: np.ndarray, scale: np.ndarray, x: np.ndarray) -> State:
        from tasks.teach import ridge

        weights, intercept = ridge.fit(x, given, 1 / self.c)
        arrays = {"mean": mean, "scale": scale, "coef": weights[None], "intercept": np.array([intercept])}
        return State(arrays | {"classes": np.zeros(1, np.int64)}, {"task": "regression"})

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (1, n, n_classes); classes never seen get 1e-6 before rows are summed to 1 again. Of
        multi_label, log-odds; those of a class never seen are of 1e-6. Of regression, float64 (1, n, 1)."""
        a = state.arrays
        coef = np.ascontiguousarray(a["coef"].T)

        def logits_of(embedding: np.ndarray) -> np.ndarray:
            rows = ((embedding - a["mean"]) / a["scale"]).astype(np.float64)
            return np.asarray(rows @ coef + a["intercept"])

        def judge(embedding: np.ndarray) -> np.ndarray:
            logits = logits_of(embedding)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            return np.asarray(odds / odds.sum(axis=1, keepdims=True))

        task = state.info.get("task")
        with one_thread():
            embedding = embedding_of(examples, self.kind)
            found = in_blocks(logits_of if task else judge, embedding, len(a["classes"]))
        if task == "regression":
            return found[None]
        if task == "multi_label":
            return every_class(found, n_classes)[None]
        return over_vocabulary(found, a["classes"], n_classes)[None]


def _standardised(embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation (e,), 1 for a constant feature, and the rows without them (n, e), all float32."""
    mean = embedding.mean(axis=0, dtype=np.float64).astype(np.float32)
    x, squares = embedding - mean, np.zeros(len(mean))
    for start in range(0, len(x), BLOCK_ROWS):
        block = x[start : start + BLOCK_ROWS].astype(np.float64)
        squares += np.einsum("ij,ij->j", block, block)
    deviation = np.sqrt(squares / len(x)).astype(np.float32)
    scale = np.where(deviation > 0, deviation, np.float32(1))
    x /= scale
    return mean, scale, x


def _restated(
    start: State, mean: np.ndarray, scale: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Earlier weights (p, e) and intercepts (p,) for embeddings standardised by another mean and scale.

    The logits stay what they were; a class that the earlier solution did not know starts at zero.
    """
    a = start.arrays
    _, known, old = np.intersect1d(classes, a["classes"], return_indices=True)
    coef, intercept = np.zeros((len(classes), len(mean))), np.zeros(len(classes))
    coef[known] = a["coef"][old] * (scale / a["scale"])
    intercept[known] = a["intercept"][old] + a["coef"][old] @ ((mean - a["mean"]) / a["scale"])
    return coef, intercept
