"""How views are drawn of the images that a student learns from, anew at every step.

Rotated by up to 15 degrees, scaled by up to 1.2 and moved by up to an eighth of a side, mirrored on request,
brightness and contrast changed; then half of them mixed with another view, by mixup (Zhang et al., ICLR 2018)
or by CutMix (Yun et al., ICCV 2019). All numbers come from the generator that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Look:
    """How far a view may be from its image: whether a mirror image means the same, radians turned, times
    scaled, shares of a side moved and of the brightness changed, and how often two views are mixed, one way
    and the other.

    All but the mirror is the frozen recipe's, unless a paper is to be measured by its own.
    """

    flip: bool = False
    turn: float = math.radians(15)
    zoom: float = 1.2
    move: float = 0.125
    light: float = 0.3
    cutmix: float = 0.25
    mixup: float = 0.25


def warp(pixels: torch.Tensor, look: Look, generator: torch.Generator) -> torch.Tensor:
    """A view of each of (n, c, h, w) in 0..1, by numbers of its own; what enters from outside is black."""
    n = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    turn = uniform(-look.turn, look.turn)
    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0) if look.flip else 1.0
    across, down = (torch.exp(uniform(-math.log(look.zoom), math.log(look.zoom))) for _ in range(2))
    right, below = (uniform(-2 * look.move, 2 * look.move) for _ in range(2))  # a side spans -1..1
    top = torch.stack([turn.cos() * across * mirror, -turn.sin() * down, right], dim=1)
    bottom = torch.stack([turn.sin() * across * mirror, turn.cos() * down, below], dim=1)
    grid = functional.affine_grid(torch.stack([top, bottom], dim=1), list(pixels.shape), align_corners=False)
    views = functional.grid_sample(pixels, grid, align_corners=False)
    gain, lift = uniform(1 - look.light, 1 + look.light), uniform(-look.light / 2, look.light / 2)
    return (views * gain[:, None, None, None] + lift[:, None, None, None]).clamp(0, 1)


def mix(
    views: torch.Tensor, others: torch.Tensor, look: Look, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Views (n, c, h, w), as many of them mixed with the other of the same number as `look` says, and the
    share (n, 1) of each that is its own. The share is uniform, as both papers draw it for alpha 1."""
    n, _, h, w = views.shape
    share, kind, y, x = torch.rand(4, n, 1, generator=generator)
    # CutMix: a box of the other's share whose centre lies anywhere, cut at the border
    box = (torch.arange(h) + 0.5 - y * h).abs()[:, :, None] < (1 - share[:, :, None]).sqrt() * h / 2
    box = box & ((torch.arange(w) + 0.5 - x * w).abs()[:, None, :] < (1 - share[:, :, None]).sqrt() * w / 2)
    cut = kind < look.cutmix
    blended = ~cut & (kind < look.cutmix + look.mixup)
    own = torch.where(cut[:, :, None], (~box).float(), torch.where(blended, share, 1.0)[:, :, None])
    own = own.expand(n, h, w)
    return views * own[:, None] + others * (1 - own[:, None]), own.mean(dim=(1, 2))[:, None]
