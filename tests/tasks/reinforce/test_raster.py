"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_raster.py"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tasks.reinforce import raster


def noise(m: int, h: int, w: int, c: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (m, h, w, c), dtype=np.uint8)


def resized(images: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    box = (np.full(len(images), value) for value in (top, left, height, width))
    return raster.crop_and_resize(images, *box)


def test_two_pixels_stretched_to_four_are_three_to_one_mixtures() -> None:
    line = np.array([0, 0, 100, 200], np.uint8).reshape(1, 1, 4, 1)
    # centres of the four outputs lie at -0.25, 0.25, 0.75 and 1.25 of the box; outside repeats
    assert resized(line, 0, 2, 1, 2).ravel().tolist() == [100, 125, 175, 200]


def test_the_whole_image_comes_back_unchanged() -> None:
    images = noise(3, 9, 13, 3)
    assert np.array_equal(resized(images, 0, 0, 9, 13), images)


def test_a_box_of_one_pixel_fills_the_image() -> None:
    images = noise(2, 8, 8, 1)
    expected = np.broadcast_to(images[:, 3:4, 5:6], images.shape)
    assert np.array_equal(resized(images, 3, 5, 1, 1), expected)


@pytest.mark.parametrize("box", [(0, 0, 20, 28), (3, 5, 17, 9), (27, 0, 1, 28), (1, 2, 26, 25)])
def test_it_agrees_with_torchs_bilinear_to_one_grey_level(box: tuple[int, int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    images = noise(4, 28, 28, 3)
    top, left, height, width = box
    crop = torch.from_numpy(images[:, top : top + height, left : left + width]).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(crop, (28, 28), mode="bilinear", align_corners=False)
    error = np.abs(resized(images, *box) - expected.permute(0, 2, 3, 1).numpy())
    assert error.max() < 0.75  # rounding gives 0.5; weights of 11 bits up to 0.12 more


@pytest.mark.parametrize("factor", [0.0, 0.37, 0.8, 1.0, 1.3, 2.0])
def test_colour_agrees_with_pillow_to_one_grey_level(factor: float) -> None:
    images = noise(1, 16, 16, 3)
    picture = Image.fromarray(images[0])
    for ours, theirs in (
        (raster.brightness, ImageEnhance.Brightness),
        (raster.contrast, ImageEnhance.Contrast),
        (raster.saturation, ImageEnhance.Color),
    ):
        expected = np.asarray(theirs(picture).enhance(factor)).astype(int)
        # Pillow cuts the fraction where raster rounds it
        assert np.abs(ours(images, np.array([factor]))[0] - expected).max() <= 1


def test_a_factor_of_one_changes_nothing() -> None:
    images, one = noise(2, 8, 8, 3), np.ones(2, np.float32)
    for change in (raster.brightness, raster.contrast, raster.saturation):
        assert np.array_equal(change(images, one), images)


def test_contrast_zero_leaves_each_image_its_own_mean_grey() -> None:
    images = np.array([[[0], [3]], [[10], [11]]], np.uint8).reshape(2, 1, 2, 1)
    flat = raster.contrast(images, np.zeros(2))
    assert flat.ravel().tolist() == [2, 2, 11, 11]  # 1.5 and 10.5, half up


def test_brightness_is_clipped_at_white() -> None:
    assert raster.brightness(np.full((1, 1, 1, 1), 200, np.uint8), np.array([1.5])).item() == 255
