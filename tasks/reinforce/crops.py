"""Crops: random resized crops with optional flip and colour, stored as eight numbers a view.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023: pay for augmentation and teacher
once, keep the numbers that redraw each view and the teacher's opinion on it. This is the paper's
crop-and-flip variant with brightness and contrast; storing pixels instead would cost 784 bytes a
view at 28 x 28 where these numbers take about 20.

A view's numbers come from its row's content key, its draw number and the seed, one independent
number a parameter, so they depend on no other row. Where torchvision draws a box, rejects it if
it does not fit and gives up after ten tries, the ratio here is drawn among those that fit the
area: one draw, always valid, and the area stays exactly uniform.

Replay is integer arithmetic (see `raster`), so a view is the same bytes wherever it is redrawn.
Cost: sampling O(rows * draws); replay about 20 microseconds a 28 x 28 view.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.reinforce import Reinforcer, Transforms, raster
from tasks.seeds import seed_of, uniform

BATCH = 256
"""Views redrawn at once: small enough for the processor's cache. Changes no byte."""

Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]


class Crops(Reinforcer):
    """Random resized crops of images, with flip, brightness, contrast and saturation."""

    kind: Literal["crops"] = "crops"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023"
    reads: ClassVar[Literal["images", "features"]] = "images"

    draws: int = Field(8, ge=1, le=32767, description="stored views a row; fewer than 8 are memorised")
    scale: tuple[Share, Share] = Field(
        (0.5, 1.0),
        description="smallest and largest share of the image's area in a crop; the usual 0.08 suits "
        "photographs of 224 pixels, while 8% of a 28 x 28 image is 8 x 8 pixels, where nothing can be told",
    )
    ratio: tuple[Ratio, Ratio] = Field(
        (3 / 4, 4 / 3), description="least and greatest width / height of a crop"
    )
    flip: bool = Field(False, description="mirror half of the views; right for clothing, wrong for digits")
    brightness: float = Field(0.2, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(0.2, ge=0, le=1, description="largest relative change of contrast")
    saturation: float = Field(0.0, ge=0, le=1, description="the same for saturation; colour images only")

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}], must be [least, greatest]")
        return self

    def sample(self, keys: np.ndarray, shape: tuple[int, ...], seed: int) -> Transforms:
        """keys (n,) uint64, shape (h, w, c) -> n * draws views' numbers, in the column's types."""
        h, w, c = shape

        def number(name: str) -> np.ndarray:
            columns = [uniform(keys, seed_of(seed, name, draw)) for draw in range(self.draws)]
            return np.stack(columns, axis=1).ravel()

        def factor(name: str, strength: float) -> np.ndarray:
            return (1 + strength * (2 * number(name) - 1)).astype(np.float32)

        height, width = self._box(number("area"), number("ratio"), h, w)
        transforms = {
            "top": np.floor(number("top") * (h - height + 1)).astype(np.int16),
            "left": np.floor(number("left") * (w - width + 1)).astype(np.int16),
            "height": height.astype(np.int16),
            "width": width.astype(np.int16),
            "flip": (number("flip") < 0.5) & self.flip,
            "brightness": factor("brightness", self.brightness),
            "contrast": factor("contrast", self.contrast),
        }
        return transforms if c == 1 else {**transforms, "saturation": factor("saturation", self.saturation)}

    def _box(self, area: np.ndarray, ratio: np.ndarray, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
        """Heights and widths in pixels from two numbers in [0, 1): area uniform, log ratio uniform."""
        share = self.scale[0] + (self.scale[1] - self.scale[0]) * area
        fits = np.log(share * w / h), np.log(w / (share * h))
        low, high = (np.clip(np.log(bound), *fits) for bound in self.ratio)
        side_ratio = np.exp(low + (high - low) * ratio)
        height = np.clip(np.rint(np.sqrt(share * h * w / side_ratio)), 1, h)
        width = np.clip(np.rint(np.sqrt(share * h * w * side_ratio)), 1, w)
        return height, width

    def replay(self, payload: np.ndarray, transforms: Transforms) -> np.ndarray:
        """Crop, resize, flip, brightness, contrast, saturation: (m, h, w, c) uint8 -> the same.

        ValueError for images of other than 1 or 3 channels.
        """
        if payload.shape[3] not in (1, 3):
            raise ValueError(
                f"crops redraws images of 1 or 3 channels, not {payload.shape[3]}; convert them at ingest"
            )
        views = np.empty_like(payload)
        for start in range(0, len(payload), BATCH):
            batch = slice(start, start + BATCH)
            views[batch] = _redraw(payload[batch], {name: t[batch] for name, t in transforms.items()})
        return views


def _redraw(images: np.ndarray, t: Transforms) -> np.ndarray:
    views = raster.crop_and_resize(images, t["top"], t["left"], t["height"], t["width"])
    flipped = t["flip"].astype(bool)
    views[flipped] = views[flipped, :, ::-1]
    views = raster.contrast(raster.brightness(views, t["brightness"]), t["contrast"])
    return raster.saturation(views, t["saturation"]) if images.shape[3] == 3 else views
