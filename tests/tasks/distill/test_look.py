"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_look.py"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tasks.distill.look import Look, mix, warp


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_view_without_change_is_the_image() -> None:
    still = Look(turn=0.0, zoom=1.0, move=0.0, light=0.0)
    pixels = torch.rand(50, 2, 9, 12, generator=generator())
    assert torch.allclose(warp(pixels, still, generator(1)), pixels, atol=1e-5)
    views = warp(pixels, replace(still, flip=True), generator(1))
    mirrored = torch.isclose(views, pixels.flip(3), atol=1e-5).all(dim=(1, 2, 3))
    same = torch.isclose(views, pixels, atol=1e-5).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 10 < mirrored.sum() < 40


def test_every_image_is_warped_by_its_own_numbers_within_bounds() -> None:
    pixels = torch.zeros(200, 1, 33, 33)
    pixels[:, :, 16, 16] = 1.0
    pixels[:, :, 14:19, 14:19] = 1.0
    views = warp(pixels, Look(flip=True), generator())
    assert views.min() >= 0
    assert views.max() <= 1
    spot = (views - views.amin(dim=(1, 2, 3), keepdim=True))[:, 0]
    middle = (spot.sum(dim=1) * torch.arange(33)).sum(dim=1) / spot.sum(dim=(1, 2))
    assert len(torch.unique(middle)) == 200
    assert (middle - 16).abs().max() < 0.125 * 33 * 1.2 + 1


def test_a_mixed_view_is_the_stated_share_of_its_own_image() -> None:
    own, other = torch.ones(4000, 1, 10, 10), torch.zeros(4000, 1, 10, 10)
    mixed, share = mix(own, other, Look(), generator())
    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), share[:, 0], atol=1e-5)
    blended = ((mixed > 1e-6) & (mixed < 1 - 1e-6)).any(dim=(1, 2, 3))
    cut = ~blended & (mixed.amin(dim=(1, 2, 3)) < 0.5)
    assert blended.float().mean() == pytest.approx(0.25, abs=0.03)
    # a box may fall outside the image, or hide it whole
    assert cut.float().mean() == pytest.approx(0.24, abs=0.03)
    assert share[blended].mean() == pytest.approx(0.5, abs=0.04)
    box = mixed[cut][0, 0] == 0
    assert box.sum() == box.any(dim=0).sum() * box.any(dim=1).sum()
