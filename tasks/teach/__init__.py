"""Teach: soft labels for every row from teachers that never saw it.

The stage deals rows into K folds by their content; for fold f a teacher learns from the rows of
every other fold in the window and judges the rows of f. What it says is calibrated by a
temperature (see `temperature`) and averaged over teachers as probabilities (see `ensemble`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.errors import StageFailed
from tasks.method import Method, third_party


class BadTraining(StageFailed):
    """A teacher cannot learn from what it was given. One sentence that says what to do."""


@dataclass(frozen=True)
class Start:
    """Where a warm training begins. state: of the same teacher, from an earlier window. new: the share
    of the rows to learn from that came after that window, in 0..1."""

    state: State
    new: float


class Teacher(Method, ABC):
    """Learns from labelled rows and gives class probabilities for others.

    `reads` names what it looks at. A teacher with `cross_fitted = False` is not trained here
    (`precomputed`): its `fit` is never called and its state is empty.
    """

    reads: ClassVar[Literal["images", "embedding", "nothing"]]
    cross_fitted: ClassVar[bool] = True

    def names(self) -> tuple[str, ...]:
        """What the `teacher` column says, one name an opinion."""
        return (self.kind,)

    @abstractmethod
    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Learn from `train` (every label in 0..n_classes-1). Depends on its arguments alone: one thread.

        Classes absent from `train` get a probability near zero, never an error; a single class
        present is a legal training set. With `start` it may go on from what was learned before, which may
        know other classes, in less time; a teacher is free to ignore it. Raises BadTraining.
        """

    @abstractmethod
    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Log-probabilities, float32 (len(self.names()), n, n_classes), finite. Row-wise: a row's
        answer does not depend on the other rows. `n_classes` may have grown since the fit."""


from tasks.teach.convnet import Convnet  # noqa: E402
from tasks.teach.linear import Linear  # noqa: E402
from tasks.teach.precomputed import Precomputed  # noqa: E402
from tasks.teach.sklearn import Sklearn  # noqa: E402

AnyTeacher = Annotated[
    Annotated[Linear | Convnet | Precomputed | Sklearn, Field(discriminator="kind")], third_party(Teacher)
]
