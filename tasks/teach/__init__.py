"""Teach: soft labels for every row from teachers that never saw it.

The stage deals rows into K folds by their content; for fold f a teacher learns from the rows of
every other fold in the window and judges the rows of f. What it says is calibrated by a
temperature (see `temperature`), and an ensemble makes one opinion of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, TypeAdapter

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
    """Learns from labelled rows and gives class probabilities for others: of multi_label, one a class that
    the class applies; of regression, a value.

    `reads` names what it looks at. A teacher with `cross_fitted = False` is not trained here
    (`precomputed`): its `fit` is never called and its state is empty. One that `records_dynamics` leaves
    in its state how each row was learned, as `tasks.teach.dynamics` says. One that is
    not `tempered` keeps its confidence: given labels cannot tell whether it is right.
    """

    reads: ClassVar[Literal["images", "embedding", "annotations", "nothing"]]
    cross_fitted: ClassVar[bool] = True
    records_dynamics: ClassVar[bool] = False
    tempered: ClassVar[bool] = True

    def names(self) -> tuple[str, ...]:
        """What the `teacher` column says, one name an opinion."""
        return (self.kind,)

    def looks_at(self) -> frozenset[str]:
        """All that it reads of a row, also by way of other teachers."""
        return frozenset({self.reads})

    def learner(self) -> Teacher:
        """Whose parameters decide what is learned: its own, or those of a teacher that it trains."""
        return self

    @abstractmethod
    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Learn from `train` (every label in 0..n_classes-1). Depends on its arguments alone: one thread.

        Classes absent from `train` get a probability near zero, never an error; a single class
        present is a legal training set. Of multi_label, `train.given` (n, k) has at least n_classes
        columns, of which the first are asked about. With `start` it may go on from what was learned before,
        which may know other classes, in less time; a teacher is free to ignore it. Raises BadTraining.
        """

    @abstractmethod
    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Log-probabilities, float32 (len(self.names()), n, n_classes), finite; of multi_label, log-odds; of
        regression, values, float64 (len(self.names()), n, 1). Row-wise: a row's answer does not depend on
        the other rows. `n_classes` may have grown since the fit. Of which task a row is, `state` must tell,
        or `examples.given`."""


class Named(Teacher, ABC):
    """A teacher of which a curation may have several, told apart by their names."""

    name: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]{0,59}$",
        exclude_if=lambda name: name is None,  # nothing that was made without one is made again
        description="what its opinion is called, where two teachers are of one kind; they start from "
        "different weights",
    )

    def names(self) -> tuple[str, ...]:
        return (self.name or self.kind,)


class Ensemble(Method, ABC):
    """Makes one opinion of several teachers'. One that is `fitted` learns from the window's labels first.

    Of multi_label it sees the answers of all rows, each as a row of two classes (`yes_no`); of regression,
    `together` is asked instead.
    """

    fitted: ClassVar[bool] = False

    def fit(self, names: Sequence[str], log_probs: np.ndarray, labels: np.ndarray) -> State:
        """Learn how to weigh the teachers `names` from rows with a label: log-probabilities float32
        (m, n, k) out of sample, labels (n,) int32 in 0..k-1; n may be 0."""
        return State({}, {})

    @abstractmethod
    def apply(self, names: Sequence[str], log_probs: np.ndarray, state: State) -> np.ndarray:
        """Probabilities, float32 (n, k), each row by itself. `names` are those of the teachers that were
        asked, (m, n, k): all that `fit` saw, or some of them."""

    def together(self, names: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Of regression: values (m, n) float64 -> one a row, float64 (n,)."""
        raise NotImplementedError(f"{self.kind} is for classes; leave regression out of its tasks")


from tasks.teach.annotators import Annotators  # noqa: E402
from tasks.teach.budgeted import Budgeted  # noqa: E402
from tasks.teach.convnet import Convnet  # noqa: E402
from tasks.teach.linear import Linear  # noqa: E402
from tasks.teach.mean import Mean  # noqa: E402
from tasks.teach.precomputed import Precomputed  # noqa: E402
from tasks.teach.sklearn import Sklearn  # noqa: E402
from tasks.teach.stacked import Stacked  # noqa: E402

AnyTeacher = Annotated[
    Annotated[Linear | Convnet | Precomputed | Sklearn | Annotators | Budgeted, Field(discriminator="kind")],
    third_party(Teacher),
]


def teacher_of(value: Any) -> Teacher:
    """A teacher from its parameters, as a curation spells them."""
    teacher: Teacher = TypeAdapter(AnyTeacher).validate_python(value)
    return teacher


AnyEnsemble = Annotated[
    Annotated[Mean | Stacked, Field(discriminator="kind")],
    third_party(Ensemble),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]
"""A name alone is short for the ensemble of that kind."""
