"""Matching: synthetic images whose mean feature is that of their class.

Zhao & Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, with differentiable
Siamese augmentation (the same authors, ICML 2021). Images start as real rows and are moved so that
through freshly drawn, never trained ConvNets their mean embedding equals that of the class's real
images. The paper's loss is a sum over classes in which each class sees its own images only, so
classes are distilled one by one here with nothing lost.

With `tiles: 2` what is learnt are mosaics of four images each, started from four rows: the
multi-formation of IDC (see `mosaic`), which IDM (Zhao et al., CVPR 2023) adds to this method. IDM's
other half, networks that are trained on all classes as the images are learnt, is left out: a class
would then depend on every other, and all would be learnt again each night.

What differs from the paper, and why:
- Pixels are normalised by the class's own mean and deviation unless `mean` and `std` are given:
  a class does not know its data set, and instance norm after the first convolution removes most of
  what is left of the difference. The constants of the data set reproduce the paper.
- 200 steps with 64 real images through 32 filters where the paper takes 20,000 with 256 through
  128: fit for a nightly run on a processor, at a cost in accuracy. `steps` is the first to raise.
- Every random number derives from (seed, step) where the published code asks the clock.

It assumes decided labels: a wrong one moves the class mean. Bytes repeat on a processor with a
fixed number of threads; a GPU repeats them to rounding. Cost: steps * (real_batch + per_class)
forward passes a class, about 25 milliseconds a step at the defaults on 28 x 28.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.distill.random import draw_rows
from tasks.seeds import seed_of

Channel = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(gt=0, le=1)]


class Matching(Distiller):
    """Distribution matching: learnt images with the class's mean feature."""

    kind: Literal["matching"] = "matching"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Zhao & Bilen, Dataset Condensation with Distribution Matching, WACV 2023"
    reads: ClassVar[frozenset[Read]] = frozenset({"images"})

    per_class: int = Field(
        10, ge=1, description="images learnt for each class; fewer where it has fewer rows"
    )
    tiles: int = Field(1, ge=1, le=4, description="an image is a mosaic of tiles x tiles learnt ones")
    steps: int = Field(200, ge=1, description="gradient steps a class; the paper takes 20,000")
    learning_rate: float = Field(1.0, gt=0, description="of the pixels; the paper takes 1 up to 50 a class")
    momentum: float = Field(0.5, ge=0, lt=1, description="of the pixels' SGD")
    real_batch: int = Field(64, ge=1, description="real images a step; the paper takes 256")
    width: int = Field(32, ge=1, description="filters of the ConvNet; the paper takes 128, 15 times the work")
    keep_network: int = Field(1, ge=1, description="steps that share one random network; the paper takes 1")
    flip: bool = Field(False, description="let augmentation mirror; right for clothing, wrong for digits")
    mean: tuple[Channel, ...] | None = Field(
        None,
        description="each channel's mean in 0..1 that pixels are normalised by; the class's own if unset",
    )
    std: tuple[Spread, ...] | None = Field(None, description="each channel's standard deviation, likewise")

    @model_validator(mode="after")
    def _mean_with_std(self) -> Self:
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError(
                f"mean is {self.mean} and std is {self.std}; give both with one number a channel"
            )
        return self

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """min(per_class, n // tiles**2) images, at least one; origins name the rows that each started
        from, in the order of its tiles. A class of fewer rows than tiles repeats them.

        All are learnt together: a prefix is a valid set, but less than one distilled at its size.
        ValueError without images, for sides under 8 pixels, where `mean` has another number of
        channels than the images, for more tiles than pixels, or where the steps diverge.
        """
        import torch

        from tasks.distill import siamese
        from tasks.distill.convnet import ConvNet
        from tasks.distill.moments import Embed, match_means
        from tasks.distill.mosaic import encode

        if examples.images is None:
            raise ValueError("matching needs images and these rows have none; use herding or random")
        _, height, width, channels = examples.images.shape
        mean, std = self._normalisation(examples.images)
        each = self.tiles**2
        drawn = draw_rows(examples.keys, each * self.per_class, seed_of(seed, "start"))
        rows = np.resize(drawn, (max(len(drawn) // each, 1), each))

        def tensor(pixels: np.ndarray) -> torch.Tensor:
            scaled = (pixels.astype(np.float32) - mean) / std
            return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))).to(device)

        def network(generator: torch.Generator) -> Embed:
            return ConvNet(channels, height, width, self.width, generator).requires_grad_(False).to(device)

        learnt = match_means(
            tensor(examples.images / np.float32(255)),
            tensor(encode(examples.images[rows.ravel()], self.tiles) / np.float32(255)),
            network,
            lambda generator: siamese.draw(generator, height, width, self.flip),
            lambda step: torch.Generator().manual_seed(seed_of(seed, step)),
            # a blank class has nothing to learn, and instance norm would blow up its rounding errors
            steps=self.steps if np.ptp(examples.images) else 0,
            keep_network=self.keep_network,
            real_batch=self.real_batch,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            tiles=self.tiles,
        )
        images = learnt.cpu().numpy().transpose(0, 2, 3, 1) * std + mean
        if not np.isfinite(images).all():
            raise ValueError(f"matching diverged; lower distill.learning_rate from {self.learning_rate}")
        return Distilled(
            rows.tolist(), np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8), tiles=self.tiles
        )

    def _normalisation(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (c,) float32 of pixels in 0..1."""
        channels = images.shape[3]
        if self.mean is None or self.std is None:
            mean = images.mean(axis=(0, 1, 2), dtype=np.float64)
            # a class of one constant colour must not divide by zero: one grey level at least
            std = np.maximum(images.std(axis=(0, 1, 2), dtype=np.float64), 1)
            return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
        if len(self.mean) != channels:
            raise ValueError(
                f"matching.mean has {len(self.mean)} numbers, images have {channels} channels; give one each"
            )
        return np.array(self.mean, np.float32), np.array(self.std, np.float32)
