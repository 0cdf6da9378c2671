"""Patches: the crops of real images that the teachers recognise best, several to an image.

Sun et al., "On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation
Paradigm" (RDED), CVPR 2024, algorithm 1. Nothing is learnt: each of `candidates` images of a class is
cropped at random, the teachers' log-probability of the class is a crop's realism, an image keeps its
best crop, and the class its tiles**2 * per_class best, stitched so that every mosaic mixes good
ranks with lesser ones. All of it can be traced to rows.

What differs from the paper, and why:
- A crop is judged as a student will see it: shrunk to its tile and enlarged again. The published
  code pads it with grey to full size, which teachers trained on whole pictures have never seen.
- Crops keep at least half of the area by default where torchvision's 8% suits photographs: of
  28 x 28 pixels, 8% are 8 x 8.
- The teachers never learned from the row that a crop is from; the paper's observer did.

Assumes decided labels, and teachers that read images. The surest crops are the plainest: at many
images a class they resemble each other, and random ones may teach more. Cost: `candidates * crops`
images a class for the teachers, no gradient.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.distill.random import draw_rows
from tasks.seeds import seed_of, uniform

Share = Annotated[float, Field(gt=0, le=1)]


class Patches(Distiller):
    """RDED: the crops of real images that teachers recognise best, stitched to mosaics."""

    kind: Literal["patches"] = "patches"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024"
    reads: ClassVar[frozenset[Read]] = frozenset({"images"})
    asks: ClassVar[bool] = True

    per_class: int = Field(10, ge=1, description="images stitched for each class; fewer where rows lack")
    tiles: int = Field(2, ge=1, le=4, description="an image is a mosaic of tiles x tiles crops")
    candidates: int = Field(300, ge=1, description="rows of a class that are looked at")
    crops: int = Field(5, ge=1, le=100, description="random crops of each, of which the best counts")
    least_area: Share = Field(0.5, description="smallest share of an image's area in a crop; at most all")

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """min(per_class, n // tiles**2) mosaics, at least one; origins name a mosaic's rows in the order
        of its tiles. A class of fewer rows than tiles repeats them.

        ValueError without images, or for more tiles than pixels.
        """
        from tasks.distill.mosaic import encode, through
        from tasks.reinforce.raster import crop_and_resize

        if examples.images is None:
            raise ValueError("patches needs images and these rows have none; use herding or random")
        each = self.tiles**2
        rows = np.array(draw_rows(examples.keys, max(self.candidates, each * self.per_class), seed))
        looked_at = examples.take(np.repeat(rows, self.crops))
        assert looked_at.images is not None
        boxes = self._boxes(examples.keys[rows], looked_at.images.shape[1:3], seed)
        views = crop_and_resize(looked_at.images, *boxes)
        realism = self._realism(looked_at, through(views, self.tiles), ask)
        best = np.arange(len(rows)) * self.crops + realism.argmax(axis=1)
        ranked = np.argsort(-realism.max(axis=1), kind="stable")
        m = max(min(self.per_class, len(rows) // each), 1)
        # tile k of mosaic t is the crop of rank k * m + t
        cells = np.resize(ranked, m * each).reshape(each, m).T
        return Distilled(
            rows[cells].tolist(), images=encode(views[best[cells.ravel()]], self.tiles), tiles=self.tiles
        )

    def _boxes(self, keys: np.ndarray, sides: tuple[int, ...], seed: int) -> tuple[np.ndarray, ...]:
        """Top, left, height and width (rows * crops,) of boxes of the image's own proportions, by numbers
        of each row's own."""

        def number(name: str) -> np.ndarray:
            return np.stack(
                [uniform(keys, seed_of(seed, name, crop)) for crop in range(self.crops)], 1
            ).ravel()

        share = np.sqrt(self.least_area + (1 - self.least_area) * number("area"))
        height, width = (np.maximum(np.rint(share * side), 1).astype(np.int64) for side in sides)
        top = np.floor(number("top") * (sides[0] - height + 1)).astype(np.int64)
        left = np.floor(number("left") * (sides[1] - width + 1)).astype(np.int64)
        return top, left, height, width

    def _realism(self, looked_at: Examples, seen: np.ndarray, ask: Ask) -> np.ndarray:
        """Log-probability of its class for each crop: (rows, crops) float32."""
        shown = Examples(looked_at.ids, looked_at.keys, looked_at.labels, images=seen)
        own: np.ndarray = ask(shown)[np.arange(len(seen)), looked_at.labels]
        return own.reshape(-1, self.crops)
