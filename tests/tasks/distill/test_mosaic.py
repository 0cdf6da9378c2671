"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_mosaic.py"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.distill.mosaic import cuts, decode, encode, enlarge, stretch, through

SHAPES = [(8, 8, 1), (9, 14, 3), (28, 28, 1)]


def pictures(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def smooth(n: int, side: int) -> np.ndarray:
    """Pictures whose brightness changes slowly, as photographs' does."""
    down, right = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    phase = np.random.default_rng(1).uniform(0, 6, (n, 2, 1, 1))
    waves = np.sin(down * 5 / side + phase[:, 0]) + np.cos(right * 5 / side + phase[:, 1])
    rounded: np.ndarray = np.rint(127 + 60 * waves)[..., None].astype(np.uint8)
    return rounded


def tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float64))


def test_four_constant_tiles_give_four_constant_images_row_by_row() -> None:
    mosaic = np.kron(np.array([[10, 20], [30, 40]], np.uint8), np.ones((4, 4), np.uint8))[None, :, :, None]
    for image, value in zip(decode(mosaic, 2), (10, 20, 30, 40), strict=True):
        assert (image == value).all()


def test_a_mosaic_s_tiles_come_before_those_of_the_next() -> None:
    mosaics = np.stack([np.full((6, 6, 1), value, np.uint8) for value in (1, 2)])
    assert decode(mosaics, 3)[:, 0, 0, 0].tolist() == [1] * 9 + [2] * 9


def test_enlarging_a_pair_of_pixels_is_bilinear_with_half_pixel_centres() -> None:
    line = np.array([[0, 100, 200, 200]] * 4, np.uint8)[None, :, :, None]
    assert decode(line, 2)[0, 0, :, 0].tolist() == [0, 25, 75, 100]
    assert decode(line, 2)[1, 0, :, 0].tolist() == [200, 200, 200, 200]


@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_differentiable_form_agrees_to_half_a_grey_level(tiles: int, shape: tuple[int, int, int]) -> None:
    mosaics = pictures(3, shape)
    floating = enlarge(tensor(mosaics), tiles).numpy().transpose(0, 2, 3, 1)
    assert floating.shape == decode(mosaics, tiles).shape == (3 * tiles**2, *shape)
    assert np.abs(floating - decode(mosaics, tiles)).max() <= 0.5 + 255 * 2**-10


def test_it_is_differentiable_and_a_tile_s_gradient_stays_in_the_tile() -> None:
    mosaic = tensor(pictures(1, (6, 7, 1))).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: enlarge(x, 2), (mosaic,))
    (gradient,) = torch.autograd.grad(enlarge(mosaic, 2)[3].sum(), mosaic)
    assert (gradient[0, 0, 3:, 4:] > 0).all()
    assert gradient[0, 0, :3].abs().max() == 0
    assert gradient[0, 0, :, :4].abs().max() == 0


@given(side=st.integers(4, 70), tiles=st.integers(1, 4))
def test_tiles_cover_a_side_and_differ_by_a_pixel_at_most(side: int, tiles: int) -> None:
    found = cuts(side, tiles)
    assert (found[0], found[-1], len(found)) == (0, side, tiles + 1)
    assert np.ptp(np.diff(found)) <= 1


def test_more_tiles_than_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 pixels does not hold 4 tiles; lower distill\.tiles"):
        decode(pictures(1, (3, 3, 1)), 4)


def test_one_tile_changes_nothing() -> None:
    images = pictures(3, (9, 14, 3))
    for form in (decode, encode, through):
        assert np.array_equal(form(images, 1), images)


def test_what_a_tile_can_hold_comes_back() -> None:
    held = decode(smooth(4, 28), 2)
    assert np.abs(through(held, 2).astype(int) - held).max() <= 2


def test_an_encoded_tile_comes_nearer_to_its_picture_than_the_means_of_its_pixels() -> None:
    images = smooth(4, 28)
    means = images.reshape(4, 14, 2, 14, 2).mean(axis=(2, 4))
    by_means = np.concatenate(
        [np.concatenate([means[0], means[1]], axis=1), np.concatenate([means[2], means[3]], axis=1)]
    )
    of_means = decode(np.rint(by_means).astype(np.uint8)[None, :, :, None], 2)
    error, worse = (
        np.square(found.astype(float) - images).mean() for found in (through(images, 2), of_means)
    )
    assert error < 0.5 * worse


def test_what_passes_through_mosaics_keeps_its_order_and_number() -> None:
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in range(7)])
    assert through(images, 2)[:, 0, 0, 0].tolist() == list(range(7))
    assert through(images[:0], 2).shape == (0, 8, 8, 1)


def test_the_matrix_that_enlarges_is_torch_s() -> None:
    line = torch.rand(1, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(line, size=13, mode="linear", align_corners=False)
    assert np.allclose(stretch(5, 13) @ line[0, 0].numpy(), expected[0, 0].numpy())
