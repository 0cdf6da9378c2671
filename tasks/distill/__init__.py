"""Distill: a few examples a class that teach what the whole set teaches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.method import Method, third_party


@dataclass(frozen=True)
class Distilled:
    """Examples of one class. origins: for each example the row numbers, in the input, that it comes
    from. Synthetic examples are in `images` (m, h, w, c) uint8 or `features` (m, d) float32; a
    selection leaves both None and the stage copies the payload of each example's first origin."""

    origins: list[list[int]]
    images: np.ndarray | None = None
    features: np.ndarray | None = None


class Distiller(Method, ABC):
    """Makes the small set of one class. Classes are independent, so they run in parallel and only
    those whose rows changed are done again."""

    reads: ClassVar[Literal["images", "embedding", "nothing"]]
    per_class: int

    @abstractmethod
    def distill(self, examples: Examples, seed: int, device: str) -> Distilled:
        """At most `per_class` examples of one class, in selection order (a prefix is a valid smaller
        set). `examples` holds that class's rows only, at least one, in a fixed order."""


from tasks.distill.herding import Herding  # noqa: E402
from tasks.distill.matching import Matching  # noqa: E402
from tasks.distill.random import Random  # noqa: E402

AnyDistiller = Annotated[
    Annotated[Random | Herding | Matching, Field(discriminator="kind")], third_party(Distiller)
]
