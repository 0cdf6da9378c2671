"""Multinomial logistic regression on the embedding: the teacher to beat.

Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4, with an L2 penalty, solved by
L-BFGS (Liu & Nocedal, Mathematical Programming 1989) as scikit-learn runs it. The problem is
convex: the answer depends on the rows alone and the seed is not used. The embedding is first
standardised by the training rows' mean and deviation, so that the penalty means the same
whatever the encoder's units. Assumes that the encoder has made the classes nearly linearly
separable; on raw pixels it is a baseline. Started from an earlier solution, L-BFGS takes fewer steps
to the same minimum, within its tolerance. Cost: O(max_iter n e k), about 50 ms an iteration for
60,000 rows of 512 numbers and 10 classes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.teach import BadTraining, Start, Teacher
from tasks.teach.rowwise import embedding_of, in_blocks, one_thread, over_vocabulary


class Linear(Teacher):
    """Logistic regression with an L2 penalty on the standardised embedding."""

    kind: Literal["linear"] = "linear"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4"
    reads: ClassVar[Literal["images", "embedding", "nothing"]] = "embedding"
    memory: ClassVar[int | None] = 2**30

    c: float = Field(
        1.0, gt=0, le=1e6, description="inverse strength of the L2 penalty: smaller follows noisy labels less"
    )
    max_iter: int = Field(1000, ge=1, le=100_000, description="most L-BFGS iterations")

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Weights of the classes present; `device` is not used. See Teacher.fit.

        State: coef float64 (p, e), intercept float64 (p,), classes int64 (p,), mean and scale float32 (e,).
        """
        if not len(train):
            raise BadTraining("teach.teachers: linear has no labelled rows to learn from; ingest some first")
        embedding = embedding_of(train, self.kind)
        mean = embedding.mean(axis=0, dtype=np.float64)
        deviation = embedding.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 0, deviation, 1.0)
        arrays = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
        classes = np.unique(train.labels).astype(np.int64)
        coef, intercept, iterations = np.zeros((1, embedding.shape[1])), np.zeros(1), 0
        if len(classes) > 1:
            x = (embedding - arrays["mean"]) / arrays["scale"]
            first = _restated(start.state, arrays["mean"], arrays["scale"], classes) if start else None
            coef, intercept, iterations = self._solve(x, train.labels, first)
        arrays |= {"coef": coef, "intercept": intercept, "classes": classes}
        return State(arrays, {"iterations": iterations})

    def _solve(
        self, x: np.ndarray, labels: np.ndarray, first: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray, int]:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.c, max_iter=self.max_iter, warm_start=first is not None)
        if first is not None:
            coef, intercept = first
            if len(coef) == 2:  # of two classes scikit-learn keeps the second one's logit only
                coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
            model.coef_, model.intercept_ = coef, intercept
        with one_thread():
            model.fit(x, labels)
        # safetensors stores memory as it lies: the solver's column-major weights would come back shuffled.
        coef, intercept = model.coef_.astype(np.float64, order="C"), model.intercept_.astype(np.float64)
        if len(coef) == 1:
            coef, intercept = np.vstack([0 * coef, coef]), np.concatenate([[0.0], intercept])
        return coef, intercept, int(model.n_iter_.max())

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (1, n, n_classes); classes never seen get 1e-6 before rows are summed to 1 again."""
        a = state.arrays
        coef = np.ascontiguousarray(a["coef"].T)

        def judge(embedding: np.ndarray) -> np.ndarray:
            logits = ((embedding - a["mean"]) / a["scale"]).astype(np.float64) @ coef + a["intercept"]
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            return np.asarray(odds / odds.sum(axis=1, keepdims=True))

        with one_thread():
            probs = in_blocks(judge, embedding_of(examples, self.kind), len(a["classes"]))
        return over_vocabulary(probs, a["classes"], n_classes)[None]


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
