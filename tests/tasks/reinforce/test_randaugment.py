"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_randaugment.py"""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tasks.reinforce import randaugment
from tasks.reinforce.randaugment import OPERATIONS, SIGNED, apply, magnitudes

NEAREST, AFFINE = Image.Resampling.NEAREST, Image.Transform.AFFINE


def noise(m: int, h: int, w: int, c: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (m, h, w, c), dtype=np.uint8)


def picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def pixels(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(image).reshape(shape)


def ours(images: np.ndarray, name: str, magnitude: float) -> np.ndarray:
    m = len(images)
    return apply(images, np.full(m, OPERATIONS.index(name)), np.full(m, magnitude, np.float32))


def pillows(image: np.ndarray, name: str, magnitude: float) -> np.ndarray:
    """What Pillow makes of one image, by torchvision's reading of the magnitude."""
    shown, value = picture(image), float(np.float32(magnitude))
    enhance = {"brightness": "Brightness", "color": "Color", "contrast": "Contrast", "sharpness": "Sharpness"}
    if name in enhance:
        changed = getattr(ImageEnhance, enhance[name])(shown).enhance(1 + value)
    elif name == "rotate":
        changed = shown.rotate(value, NEAREST)
    elif name.startswith(("shear", "translate")):
        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        place = {"shear_x": 1, "shear_y": 3, "translate_x": 2, "translate_y": 5}[name]
        matrix[place] = -value if name.startswith("translate") else value
        changed = shown.transform(shown.size, AFFINE, matrix, NEAREST)
    elif name == "posterize":
        changed = ImageOps.posterize(shown, int(value))
    elif name == "solarize":
        changed = ImageOps.solarize(shown, int(value))
    else:
        changed = getattr(ImageOps, name)(shown)
    return pixels(changed, image.shape)


EXACT = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "posterize", "solarize", "equalize")
NEARLY = ("brightness", "color", "contrast", "sharpness", "autocontrast")


@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 33, 3)])
@pytest.mark.parametrize("level", [3, 9, 17, 30])
@pytest.mark.parametrize("name", [*EXACT, *NEARLY])
def test_it_agrees_with_pillow(name: str, level: int, shape: tuple[int, int, int]) -> None:
    images = noise(3, *shape) // 2 + 40  # leaves autocontrast something to stretch
    size = magnitudes(level, *shape[:2])[OPERATIONS.index(name)]
    for sign in (1, -1) if SIGNED[OPERATIONS.index(name)] else (1,):
        found = ours(images, name, sign * size).astype(int)
        expected = np.stack([pillows(image, name, sign * size) for image in images])
        assert np.abs(found - expected).max() <= (0 if name in EXACT else 1)


def test_magnitude_nine_is_what_torchvision_makes_of_it() -> None:
    nine = dict(zip(OPERATIONS, magnitudes(9, 224, 331).tolist(), strict=True))
    assert nine["shear_x"] == nine["shear_y"] == pytest.approx(0.09)
    assert (nine["translate_x"], nine["translate_y"]) == (45, 30)  # int(150 / 331 * side * 0.3)
    assert nine["rotate"] == pytest.approx(9)
    assert nine["brightness"] == nine["sharpness"] == pytest.approx(0.27)
    assert nine["posterize"] == 7  # 8 - round(9 / 7.5)
    assert nine["solarize"] == 179  # the least integer that reaches 178.5
    assert nine["identity"] == nine["autocontrast"] == nine["equalize"] == 0


def test_only_operations_with_two_directions_have_a_sign() -> None:
    unsigned = {"identity", "posterize", "solarize", "autocontrast", "equalize"}
    assert {name for name, signed in zip(OPERATIONS, SIGNED, strict=True) if not signed} == unsigned


def test_the_sine_is_right_to_the_last_digits() -> None:
    degrees = np.linspace(-90, 90, 181)
    sine, cosine = randaugment.sine_and_cosine(degrees)
    assert np.abs(sine - [math.sin(math.radians(d)) for d in degrees]).max() < 1e-15
    assert np.abs(cosine - [math.cos(math.radians(d)) for d in degrees]).max() < 1e-15


def test_a_translation_moves_to_the_right_and_leaves_black() -> None:
    line = np.array([1, 2, 3, 4], np.uint8).reshape(1, 1, 4, 1)
    assert ours(line, "translate_x", 1.0).ravel().tolist() == [0, 1, 2, 3]
    assert ours(line, "translate_x", -2.0).ravel().tolist() == [3, 4, 0, 0]


def test_solarize_inverts_from_the_threshold_up() -> None:
    line = np.array([100, 178, 179, 255], np.uint8).reshape(1, 1, 4, 1)
    assert ours(line, "solarize", 179).ravel().tolist() == [100, 178, 76, 0]


def test_posterize_keeps_the_highest_bits() -> None:
    line = np.array([0b10110111, 0b00001111], np.uint8).reshape(1, 1, 2, 1)
    assert ours(line, "posterize", 4).ravel().tolist() == [0b10110000, 0]
    assert ours(line, "posterize", 8).ravel().tolist() == [0b10110111, 0b00001111]


def test_images_of_one_value_and_of_a_few_pixels_come_through_every_operation() -> None:
    for images in (np.full((2, 5, 5, 3), 9, np.uint8), noise(2, 1, 1, 1), noise(2, 2, 4, 3)):
        for name, size in zip(OPERATIONS, magnitudes(9, *images.shape[1:3]), strict=True):
            assert ours(images, name, size).shape == images.shape
        assert np.array_equal(ours(images[:1, :, :, :1] * 0 + 9, "equalize", 0), images[:1, :, :, :1] * 0 + 9)


def test_grey_images_have_no_colour_to_change() -> None:
    grey = noise(2, 6, 6, 1)
    assert np.array_equal(ours(grey, "color", -0.9), grey)


def test_each_image_gets_its_own_operation_and_none_sees_the_others() -> None:
    images = noise(70, 12, 10, 3)
    operations = np.arange(70) % 14
    size = magnitudes(9, 12, 10)[operations] * np.where((np.arange(70) // 14) % 2, -1, 1)
    size = np.where(SIGNED[operations], size, np.abs(size)).astype(np.float32)
    whole = apply(images, operations, size)
    for i in range(70):
        assert np.array_equal(apply(images[i : i + 1], operations[i : i + 1], size[i : i + 1])[0], whole[i])
    assert np.array_equal(images, noise(70, 12, 10, 3))  # the originals are left alone
