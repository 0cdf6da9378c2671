"""Differentiable Siamese augmentation: one random transform for every image of every batch.

Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, strategy
`color_crop_cutout_flip_scale_rotate` in "single" mode: each draw is one of six operations with its
parameters. Real and synthetic images pass through the same draw, and every operation is
differentiable in the pixels, so the synthetic images learn from what it shows of the real ones.

Images are (n, channels, height, width), normalised; what enters from outside is 0, which is the
mean. kornia has these operations too, but draws their parameters from the process-wide generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

Transform = Callable[[torch.Tensor], torch.Tensor]


def draw(generator: torch.Generator, height: int, width: int, flips: bool) -> Transform:
    """One operation, all equally likely, with its numbers fixed: apply it to any batch.

    flips: whether `flip` is one of them; leave it out where a mirror image means something else.
    """
    operations = [draw_color, draw_crop, draw_cutout, draw_scale, draw_rotate] + [draw_flip] * flips
    return operations[_integer(generator, 0, len(operations) - 1)](generator, height, width)


def draw_color(generator: torch.Generator, height: int, width: int) -> Transform:
    return partial(
        color,
        brightness=_uniform(generator, -0.5, 0.5),
        saturation=_uniform(generator, 0, 2),
        contrast=_uniform(generator, 0.5, 1.5),
    )


def color(images: torch.Tensor, brightness: float, saturation: float, contrast: float) -> torch.Tensor:
    """Add brightness, stretch about each pixel's channel mean, then about each image's mean."""
    brighter = images + brightness
    pixel = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - pixel) * saturation + pixel
    image = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - image) * contrast + image


def draw_crop(generator: torch.Generator, height: int, width: int) -> Transform:
    reach_down, reach_right = (math.floor(0.125 * side + 0.5) for side in (height, width))
    down, right = (_integer(generator, -reach, reach) for reach in (reach_down, reach_right))
    return partial(crop, down=down, right=right)


def crop(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Crop a zero-padded image, that is, move its content by whole pixels."""
    # negative padding cuts
    return functional.pad(images, (right, -right, down, -down))


def draw_cutout(generator: torch.Generator, height: int, width: int) -> Transform:
    sides = [math.floor(0.5 * side + 0.5) for side in (height, width)]
    # an even square has no middle pixel, so its centre may also lie on the far border
    rows, columns = (
        _integer(generator, 0, length - side % 2) - side // 2
        for length, side in zip((height, width), sides, strict=True)
    )
    return partial(cutout, top=rows, left=columns, height=sides[0], width=sides[1])


def cutout(images: torch.Tensor, top: int, left: int, height: int, width: int) -> torch.Tensor:
    """Zero in a box, of which only the part inside the image counts."""
    mask = torch.ones(images.shape[2:], dtype=images.dtype, device=images.device)
    mask[max(top, 0) : top + height, max(left, 0) : left + width] = 0
    return images * mask


def draw_flip(generator: torch.Generator, height: int, width: int) -> Transform:
    return partial(flip, mirror=_uniform(generator, 0, 1) < 0.5)


def flip(images: torch.Tensor, mirror: bool) -> torch.Tensor:
    return images.flip(3) if mirror else images


def draw_scale(generator: torch.Generator, height: int, width: int) -> Transform:
    x, y = (_uniform(generator, 1 / 1.2, 1.2) for _ in "xy")
    return partial(affine, matrix=((x, 0.0), (0.0, y)))


def draw_rotate(generator: torch.Generator, height: int, width: int) -> Transform:
    angle = math.radians(_uniform(generator, -15, 15))
    return partial(affine, matrix=((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))))


def affine(images: torch.Tensor, matrix: tuple[tuple[float, float], tuple[float, float]]) -> torch.Tensor:
    """Bilinear; `matrix` takes an output (x, y), each side spanning -1..1, to where it is read."""
    (a, b), (c, d) = matrix
    theta = torch.tensor([[a, b, 0], [c, d, 0]], dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _integer(generator: torch.Generator, low: int, high: int) -> int:
    """Both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
