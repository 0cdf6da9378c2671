"""What the people who labelled a row together say of it, each by what they are worth.

Dawid & Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied
Statistics 28 (1979); see `tasks.teach.dawid_skene`. What is learned is the classes' shares and one
confusion matrix a person, from the labels that they gave, and from nothing else: an annotator's quality
is a property of the whole window. A row is then judged by its own annotations, each weighed by its
annotator's matrix, which other folds' rows decided. Whoever is not in them counts as the crowd does.

Assumes that people err independently given the class. They do not on rows that are hard for everyone, so
the posterior is surer than it is right. It never looks at the row: teachers that do belong beside it.
Cost: O(labels k) a step of EM, seconds for a million labels; M k^2 numbers of state for M annotators.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Annotations, Examples, State
from tasks.teach import BadTraining, Start, Teacher
from tasks.teach.dawid_skene import Crowd, accuracy, fit, posterior_of
from tasks.teach.votes import names_in, votes_of


class Annotators(Teacher):
    """The posterior of each row's class given who said what."""

    kind: Literal["annotators"] = "annotators"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = (
        "Dawid & Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, 1979"
    )
    reads: ClassVar[Literal["images", "embedding", "annotations", "nothing"]] = "annotations"
    tempered: ClassVar[bool] = False
    memory: ClassVar[int | None] = 2**30

    method: Literal["dawid_skene"] = Field("dawid_skene", description="how annotators are weighed")
    smoothing: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="imaginary labels for each class and annotator, spread as the whole crowd's are; "
        "0 is the paper's method",
    )

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Run EM; neither `seed` nor `device` is used, and it starts afresh. See Teacher.fit.

        State: prior float64 (k,), confusion float64 (M + 1, k, k), the last of an annotator that nobody
        knows; quality float64 (M,), how often each is right; labels int64 (M,), how many each gave; info
        `annotators`, their names in order, and `steps`.
        """
        said = annotations_of(train, self.kind)
        names = names_in(said)
        votes = votes_of(said, names, n_classes)
        if not len(votes):
            raise BadTraining(
                f"teach.teachers: {self.kind} finds no row that people labelled; "
                "map annotators or annotations of the source, or leave the teacher out"
            )
        crowd = fit(votes, len(names), n_classes, self.smoothing)
        arrays = {
            "prior": crowd.prior,
            "confusion": crowd.confusion,
            "quality": accuracy(crowd)[:-1],
            "labels": np.bincount(votes.annotator, minlength=len(names)),
        }
        return State(arrays, {"annotators": names, "steps": len(crowd.evidence)})

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (1, n, n_classes). A row that nobody labelled has the classes' shares; labels of a class
        that the window of the fit did not have say nothing."""
        from tasks.teach.rowwise import over_vocabulary

        prior, confusion = state.arrays["prior"], state.arrays["confusion"]
        said = annotations_of(examples, self.kind)
        votes = votes_of(said, state.info["annotators"], len(prior))
        judged = posterior_of(votes, Crowd(prior, confusion, ()))
        return over_vocabulary(judged, np.arange(len(prior)), n_classes)[None]


def annotations_of(examples: Examples, kind: str) -> Annotations:
    """What people said of the rows. Raises BadTraining where that was not read."""
    if examples.annotations is None:
        raise BadTraining(
            f"teach.teachers: {kind} reads annotations, and these rows come without; "
            "map annotators or annotations of the source"
        )
    return examples.annotations
