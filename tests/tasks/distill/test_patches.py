"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_patches.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.data import Examples
from tasks.distill.mosaic import encode
from tasks.distill.patches import Patches

WHOLE = Patches(per_class=3, tiles=1, crops=1, least_area=1.0)


def examples(images: np.ndarray | None, n: int, label: int = 1) -> Examples:
    keys = np.random.default_rng(7).integers(0, 2**64, n, dtype=np.uint64)
    ids = np.array([str(i) for i in range(n)], object)
    return Examples(ids, keys, np.full(n, label, np.int32), images=images)


def constant(n: int, side: int = 8) -> Examples:
    """Row i is of brightness 5 * i."""
    return examples(np.repeat(5 * np.arange(n, dtype=np.uint8), side * side).reshape(n, side, side, 1), n)


def noise(n: int, side: int = 8) -> Examples:
    return examples(np.random.default_rng(0).integers(0, 256, (n, side, side, 1), dtype=np.uint8), n)


def brightness(shown: Examples) -> np.ndarray:
    """An observer that calls bright pictures class 1."""
    assert shown.images is not None
    share = (shown.images.mean(axis=(1, 2, 3)) + 1) / 257
    said: np.ndarray = np.log(np.stack([1 - share, share], axis=1)).astype(np.float32)
    return said


def test_the_pictures_that_are_recognised_best_are_taken_best_first() -> None:
    made = WHOLE.distill(constant(20), brightness, 0, "cpu")
    assert made.origins == [[19], [18], [17]]
    assert made.images is not None
    assert made.images[:, 0, 0, 0].tolist() == [95, 90, 85]


def test_realism_is_that_of_the_class_decided_on() -> None:
    dark = constant(20)
    dark = examples(dark.images, 20, label=0)
    assert WHOLE.distill(dark, brightness, 0, "cpu").origins == [[0], [1], [2]]


def test_a_mosaic_mixes_ranks_evenly_row_by_row() -> None:
    method = WHOLE.model_copy(update={"tiles": 2})
    made = method.distill(constant(20), brightness, 0, "cpu")
    ranked = list(range(19, 7, -1))
    assert made.origins == [[ranked[cell * 3 + image] for cell in range(4)] for image in range(3)]
    assert made.tiles == 2
    assert made.images is not None
    for image, origin in zip(made.images[..., 0], made.origins, strict=True):
        assert image[::4, ::4].ravel().tolist() == [5 * row for row in origin]


def test_an_image_keeps_its_best_crop() -> None:
    """Half of each picture is white: of many crops the best one is the whitest."""
    images = np.zeros((6, 16, 16, 1), np.uint8)
    images[:, :, 8:] = 255
    method = Patches(per_class=6, tiles=1, crops=1, least_area=0.25)
    one, many = (
        method.model_copy(update={"crops": crops}).distill(examples(images, 6), brightness, 0, "cpu").images
        for crops in (1, 30)
    )
    assert one is not None
    assert many is not None
    assert many.mean() > 1.3 * one.mean()


def test_crops_are_judged_as_a_student_will_see_them() -> None:
    seen: list[np.ndarray] = []

    def observer(shown: Examples) -> np.ndarray:
        assert shown.images is not None
        assert shown.embedding is None
        seen.append(shown.images)
        return brightness(shown)

    rows = noise(8)
    method = Patches(per_class=2, tiles=2, crops=1, least_area=1.0)
    method.distill(rows, observer, 0, "cpu")
    assert rows.images is not None
    sharpness = [np.abs(np.diff(images.astype(int), axis=2)).mean() for images in (seen[0], rows.images)]
    assert sharpness[0] < 0.6 * sharpness[1]


def test_the_teachers_are_asked_under_the_keys_of_the_rows_and_of_no_more_than_candidates() -> None:
    rows, asked = noise(50), []

    def observer(shown: Examples) -> np.ndarray:
        asked.append(shown.keys)
        return brightness(shown)

    Patches(per_class=1, tiles=2, candidates=10, crops=3).distill(rows, observer, 0, "cpu")
    (keys,) = asked
    assert len(keys) == 30
    assert len(np.unique(keys)) == 10
    assert np.isin(keys, rows.keys).all()


def test_equal_realism_is_decided_by_the_rows_and_the_same_seed_gives_the_same_bytes() -> None:
    def indifferent(shown: Examples) -> np.ndarray:
        return np.zeros((len(shown), 2), np.float32)

    method = Patches(per_class=3)
    first, again, other = (method.distill(noise(40), indifferent, seed, "cpu") for seed in (1, 1, 2))
    assert first.origins == again.origins != other.origins
    assert first.images is not None
    assert again.images is not None
    assert np.array_equal(first.images, again.images)
    order = np.random.default_rng(1).permutation(40)
    shuffled = method.distill(noise(40).take(order), indifferent, 1, "cpu")
    assert [[int(order[row]) for row in origin] for origin in shuffled.origins] == first.origins


def test_whole_pictures_come_back_as_they_are() -> None:
    rows = noise(12)
    made = Patches(per_class=2, tiles=2, crops=1, least_area=1.0).distill(rows, brightness, 0, "cpu")
    assert rows.images is not None
    assert made.images is not None
    assert np.array_equal(made.images, encode(rows.images[np.ravel(made.origins)], 2))


@pytest.mark.parametrize(("n", "images"), [(1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (40, 3)])
def test_a_small_class_gives_fewer_mosaics_and_one_smaller_than_a_mosaic_repeats_rows(
    n: int, images: int
) -> None:
    made = Patches(per_class=3).distill(noise(n), brightness, 0, "cpu")
    assert len(made.origins) == images
    assert {len(origin) for origin in made.origins} == {4}
    assert len({row for origin in made.origins for row in origin}) == min(n, 4 * images)


def test_colour_and_sides_that_do_not_divide_are_kept() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 13, 3), dtype=np.uint8)
    made = Patches(per_class=2, tiles=2).distill(examples(images, 30), brightness, 0, "cpu")
    assert made.images is not None
    assert made.images.shape == (2, 9, 13, 3)


def test_rows_without_images_are_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="patches needs images"):
        Patches().distill(examples(None, 3), brightness, 0, "cpu")


@pytest.mark.parametrize("wrong", [{"tiles": 5}, {"crops": 0}, {"least_area": 0.0}, {"candidates": 0}])
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Patches(**wrong)
