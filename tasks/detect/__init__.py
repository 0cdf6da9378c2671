"""Detect: which given labels are probably wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

from tasks.data import Issues, SoftLabels, State
from tasks.method import Method, third_party


class Detector(Method, ABC):
    """Judges given labels by the ensemble's soft labels.

    `fit` sees the whole window (rows without a label included; skip them), so that a small
    partition is judged with the statistics of the whole data set; `apply` judges one shard.
    """

    @abstractmethod
    def fit(self, shards: Iterable[SoftLabels]) -> State:
        """What apply needs to know of the window. Legal inputs: no rows, one class, absent classes."""

    @abstractmethod
    def apply(self, shard: SoftLabels, state: State) -> Issues:
        """One finding a row, in order. A row without a given label: score 1, p_error 0, not an issue,
        the most likely class as suggestion."""


from tasks.detect.confident_learning import ConfidentLearning  # noqa: E402

AnyDetector = Annotated[ConfidentLearning, third_party(Detector)]
