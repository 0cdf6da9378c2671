"""An expensive teacher asked about the rows that matter, a cheap one about the rest.

Baykal, Trinh, Iliopoulos, Menghani & Vee, "Robust Active Distillation", ICLR 2023; the mathematics is in
`tasks.teach.robust_sampling`. The cheap teacher is trained as any other. Of a partition, `budget` rows are
drawn by the margins of its calibrated answers, so that the guarantee holds whichever `wrong` rows of the
partition the expensive teacher gets wrong; their soft labels are the expensive teacher's, all others the
cheap one's.

The expensive teacher is another teacher that is not trained here: an oracle's file (`precomputed`), or
a third party's class that asks a service. It is asked row by row and only about rows that were drawn.

How many rows it gets wrong is `error` of the partition, where that is given. Else it is taken to be no
worse than the cheap one: the share of the partition's labelled rows on which the cheap teacher, out of
sample, disagrees with the given label, less the share of given labels that are wrong by confident
learning. People's decisions are not asked: each would change the draw, and with it what is paid for; who
has audited the expensive teacher gives `error`. The draw is by the rows' contents, so the same
partition draws the same rows.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from tasks.data import Examples, State
from tasks.seeds import seed_of
from tasks.teach import Start, Teacher
from tasks.teach.robust_sampling import draw, gains, inclusion, robust


class Budgeted(Teacher):
    """`budget` rows a partition from `expensive`, the others from `cheap`."""

    kind: Literal["budgeted"] = "budgeted"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Baykal et al., Robust Active Distillation, ICLR 2023"
    reads: ClassVar[Literal["images", "embedding", "annotations", "nothing"]] = "nothing"

    cheap: Teacher = Field(description="a teacher that is trained here, with its parameters")
    expensive: Teacher = Field(description="one that is not trained here, such as precomputed")
    budget: int = Field(ge=1, description="rows of a partition that the expensive teacher is asked about")
    error: float | None = Field(
        None, ge=0, lt=1, description="share that the expensive teacher gets wrong; measured when left out"
    )
    harm: Literal[1, 2] = Field(
        1, description="what a wrong label does: 1, no good; 2, as much harm as a right one does good"
    )

    @field_validator("cheap", "expensive", mode="before")
    @classmethod
    def _is_a_teacher(cls, value: Any) -> Any:
        from tasks.teach import teacher_of

        return teacher_of(value)

    @field_validator("cheap")
    @classmethod
    def _is_trained(cls, value: Teacher) -> Teacher:
        if not value.cross_fitted or isinstance(value, Budgeted):
            raise ValueError(f"cheap is {value.kind}, must be a teacher that is trained here, such as linear")
        return value

    @field_validator("expensive")
    @classmethod
    def _is_asked(cls, value: Teacher) -> Teacher:
        if value.cross_fitted or len(value.names()) != 1:
            raise ValueError(
                f"expensive is {value.kind}, must be one teacher not trained here, such as precomputed"
            )
        return value

    def names(self) -> tuple[str, ...]:
        """One opinion a row; `answered_by` says whose."""
        return (self.kind,)

    def answered_by(self, asked: np.ndarray) -> np.ndarray:
        """What the column `teacher` says of each row, (n,) object; asked: (n,) bool."""
        cheap, expensive = self.cheap.names()[0], self.expensive.names()[0]
        return np.where(asked, f"{self.kind}:{expensive}", f"{self.kind}:{cheap}").astype(object)

    def looks_at(self) -> frozenset[str]:
        return self.cheap.looks_at() | self.expensive.looks_at()

    def learner(self) -> Teacher:
        return self.cheap

    def identity(self) -> dict[str, Any]:
        """With the identities of both teachers in place of their parameters."""
        own = {"budget": self.budget, "error": self.error, "harm": self.harm, "revision": self.revision}
        both = {"cheap": self.cheap.identity(), "expensive": self.expensive.identity()}
        return {"kind": self.kind, **own, **both}

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Train the cheap teacher. See Teacher.fit."""
        return self.cheap.fit(train, n_classes, seed, device, start)

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """The cheap teacher's answers: by them it is decided which rows are worth asking about."""
        return self.cheap.predict(state, examples, n_classes, device)

    def chosen(
        self, log_probs: np.ndarray, keys: np.ndarray, error: float
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Which rows of a partition to ask about: places, ascending, at most `budget`; and why those.

        log_probs: float32 (n, k), the cheap teacher's, calibrated. keys: (n,) uint64. error: share of the
        partition that the expensive teacher gets wrong. Why: `wrong` (m), `support` (k*), `value`.
        """
        gain, wrong = gains(np.exp(log_probs)), int(np.rint(error * len(keys)))
        plan = robust(gain, wrong, float(self.harm))
        places = draw(inclusion(plan.p, gain, self.budget), keys, seed_of(self.kind, "draw"))
        return places, {"wrong": wrong, "support": plan.support, "value": plan.value}


def estimated_error(pred_probs: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows that a teacher gets wrong, from its out-of-sample probabilities and noisy labels.

    pred_probs: (n, k); labels: (n,) int, -1 for rows to leave out. What it disagrees with, less the noise
    that the confident joint finds (Northcutt et al., JAIR 2021, section 3.1). 0 where no row has a label.
    """
    known = labels >= 0
    if not known.any():
        return 0.0
    given, said = labels[known], pred_probs[known]
    disagrees = float((said.argmax(axis=1) != given).mean())
    return max(disagrees - label_noise(said, given), 0.0)


def label_noise(pred_probs: np.ndarray, labels: np.ndarray) -> float:
    """The share of the labels (n,) that are wrong, by the confident joint; 0 of a single class."""
    from cleanlab.count import estimate_joint

    present, own = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return 0.0
    among = pred_probs[:, present].astype(np.float64)
    among /= np.maximum(among.sum(axis=1, keepdims=True), 1e-12)
    return float(1 - np.trace(estimate_joint(own, among)))
