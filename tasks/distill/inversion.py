"""Move pixels until a trained network sees in them the classes wanted and the statistics it was trained on.

The objective that Yin, Xing & Shen (SRe2L, NeurIPS 2023, equations 6 to 9) take from DeepInversion (Yin et
al., CVPR 2020): cross-entropy plus `weight` times the sum over batch norms of the distance (not squared)
of the batch's mean, and of its variance, from those that the norm keeps. Whatever is moved, images or
what is added to several, `images_of` says how a network gets to see it. Knows nothing of winnow.

Images are (n, height, width, channels) in the network's own units: less its mean, over its scale. A
network stands still: it predicts with the statistics that it keeps, and no weight learns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from tasks.teach.resnet import ResNet

FIRST = 10.0
"""How much more the first batch norm counts than the others."""

BETAS = (0.5, 0.9)
TINY = 1e-12
"""Inside of each root, whose slope at zero is infinite."""

Pixels = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Descent:
    """How pixels are moved. weight: of the statistics against the cross-entropy. jitter: the batch is
    rolled by up to so many pixels down and across, anew in each step."""

    steps: int
    learning_rate: float
    weight: float
    jitter: int


@dataclass
class Distances:
    """What `watched` found in the last forward pass: for each group of images (g,)."""

    found: list[torch.Tensor] = field(default_factory=list)

    def total(self) -> torch.Tensor:
        return torch.stack(self.found).sum(dim=0)


@contextmanager
def watched(network: nn.Module, groups: int = 1) -> Iterator[Distances]:
    """Each forward pass notes how far every batch norm's input is from what the norm keeps. The batch holds
    `groups` batches of equal size one after the other, told apart."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    distances = Distances()

    def look(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        if norm is norms[0]:
            distances.found.clear()
        share = FIRST if norm is norms[0] else 1.0
        distances.found.append(share * distance(norm, inputs[0], groups))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        yield distances
    finally:
        for hook in hooks:
            hook.remove()


def distance(norm: nn.BatchNorm2d, inputs: torch.Tensor, groups: int) -> torch.Tensor:
    """||mean - kept mean|| + ||variance - kept variance|| of each group, (groups,); the variance divides
    by the number of values."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(
        inputs.reshape(groups, -1, *inputs.shape[1:]), dim=(1, 3, 4), correction=0
    )
    return length(mean - norm.running_mean) + length(variance - norm.running_var)


def length(vectors: torch.Tensor) -> torch.Tensor:
    return (vectors.square().sum(dim=1) + TINY).sqrt()


def loss(
    network: ResNet, distances: Distances, images: torch.Tensor, labels: torch.Tensor, weight: float
) -> torch.Tensor:
    """The objective of each group of `images` (groups * b, ...) and labels (groups * b,), summed."""
    logits = network(images * network.scale + network.mean)
    far = distances.total()
    return F.cross_entropy(logits, labels, reduction="sum") * len(far) / len(labels) + weight * far.sum()


def descend(
    network: ResNet,
    start: torch.Tensor,
    images_of: Pixels,
    labels: torch.Tensor,
    how: Descent,
    generator: torch.Generator,
    *,
    groups: int = 1,
    clip: Pixels | None = None,
) -> torch.Tensor:
    """`start` after the last step of Adam, its rate falling to zero along a cosine; clipped after each.

    images_of: what is moved to the batch of images (groups * b, h, w, c), differentiable. labels:
    (groups * b,) int64. ValueError where the steps diverge.
    """
    network.eval().requires_grad_(False)
    moved = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([moved], lr=how.learning_rate, betas=BETAS)
    with watched(network, groups) as distances:
        for step in range(how.steps):
            optimiser.param_groups[0]["lr"] = how.learning_rate * cosine(step / how.steps)
            down, right = torch.randint(0, how.jitter + 1, (2,), generator=generator).tolist()
            images = torch.roll(images_of(moved), (down, right), dims=(1, 2))
            (moved.grad,) = torch.autograd.grad(loss(network, distances, images, labels, how.weight), moved)
            optimiser.step()
            if clip:
                moved.data.copy_(clip(moved.data))
    if not torch.isfinite(moved).all():
        raise ValueError(f"pixels diverged; lower distill.learning_rate from {how.learning_rate}")
    return moved.detach()


def cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


def clip(images: torch.Tensor, network: ResNet) -> torch.Tensor:
    """Pixels that a picture can have."""
    return torch.minimum(
        torch.maximum(images, -network.mean / network.scale), (255 - network.mean) / network.scale
    )


def units(pixels: torch.Tensor, network: ResNet) -> torch.Tensor:
    """Pixels in 0..255 in the network's units."""
    return (pixels - network.mean) / network.scale


def pixels(images: torch.Tensor, network: ResNet) -> torch.Tensor:
    """The network's units as uint8, rounded and clipped."""
    return (images * network.scale + network.mean).round().clamp(0, 255).to(torch.uint8)
