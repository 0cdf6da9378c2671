"""Crops: random resized crops with optional flip and colour, stored as eight numbers a view.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023: pay for augmentation and teacher
once, keep the numbers that redraw each view and the teacher's opinion on it. This is the paper's
crop-and-flip variant with brightness and contrast; storing pixels instead would cost 784 bytes a
view at 28 x 28 where these numbers take about 20.

Cost: sampling O(rows * draws); replay about 20 microseconds a 28 x 28 view.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.reinforce import Transforms, raster
from tasks.reinforce.cropping import Cropping, Numbers


class Crops(Cropping):
    """Random resized crops of images, with flip, brightness, contrast and saturation."""

    kind: Literal["crops"] = "crops"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023"

    brightness: float = Field(0.2, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(0.2, ge=0, le=1, description="largest relative change of contrast")
    saturation: float = Field(0.0, ge=0, le=1, description="the same for saturation; colour images only")

    def further(self, number: Numbers, shape: tuple[int, ...]) -> Transforms:
        def factor(name: str, strength: float) -> np.ndarray:
            return (1 + strength * (2 * number(name) - 1)).astype(np.float32)

        strengths = {"brightness": self.brightness, "contrast": self.contrast}
        if shape[2] != 1:
            strengths["saturation"] = self.saturation
        return {name: factor(name, strength) for name, strength in strengths.items()}

    def redraw(self, views: np.ndarray, transforms: Transforms) -> np.ndarray:
        views = raster.contrast(raster.brightness(views, transforms["brightness"]), transforms["contrast"])
        return raster.saturation(views, transforms["saturation"]) if views.shape[3] == 3 else views
