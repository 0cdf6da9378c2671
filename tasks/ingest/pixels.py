"""Pixels as they are: the encoder to compare others with.

Each image becomes its values row by row, divided by 255. Assumes pictures of one size in which the
same place means the same thing, such as centred digits. Cost: one pass.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from tasks.data import Examples
from tasks.ingest import Encoder


class Pixels(Encoder):
    """(n, height, width, channels) uint8 to (n, height * width * channels) float32 in 0..1."""

    kind: Literal["pixels"] = "pixels"
    revision: ClassVar[int] = 1
    reads: ClassVar[Literal["images", "features"]] = "images"

    def encode(self, examples: Examples) -> np.ndarray:
        if examples.images is None:
            raise ValueError("encoder pixels reads images, and these rows have none; use encoder features")
        size = int(np.prod(examples.images.shape[1:]))
        return examples.images.reshape(len(examples), size).astype(np.float32) / np.float32(255)
