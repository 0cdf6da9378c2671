"""Distill: a few examples a class that teach what the whole set teaches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.data import Examples, State
from tasks.distill.projector import Projector
from tasks.method import Method, third_party

Ask = Callable[[Examples], np.ndarray]
"""The teachers' opinion: examples (m) that carry the `keys` of the rows they were made from -> log
probabilities (m, n_classes) float32 of the curation's ensemble, by teachers that never saw that row's
fold. Examples with new images or features leave `embedding` None: they are encoded again."""

Read = Literal["images", "embedding", "features", "dynamics"]


@dataclass(frozen=True)
class Distilled:
    """Examples of one class. origins: for each example the row numbers, in the input, that it comes
    from, the first of them the one whose fold's teachers are asked. Synthetic examples are in `images`
    (m, h, w, c) uint8 or `features` (m, d) float32; a selection leaves both None and the stage copies the
    payload of each example's first origin. tiles: an image is a mosaic of tiles x tiles examples
    (`tasks.distill.mosaic` decodes it)."""

    origins: list[list[int]]
    images: np.ndarray | None = None
    features: np.ndarray | None = None
    tiles: int = 1


class Maker(Method, ABC):
    """What makes a small set: class by class (`Distiller`) or of all classes together (`Joint`).

    `reads` names what it looks at besides ids, content keys and labels; `asks` says whether it asks the
    teachers. What it makes may depend on that, on its parameters and the seed, and on nothing else.
    """

    reads: ClassVar[frozenset[Read]]
    asks: ClassVar[bool] = False

    per_class: int
    labels: Literal["hard", "soft", "static"] = Field(
        "hard",
        description="soft: the teachers' probabilities of each example, stored beside it",
    )
    projector: Projector | None = Field(
        None, description="a small network kept beside the set, which gives the teachers' labels of any view"
    )


class Distiller(Maker):
    """Makes the small set of one class. Classes are independent, so they run in parallel and only
    those whose rows changed are done again."""

    @abstractmethod
    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """At most `per_class` examples of one class, in selection order (a prefix is a valid smaller
        set). `examples` holds that class's rows only, under their decided labels, at least one, in a
        fixed order; of their payloads those that the method reads."""

    @model_validator(mode="after")
    def _has_no_networks(self) -> Self:
        if self.labels == "static":
            raise ValueError(
                f"{self.kind} trains no networks that static labels could be of; set labels: soft"
            )
        return self


class Joint(Maker):
    """Makes the small sets of all classes at once, because it looks at them through networks trained on
    all: one changed row changes every class. `rows` bounds what it learns from."""

    labels: Literal["hard", "soft", "static"] = Field(
        "static",
        description="static: probabilities by the networks that it trained, stored beside each example; "
        "soft: by the teachers",
    )
    rows: int = Field(
        50_000, ge=1, description="rows learned from, at most: an equal share of each class, drawn by content"
    )

    @abstractmethod
    def fit(self, examples: Examples, seed: int, device: str) -> State:
        """The networks and what was made with them. `examples` holds rows of every class that has one,
        under their decided labels, in a fixed order; of their payloads those that the method reads."""

    @abstractmethod
    def cut(self, state: State, label: int) -> Distilled:
        """What is of one class, which had a row. Origins are numbers of the rows that `fit` was given; an
        example that is of no row has none."""

    @abstractmethod
    def opinion(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """What the networks say, the static label of any examples: log-probabilities float32
        (n, n_classes), each row by itself."""


from tasks.distill.compensator import Compensator  # noqa: E402
from tasks.distill.facility_location import FacilityLocation  # noqa: E402
from tasks.distill.hardness import Hardness  # noqa: E402
from tasks.distill.herding import Herding  # noqa: E402
from tasks.distill.k_center import KCenter  # noqa: E402
from tasks.distill.matching import Matching  # noqa: E402
from tasks.distill.patches import Patches  # noqa: E402
from tasks.distill.random import Random  # noqa: E402
from tasks.distill.statistics import Statistics  # noqa: E402

AnyDistiller = Annotated[
    Annotated[
        Random
        | Herding
        | KCenter
        | FacilityLocation
        | Hardness
        | Matching
        | Patches
        | Statistics
        | Compensator,
        Field(discriminator="kind"),
    ],
    third_party(Maker),
]
