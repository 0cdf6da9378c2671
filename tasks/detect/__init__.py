"""Detect: which given labels are probably wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Issues, Labelled, State
from tasks.method import Method, Task, third_party


@dataclass(frozen=True)
class Window:
    """The rows that statistics are taken from, the partition under judgement last, in runs that fit memory.

    Iterating reads them anew each time, in the same order: a method that needs two passes makes two.
    people: reads those of them that people decided on, with `decided`; may be no row. task: what rows are
    given.
    """

    n_classes: int
    read: Callable[[], Iterator[Labelled]]
    people: Callable[[], Labelled]
    task: Task = "single_label"

    def __iter__(self) -> Iterator[Labelled]:
        return self.read()

    @classmethod
    def of(cls, *shards: Labelled, people: Labelled | None = None) -> Window:
        """A window that is in memory already, of at least one shard."""
        first = shards[0]
        none = replace(first.take(np.arange(0)), decided=np.zeros(0, np.int32))
        task: Task = "single_label"
        if first.given is not None:
            task = "multi_label" if first.given.ndim == 2 else "regression"
        return cls(
            first.soft.n_classes, lambda: iter(shards), lambda: none if people is None else people, task
        )


class Detector(Method, ABC):
    """Judges given labels.

    `reads` names what it looks at besides the given and the soft labels. A detector that `combines`
    gets the findings of the others, and relabelling listens to it alone.
    """

    reads: ClassVar[frozenset[Literal["opinions", "embedding", "dynamics", "annotations"]]] = frozenset()
    combines: ClassVar[bool] = False

    @abstractmethod
    def fit(self, window: Window) -> State:
        """What apply needs to know of the window, so that a small partition is judged with the statistics
        of the whole data set. Legal inputs: no rows, rows without a label (skip them), one class, absent
        classes."""

    @abstractmethod
    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """One finding a row, in order, whatever the other rows of the shard. A row without a given label:
        score 1, not an issue, p_error 0 or NaN. Of multi_label with what is doubted of flagged rows."""


from tasks.detect.combined import Combined  # noqa: E402
from tasks.detect.confident_learning import ConfidentLearning  # noqa: E402
from tasks.detect.crowdlab import Crowdlab  # noqa: E402
from tasks.detect.disagreement import Disagreement  # noqa: E402
from tasks.detect.influence import Influence  # noqa: E402
from tasks.detect.leak import Leak  # noqa: E402
from tasks.detect.near_duplicates import NearDuplicates  # noqa: E402
from tasks.detect.neighbours import Neighbours  # noqa: E402
from tasks.detect.outliers import Outliers  # noqa: E402
from tasks.detect.outre import Outre  # noqa: E402
from tasks.detect.residual import Residual  # noqa: E402
from tasks.detect.training_dynamics import TrainingDynamics  # noqa: E402

AnyDetector = Annotated[
    Annotated[
        ConfidentLearning
        | Combined
        | Crowdlab
        | Disagreement
        | Influence
        | Leak
        | NearDuplicates
        | Neighbours
        | Outliers
        | Outre
        | Residual
        | TrainingDynamics,
        Field(discriminator="kind"),
    ],
    third_party(Detector),
]
