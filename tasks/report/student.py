"""The fixed small student: what are these labels worth to a model that trains on them?

Two students that differ in nothing but their labels, given and curated, learn from the same rows
for the same number of steps and are judged on rows that neither saw. The student is a two-layer
perceptron (ReLU, AdamW, cross-entropy with soft targets) of fixed size, run to its last step: no
early stopping, no best checkpoint and no regularisation, because each of them would hide wrong
labels, and the point is to feel them. Networks of this size memorise wrong labels given time (Arpit
et al., "A Closer Look at Memorization in Deep Networks", ICML 2017), so `steps` is what makes the
measure sensitive.

On scikit-learn's digits with 8% of the labels flipped, the defaults lose over 3 points to the noise
(`tests/tasks/report/test_student.py`). Assumes nothing of the rows but vectors. It costs
O(steps * batch * inputs * width) whatever the number of rows. Caveat: the teachers
behind the curated labels saw the held-out rows with their given labels, never with their truth.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.method import Method
from tasks.seeds import seed_of, uniform

HELD_OUT_SHARE = 0.2


def held_out(keys: np.ndarray) -> np.ndarray:
    """Which rows no student trains on: (n,) uint64 content keys -> (n,) bool, one in five.

    From the content alone, so equal rows are on one side and a row never changes sides.
    """
    return uniform(keys, seed_of("student", "held_out")) < HELD_OUT_SHARE


def vectors(examples: Examples) -> np.ndarray | None:
    """What the student reads: the embedding, else the features, else flat pixels, (n, d); else None."""
    if examples.embedding is not None:
        return examples.embedding
    if examples.features is not None:
        return examples.features
    return None if examples.images is None else examples.images.reshape(len(examples), -1)


class Student(Method):
    """Measures labels by the held-out accuracy of a small perceptron trained on them; sets of classes by its
    macro F1, learned with a binary cross-entropy a class."""

    kind: Literal["student"] = "student"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Arpit et al., A Closer Look at Memorization in Deep Networks, ICML 2017"

    seeds: int = Field(3, ge=1, le=20, description="students an arm; each starts from other weights")
    steps: int = Field(1000, ge=1, le=100_000, description="AdamW steps, the same for every arm")
    width: int = Field(128, ge=1, le=4096, description="hidden units")
    batch: int = Field(128, ge=1, le=65_536, description="rows a step, drawn with replacement")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="AdamW's, constant over the steps")

    def accuracy(
        self,
        train: Examples,
        targets: np.ndarray,
        test: Examples,
        test_labels: np.ndarray,
        n_classes: int,
        seed: int,
        device: str,
    ) -> float:
        """Accuracy of the last step's student on the test rows that have a label (>= 0).

        targets: (n, n_classes) float32, each row a distribution over classes, one-hot or soft.
        test_labels: (m,) int. NaN when there is nothing to train on or to judge by. Depends on its
        arguments alone, given one Torch thread. Raises ValueError for rows without vectors.
        """
        from tasks.report.perceptron import fit, predict

        inputs, test_inputs = both_vectors(train, test)
        known = test_labels >= 0
        if not len(inputs) or not known.any():
            return float("nan")
        model = fit(inputs, targets, **self._settings(), seed=seed, device=device)
        return float((predict(model, test_inputs[known]) == test_labels[known]).mean())

    def f1(
        self, train: Examples, targets: np.ndarray, test: Examples, sets: np.ndarray, seed: int, device: str
    ) -> float:
        """Macro F1 of the last step's student on the test rows that have sets, (m, k) int8 as in Examples.

        targets: (n, k) float32, the probability of each class, 0 or 1 or soft. Otherwise as `accuracy`.
        """
        from tasks.report.perceptron import fit, predict_sets
        from tasks.report.sets import f1_macro

        inputs, test_inputs = both_vectors(train, test)
        known = (sets >= 0).any(axis=1)
        if not len(inputs) or not known.any():
            return float("nan")
        model = fit(inputs, targets, **self._settings(), seed=seed, device=device, independent=True)
        return f1_macro(predict_sets(model, test_inputs[known]), sets[known])

    def _settings(self) -> dict[str, Any]:
        return self.model_dump(exclude={"kind", "seeds"})


def both_vectors(train: Examples, test: Examples) -> tuple[np.ndarray, np.ndarray]:
    """What the student learns from and what it is tested on. Raises ValueError for rows without vectors."""
    inputs, test_inputs = vectors(train), vectors(test)
    if inputs is None or test_inputs is None:
        raise ValueError("the student has no vectors to read; give the curation an encoder")
    return inputs, test_inputs
