"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_convnet.py"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.distill.convnet import ConvNet


def build(channels: int = 1, height: int = 28, width: int = 28, filters: int = 8, seed: int = 0) -> ConvNet:
    return ConvNet(channels, height, width, filters, torch.Generator().manual_seed(seed))


def test_the_published_size_has_2048_features_and_the_published_parameters() -> None:
    net = build(filters=128)
    assert net.features == 2048
    classifier = 2048 * 10 + 10
    assert sum(p.numel() for p in net.parameters()) + classifier == 317_706


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("side", [(8, 8), (9, 15), (28, 28), (32, 32), (64, 40)])
def test_any_size_gives_one_finite_vector_an_image(channels: int, side: tuple[int, int]) -> None:
    net = build(channels, *side)
    features = net(torch.rand(2, channels, *side))
    assert features.shape == (2, net.features)
    assert features.isfinite().all()


def test_weights_follow_pytorchs_default_initialisation() -> None:
    ours = build(3, 32, 32, 64).requires_grad_(False).blocks[1][0]  # type: ignore[index]
    reference = nn.Conv2d(64, 64, 3).requires_grad_(False)
    assert reference.bias is not None
    for mine, default in ((ours.weight, reference.weight), (ours.bias, reference.bias)):
        assert mine is not None
        assert mine.abs().max() <= (9 * 64) ** -0.5
        assert float(mine.std()) == pytest.approx(float(default.std()), rel=0.25)


def test_the_generator_alone_decides_the_weights_and_the_global_one_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = build(), build(), build(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    images = torch.ones(1, 1, 28, 28).tril()
    assert torch.equal(first(images), again(images))
    assert not torch.equal(first(images), other(images))


def test_instance_norm_looks_at_one_image_at_a_time() -> None:
    net, images = build(3, 16, 16), torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net(images)[2:3], net(images[2:3]), atol=1e-5)


def test_an_image_too_small_for_three_poolings_is_refused() -> None:
    with pytest.raises(ValueError, match="8 pixels or more, not 7 x 28"):
        build(height=7)
