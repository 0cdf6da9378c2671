"""The soft label of a row: the mean of what its teachers say.

Shen & Savvides, "MEAL V2", arXiv 2009.08453, section 3.1: the target is the mean of the teachers'
softmax outputs. Probabilities are averaged, not logits: the mean of logits lets the most confident
teacher decide, and two teachers that are sure of different classes would not come out as one half
each. Assumes that all teachers share the class vocabulary and that each is calibrated
(see `temperature`), and gives the worst teacher as much say as the best. Where teachers predict numbers, it
is their mean. Cost: O(m n k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tasks.data import State
from tasks.method import Task
from tasks.noise_matrix import mixture
from tasks.teach import Ensemble


class Mean(Ensemble):
    """Every teacher has the same say."""

    kind: Literal["mean"] = "mean"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Shen & Savvides, MEAL V2, arXiv 2009.08453, section 3.1"
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label", "regression"})

    def apply(self, names: Sequence[str], log_probs: np.ndarray, state: State) -> np.ndarray:
        """The mean of the probabilities; `state` is not used."""
        m = len(log_probs)
        return mixture(log_probs, np.full(m, 1 / m), 1.0).astype(np.float32)

    def together(self, names: Sequence[str], values: np.ndarray) -> np.ndarray:
        """The mean of the values, summed in the teachers' order."""
        return np.asarray(np.add.accumulate(values, axis=0)[-1] / len(values))
