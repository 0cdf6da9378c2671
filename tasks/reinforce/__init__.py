"""Reinforce: stored views of every row with the teachers' opinion on each.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023. A view is stored as the numbers that
redraw it, never as pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.method import Method, third_party

Transforms = dict[str, np.ndarray]
"""Some of the fields of the `transform` column of `reinforcements` (see docs/storage.md), each (m,) in the
column's type, m = views."""


class Reinforcer(Method, ABC):
    """Draws views of a row and redraws them bit for bit."""

    reads: ClassVar[Literal["images", "features"]]
    draws: int

    @abstractmethod
    def sample(self, keys: np.ndarray, shape: tuple[int, ...], seed: int) -> Transforms:
        """Parameters for `draws` views of each row, row by row: keys (n,) uint64 -> (n * draws,).

        `shape` is that of one image or feature row. A view's numbers depend on its row's key, its
        draw number and the seed alone.
        """

    @abstractmethod
    def replay(self, payload: np.ndarray, transforms: Transforms) -> np.ndarray:
        """The views: payload (m, h, w, c) uint8 or (m, d) float32, one row a view (repeat rows before
        calling) -> same shape and dtype. Bit-identical whatever the batch and thread count."""


from tasks.reinforce.crops import Crops  # noqa: E402
from tasks.reinforce.jitter import Jitter  # noqa: E402

AnyReinforcer = Annotated[Annotated[Crops | Jitter, Field(discriminator="kind")], third_party(Reinforcer)]
