"""Dataset reinforcement: the paper's own choice of augmentations, mixing included.

Faghri et al., "Reinforce Data, Multiply Impact: Improved Model Accuracy and Robustness with Dataset
Reinforcement", ICCV 2023, section 3: random resized crop, flip, RandAugment, random erasing (Zhong et
al., AAAI 2020: set to black, with chance 0.25), then mixup and cutmix, each with chance 0.5 and always
in this order. What is stored is what redraws a view: a box, a flip, two operations with their
magnitudes, an erased box, and the partner with its weight and box. The target is the teachers'
opinion on the view as it is, mixed or not, so no lambda enters it.

The partner's view is the same-numbered draw of a row of the same partition, fold and split, before
it is mixed itself: the teacher that is asked has seen neither row, and no test row is mixed into a
training row. A view whose partner is gone cannot be redrawn and is left out.
Where the paper's code halves lambda, so that the own side weighs at most 0.5, it weighs at
least 0.5 here, as the paper means it: a view belongs to its row.

Cost: sampling O(rows * draws); replay about 25 microseconds a 28 x 28 view, twice that where it is mixed.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.reinforce import NO_PARTNER, Transforms, mixing, randaugment
from tasks.reinforce.cropping import Cropping, Numbers, Share, placed

ERASED_SCALE, ERASED_RATIO = (0.02, 0.33), (1 / 3.3, 1 / 0.3)
"""Share of the area and width / height of what is erased, as in Zhong et al."""
BLACK = np.zeros((1, 1, 1, 1), np.uint8)


class DatasetReinforcement(Cropping):
    """Random resized crops with RandAugment, random erasing, mixup and cutmix."""

    kind: Literal["reinforce"] = "reinforce"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023"

    scale: tuple[Share, Share] = Field(
        (0.08, 1.0),
        description="smallest and largest share of the image's area in a crop; the paper's, for photographs "
        "of 224 pixels: of 28 x 28 pixels take half the area or more",
    )
    operations: int = Field(2, ge=0, le=2, description="RandAugment's operations a view")
    magnitude: int = Field(9, ge=0, le=30, description="RandAugment's magnitude, of 30")
    erase: float = Field(0.25, ge=0, le=1, description="chance that a box of the view is made black")
    mixup: float = Field(0.5, ge=0, le=1, description="chance of a weighted mean with a partner's view")
    cutmix: float = Field(0.5, ge=0, le=1, description="chance that a box of a partner's view is pasted in")

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def further(self, number: Numbers, shape: tuple[int, ...]) -> Transforms:
        found: Transforms = {}
        levels = randaugment.magnitudes(self.magnitude, *shape[:2])
        for i in range(1, self.operations + 1):
            operation = np.floor(number(f"op_{i}") * len(levels)).astype(np.int16)
            negative = (number(f"sign_{i}") < 0.5) & randaugment.SIGNED[operation]
            found[f"op_{i}"] = operation
            found[f"magnitude_{i}"] = np.where(negative, -levels[operation], levels[operation])
        if self.erase:
            spared = number("erase") >= self.erase
            box = placed(number, "erase_", ERASED_SCALE, ERASED_RATIO, shape)
            found |= {name: np.where(spared, 0, pixels).astype(np.int16) for name, pixels in box.items()}
        return {**found, **self._mixing(number, shape)} if self.mixes else found

    def _mixing(self, number: Numbers, shape: tuple[int, ...]) -> Transforms:
        blends, pastes = number("mixup") < self.mixup, number("cutmix") < self.cutmix
        box = mixing.boxes(map(number, ("paste_area", "paste_line", "paste_column")), shape)
        own_draw = np.arange(len(blends), dtype=np.int16) % self.draws
        return {
            "partner_draw": np.where(blends | pastes, own_draw, NO_PARTNER).astype(np.int16),
            "own_weight": np.where(blends, mixing.own_weights(number("own")), mixing.ONE).astype(np.int16),
            **{name: np.where(pastes, pixels, 0).astype(np.int16) for name, pixels in box.items()},
        }

    def redraw(self, views: np.ndarray, transforms: Transforms) -> np.ndarray:
        for i in range(1, self.operations + 1):
            views = randaugment.apply(views, transforms[f"op_{i}"], transforms[f"magnitude_{i}"])
        return mixing.pasted(views, BLACK, transforms, "erase") if self.erase else views

    def mix(self, views: np.ndarray, others: np.ndarray, transforms: Transforms) -> np.ndarray:
        """mixup, then cutmix with the same partner: (m, h, w, c) uint8, twice."""
        return mixing.mixed_in(views, others, transforms)
