"""Learn a few images whose mean feature equals that of many, seen through random networks.

The optimisation of Zhao & Bilen, "Dataset Condensation with Distribution Matching", WACV 2023,
algorithm 1, for one class: || mean of embed(real) - mean of embed(synthetic) ||^2, the squared
distance of first moments, lowered by gradient steps on the synthetic pixels. Networks come and
go; none is ever trained. What is moved may be mosaics (see `mosaic`), of which networks see the
enlarged tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tasks.distill.mosaic import enlarge
from tasks.distill.siamese import Transform

Embed = Callable[[torch.Tensor], torch.Tensor]


def distance(embed: Embed, transform: Transform, real: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
    """The loss of one step: real (b, ...), synthetic (m, ...) -> scalar, differentiable in `synthetic`.

    A sum over the features, not their mean: the published learning rates count on it.
    """
    with torch.no_grad():
        target = embed(transform(real)).mean(dim=0)
    return (target - embed(transform(synthetic)).mean(dim=0)).square().sum()


def match_means(
    real: torch.Tensor,
    start: torch.Tensor,
    networks: Callable[[torch.Generator], Embed],
    transforms: Callable[[torch.Generator], Transform],
    generator_at: Callable[[int], torch.Generator],
    *,
    steps: int,
    keep_network: int,
    real_batch: int,
    learning_rate: float,
    momentum: float,
    tiles: int,
) -> torch.Tensor:
    """The images that `start` (m, c, h, w) float32 becomes after `steps` steps.

    real: (n, c, h, w), all of the class. networks, transforms: draw one from a generator.
    generator_at: the generator of a step, so that step 7's network is the same whatever the steps
    before it drew. keep_network: steps that share a network. real_batch: real images a step,
    without replacement. tiles: an image of `start` is a mosaic of tiles x tiles.
    """
    synthetic = start.clone().requires_grad_(True)
    optimizer = torch.optim.SGD([synthetic], lr=learning_rate, momentum=momentum)
    for step in range(steps):
        generator = generator_at(step)
        if step % keep_network == 0:
            embed = networks(generator)
        transform = transforms(generator)
        batch = torch.randperm(len(real), generator=generator)[:real_batch].to(real.device)
        loss = distance(embed, transform, real[batch], enlarge(synthetic, tiles))
        (synthetic.grad,) = torch.autograd.grad(loss, synthetic)
        optimizer.step()
    return synthetic.detach()
