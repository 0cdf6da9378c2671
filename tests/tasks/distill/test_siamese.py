"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_siamese.py"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.distill import siamese

DRAWS = [
    siamese.draw_color,
    siamese.draw_crop,
    siamese.draw_cutout,
    siamese.draw_flip,
    siamese.draw_scale,
    siamese.draw_rotate,
]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, channels: int = 3, side: int = 6) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=generator(0), dtype=torch.float64) + 0.1


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("seed", range(3))
def test_every_operation_is_differentiable_in_the_pixels(draw: Any, seed: int) -> None:
    transform = draw(generator(seed), 6, 6)
    pixels = images(1, channels=1).requires_grad_(True)
    assert torch.autograd.gradcheck(transform, (pixels,))


@pytest.mark.parametrize("seed", range(30))
def test_an_image_common_to_two_batches_comes_out_equal(seed: int) -> None:
    common, other = images(1), images(5)
    first = siamese.draw(generator(seed), 6, 6, flips=True)(torch.cat([common, other]))[0]
    second = siamese.draw(generator(seed), 6, 6, flips=True)(torch.cat([other, common]))[-1]
    assert torch.allclose(first, second, rtol=0, atol=1e-12)


def test_color_adds_then_stretches_about_the_channel_and_the_image_mean() -> None:
    pixels = torch.tensor([[[[0.0, 2.0]], [[2.0, 4.0]]]])  # two channels of 1 x 2
    assert siamese.color(pixels, 1, 1, 1).flatten().tolist() == [1, 3, 3, 5]
    assert siamese.color(pixels, 0, 0, 1).flatten().tolist() == [1, 3, 1, 3]
    assert siamese.color(pixels, 0, 1, 0.5).flatten().tolist() == [1, 2, 2, 3]


def test_crop_moves_the_content_and_fills_with_zero() -> None:
    pixels = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert siamese.crop(pixels, down=1, right=-1)[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]


def test_cutout_blanks_the_part_of_its_box_that_lies_inside() -> None:
    box = siamese.cutout(torch.ones(1, 1, 4, 4), top=-1, left=3, height=2, width=2)[0, 0]
    assert (box == 0).nonzero().tolist() == [[0, 3]]


def test_a_forced_flip_applied_twice_is_the_identity() -> None:
    pixels = images(2)
    assert torch.equal(siamese.flip(siamese.flip(pixels, True), True), pixels)
    assert not torch.equal(siamese.flip(pixels, True), pixels)
    assert torch.equal(siamese.flip(pixels, False), pixels)


def test_a_quarter_turn_agrees_with_rot90() -> None:
    pixels = images(1)
    # output (x, y) is read at (-y, x): the top row comes from the right column
    turned = siamese.affine(pixels, ((0.0, -1.0), (1.0, 0.0)))
    assert torch.allclose(turned, torch.rot90(pixels, 1, (2, 3)))


def test_scaling_by_the_factor_2_reads_the_middle_of_a_double_sized_window() -> None:
    pixels = torch.ones(1, 1, 8, 8)
    shrunk = siamese.affine(pixels, ((2.0, 0.0), (0.0, 1.0)))[0, 0]
    assert shrunk[0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_parameters_fill_their_published_ranges() -> None:
    def seen(draw: Any, name: str) -> list[Any]:
        return [draw(generator(seed), 28, 28).keywords[name] for seed in range(2000)]

    for name, low, high in (("brightness", -0.5, 0.5), ("saturation", 0, 2), ("contrast", 0.5, 1.5)):
        values = seen(siamese.draw_color, name)
        assert low <= min(values) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < max(values) <= high
    assert set(seen(siamese.draw_crop, "down")) == set(range(-4, 5))
    assert set(seen(siamese.draw_cutout, "top")) == set(range(-7, 22))  # 14 wide, centres 0..28
    assert set(seen(siamese.draw_cutout, "height")) == {14}
    assert abs(sum(seen(siamese.draw_flip, "mirror")) / 2000 - 0.5) < 0.05
    scales = [matrix[0][0] for matrix in seen(siamese.draw_scale, "matrix")]
    assert 1 / 1.2 <= min(scales) < 0.84
    assert 1.19 < max(scales) <= 1.2
    sines = [matrix[1][0] for matrix in seen(siamese.draw_rotate, "matrix")]
    assert -0.2589 < min(sines) < -0.255  # sin(15 degrees) is 0.2588
    assert 0.255 < max(sines) < 0.2589


def test_each_operation_is_drawn_equally_often_and_flip_only_on_request() -> None:
    for flips, operations in ((True, 6), (False, 5)):
        drawn: list[Any] = [siamese.draw(generator(seed), 8, 8, flips) for seed in range(3000)]
        names = [(t.func.__name__, tuple(t.keywords)) for t in drawn]
        mirrored = sum(name == "flip" for name, _ in names) / 3000
        assert mirrored == pytest.approx(1 / 6 if flips else 0, abs=0.03)
        affine = sum(name == "affine" for name, _ in names) / 3000  # scale and rotate
        assert affine == pytest.approx(2 / operations, abs=0.04)
