"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_moments.py"""

from __future__ import annotations

import torch

from tasks.distill import siamese
from tasks.distill.convnet import ConvNet
from tasks.distill.moments import distance, match_means
from tasks.distill.mosaic import enlarge


def generator(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=generator(99))


def test_equal_sets_have_distance_zero_and_no_gradient() -> None:
    net = ConvNet(1, 8, 8, 16, generator(0)).requires_grad_(False)
    real = images(12)
    synthetic = real.clone().requires_grad_(True)
    for seed in range(12):
        loss = distance(net, siamese.draw(generator(seed), 8, 8, flips=True), real, synthetic)
        (gradient,) = torch.autograd.grad(loss, synthetic)
        assert loss.item() == 0
        assert gradient.abs().max() == 0


def test_the_distance_is_a_sum_over_features() -> None:
    real, synthetic = torch.ones(4, 1, 1, 3), torch.tensor([[[[0.0, 1.0, 3.0]]]])
    assert distance(torch.nn.Flatten(), lambda x: x, real, synthetic).item() == 1 + 0 + 4


def test_through_the_identity_one_image_becomes_the_class_mean() -> None:
    real = images(20)
    learnt = match_means(
        real,
        real[:1],
        lambda _: torch.nn.Flatten(),
        lambda _: lambda x: x,
        generator,
        steps=50,
        keep_network=1,
        real_batch=20,
        learning_rate=0.1,
        momentum=0.5,
        tiles=1,
    )
    assert torch.allclose(learnt[0], real.mean(dim=0), atol=1e-5)


def test_networks_depend_on_their_step_alone_and_are_kept_as_long_as_asked() -> None:
    drawn: list[int] = []

    def network(source: torch.Generator) -> torch.nn.Module:
        drawn.append(source.initial_seed())
        return torch.nn.Flatten()

    match_means(
        images(4),
        images(2),
        network,
        lambda _: lambda x: x,
        generator,
        steps=7,
        keep_network=3,
        real_batch=2,
        learning_rate=0.1,
        momentum=0.0,
        tiles=1,
    )
    assert drawn == [0, 3, 6]


def test_the_starting_images_are_not_written_to() -> None:
    real = images(6)
    before = real.clone()
    match_means(
        real,
        real,
        lambda _: torch.nn.Flatten(),
        lambda _: lambda x: 2 * x,
        generator,
        steps=3,
        keep_network=1,
        real_batch=2,
        learning_rate=0.1,
        momentum=0.5,
        tiles=1,
    )
    assert torch.equal(real, before)


def test_a_mosaic_is_learnt_through_its_enlarged_tiles() -> None:
    """Through the identity the mean of a mosaic's four enlarged tiles becomes the class mean."""
    real = torch.full((6, 1, 4, 4), 0.7)
    learnt = match_means(
        real,
        torch.zeros(1, 1, 4, 4),
        lambda _: torch.nn.Flatten(),
        lambda _: lambda x: x,
        generator,
        steps=200,
        keep_network=1,
        real_batch=6,
        learning_rate=0.5,
        momentum=0.5,
        tiles=2,
    )
    assert torch.allclose(enlarge(learnt, 2).mean(dim=0), real[0], atol=1e-3)
