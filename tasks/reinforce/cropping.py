"""Random resized crops with flip: the part that the reinforcers of images have in common.

A view's numbers come from its row's content key, its draw number and the seed, one independent
number a parameter, so they depend on no other row. Where torchvision draws a box, rejects it if
it does not fit and gives up after ten tries, the ratio here is drawn among those that fit the
area: one draw, always valid, and the area stays exactly uniform.

Replay is integer arithmetic (see `raster`), so a view is the same bytes wherever it is redrawn.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.reinforce import Reinforcer, Transforms, raster
from tasks.seeds import seed_of, uniform

BATCH = 256
"""Views redrawn at once: small enough for the processor's cache. Changes no byte."""

Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]
Range = tuple[float, float]


class Cropping(Reinforcer):
    """Random resized crops of images, mirrored or not."""

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

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}], must be [least, greatest]")
        return self

    def sample(self, keys: np.ndarray, shape: tuple[int, ...], seed: int) -> Transforms:
        """keys (n,) uint64, shape (h, w, c) -> n * draws views' numbers, in the column's types."""
        number = numbers(keys, self.draws, seed)
        box = placed(number, "", self.scale, self.ratio, shape)
        return {**box, "flip": (number("flip") < 0.5) & self.flip, **self.further(number, shape)}

    @abstractmethod
    def further(self, number: Numbers, shape: tuple[int, ...]) -> Transforms:
        """The numbers of what comes after crop and flip."""

    def replay(self, payload: np.ndarray, transforms: Transforms) -> np.ndarray:
        """Crop, resize, flip and what comes after: (m, h, w, c) uint8 -> the same.

        ValueError for images of other than 1 or 3 channels.
        """
        if payload.shape[3] not in (1, 3):
            raise ValueError(
                f"{self.kind} redraws images of 1 or 3 channels, not {payload.shape[3]}; "
                "convert them at ingest"
            )
        views = np.empty_like(payload)
        for start in range(0, len(payload), BATCH):
            batch = slice(start, start + BATCH)
            t = {name: values[batch] for name, values in transforms.items()}
            views[batch] = self.redraw(crop_and_flip(payload[batch], t), t)
        return views

    @abstractmethod
    def redraw(self, views: np.ndarray, transforms: Transforms) -> np.ndarray:
        """What comes after crop and flip, of a batch."""


Numbers = Callable[[str], np.ndarray]
"""A parameter's name to an independent number in [0, 1) a view, (n * draws,) float64."""


def numbers(keys: np.ndarray, draws: int, seed: int) -> Numbers:
    """What the parameters of `draws` views a row are made from; keys: (n,) uint64."""

    def number(name: str) -> np.ndarray:
        columns = [uniform(keys, seed_of(seed, name, draw)) for draw in range(draws)]
        return np.stack(columns, axis=1).ravel()

    return number


def placed(number: Numbers, prefix: str, scale: Range, ratio: Range, shape: tuple[int, ...]) -> Transforms:
    """Boxes as `top`, `left`, `height`, `width` in pixels, the names prefixed: area and log ratio
    uniform, the place uniform."""
    h, w = shape[:2]
    share = scale[0] + (scale[1] - scale[0]) * number(f"{prefix}area")
    fits = np.log(share * w / h), np.log(w / (share * h))
    low, high = (np.clip(np.log(bound), *fits) for bound in ratio)
    side_ratio = np.exp(low + (high - low) * number(f"{prefix}ratio"))
    height = np.clip(np.rint(np.sqrt(share * h * w / side_ratio)), 1, h)
    width = np.clip(np.rint(np.sqrt(share * h * w * side_ratio)), 1, w)
    box = {
        "top": np.floor(number(f"{prefix}top") * (h - height + 1)),
        "left": np.floor(number(f"{prefix}left") * (w - width + 1)),
        "height": height,
        "width": width,
    }
    return {f"{prefix}{name}": pixels.astype(np.int16) for name, pixels in box.items()}


def crop_and_flip(images: np.ndarray, t: Transforms) -> np.ndarray:
    views = raster.crop_and_resize(images, t["top"], t["left"], t["height"], t["width"])
    flipped = t["flip"].astype(bool)
    views[flipped] = views[flipped, :, ::-1]
    return views
