"""Reinforce: stored views of every row with the teachers' opinion on each.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023. A view is stored as the numbers that
redraw it, never as pixels. It is drawn in two steps: from its row alone (`replay`), and then, where
a reinforcer mixes, with another view that was drawn so (`mix`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.method import Method, third_party

Transforms = dict[str, np.ndarray]
"""Some of the fields of the `transform` column of `reinforcements` (see docs/storage.md), each (m,) in the
column's type, m = views."""

NO_PARTNER = -1
"""The `partner_draw` of a view that is not mixed."""


@dataclass(frozen=True)
class Adapted:
    """What is stored of the views: m views, all draws of a row next to each other.

    keep: (m,) bool, at least one a row. targets: (m, n_classes) float32, rows sum to 1. transforms:
    those of the m views. regions: (m,) int8 index into REGIONS, or None from a reinforcer that does not
    grade views.
    """

    keep: np.ndarray
    targets: np.ndarray
    transforms: Transforms
    regions: np.ndarray | None = None


REGIONS: tuple[str, ...] = ("hard", "uncertain", "confident")
"""How sure the teachers are of a view; what the column `region` says."""


class Reinforcer(Method, ABC):
    """Draws views of a row and redraws them bit for bit."""

    reads: ClassVar[Literal["images", "features"]]
    adapts: ClassVar[bool] = False
    """Whether what is stored depends on the decided labels."""
    draws: int

    @property
    def mixes(self) -> bool:
        """Whether views take in views of other rows: of the partner that the column `partner` names."""
        return False

    @abstractmethod
    def sample(self, keys: np.ndarray, shape: tuple[int, ...], seed: int) -> Transforms:
        """Parameters for `draws` views of each row, row by row: keys (n,) uint64 -> (n * draws,).

        `shape` is that of one image or feature row. A view's numbers depend on its row's key, its
        draw number and the seed alone. `partner_draw` says which draw of the partner is mixed in,
        NO_PARTNER none.
        """

    @abstractmethod
    def replay(self, payload: np.ndarray, transforms: Transforms) -> np.ndarray:
        """The views before any mixing: payload (m, h, w, c) uint8 or (m, d) float32, one row a view
        (repeat rows before calling) -> same shape and dtype. Bit-identical whatever the batch and thread
        count."""

    def mix(self, views: np.ndarray, others: np.ndarray, transforms: Transforms) -> np.ndarray:
        """What comes of views and their partners, both as `replay` gives them, shape (m, …)."""
        return views

    def adapt(
        self,
        pred_probs: np.ndarray,
        labels: np.ndarray,
        flagged: np.ndarray,
        transforms: Transforms,
        shape: tuple[int, ...],
    ) -> Adapted:
        """What to keep once the teachers were asked; a row's outcome depends on no other row.

        pred_probs: (n * draws, n_classes) float, rows sum to 1. labels: (n,) int32 decided labels, -1
        for none. flagged: (n,) bool, rows whose label nobody vouches for. transforms, shape: see sample.
        """
        return Adapted(np.ones(len(pred_probs), bool), pred_probs, transforms)


from tasks.reinforce.crops import Crops  # noqa: E402
from tasks.reinforce.ferkd import FerKD  # noqa: E402
from tasks.reinforce.jitter import Jitter  # noqa: E402
from tasks.reinforce.reinforce import DatasetReinforcement  # noqa: E402

AnyReinforcer = Annotated[
    Annotated[Crops | DatasetReinforcement | FerKD | Jitter, Field(discriminator="kind")],
    third_party(Reinforcer),
]
