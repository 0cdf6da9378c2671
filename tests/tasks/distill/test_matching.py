"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_matching.py"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits

from tasks.data import Examples
from tasks.distill import Distilled
from tasks.distill.look import Look
from tasks.distill.matching import Matching
from tasks.distill.mosaic import encode
from tasks.distill.random import Random
from tasks.distill.recipe import train_and_score
from tests.tasks.distill.teachers import no_teachers

QUICK = Matching(per_class=3, steps=4, width=8, real_batch=16)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def examples(images: np.ndarray | None, n: int) -> Examples:
    keys = np.random.default_rng(7).integers(0, 2**64, n, dtype=np.uint64)
    return Examples(np.array([str(i) for i in range(n)], object), keys, np.zeros(n, np.int32), images)


def noise(n: int, shape: tuple[int, int, int] = (8, 8, 1)) -> Examples:
    return examples(np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8), n)


def images_of(distilled: Distilled) -> np.ndarray:
    assert distilled.images is not None
    return distilled.images


def test_images_start_from_different_rows_and_move() -> None:
    rows = noise(40)
    distilled = QUICK.distill(rows, no_teachers, 1, "cpu")
    start = [origin for (origin,) in distilled.origins]
    assert len(set(start)) == 3
    assert rows.images is not None
    assert images_of(distilled).shape == (3, 8, 8, 1)
    assert images_of(distilled).dtype == np.uint8
    assert not np.array_equal(images_of(distilled), rows.images[start])


def test_a_mosaic_starts_from_as_many_different_rows_as_it_has_tiles() -> None:
    rows = noise(40)
    still = QUICK.model_copy(update={"tiles": 2, "learning_rate": 1e-12})
    distilled = still.distill(rows, no_teachers, 1, "cpu")
    assert distilled.tiles == 2
    start = np.array(distilled.origins)
    assert start.shape == (3, 4)
    assert len(np.unique(start)) == 12
    assert rows.images is not None
    assert np.array_equal(images_of(distilled), encode(rows.images[start.ravel()], 2))
    moved = images_of(QUICK.model_copy(update={"tiles": 2}).distill(rows, no_teachers, 1, "cpu"))
    assert not np.array_equal(images_of(distilled), moved)


@pytest.mark.parametrize(("n", "images"), [(1, 1), (3, 1), (7, 1), (8, 2), (40, 3)])
def test_a_small_class_gives_fewer_mosaics(n: int, images: int) -> None:
    distilled = QUICK.model_copy(update={"tiles": 2}).distill(noise(n), no_teachers, 0, "cpu")
    assert images_of(distilled).shape == (images, 8, 8, 1)
    assert len({row for origin in distilled.origins for row in origin}) == min(n, 4 * images)


def test_pixels_survive_normalisation_when_the_steps_move_nothing() -> None:
    rows = noise(40, (9, 12, 3))
    assert rows.images is not None
    for method in (
        QUICK.model_copy(update={"learning_rate": 1e-12}),
        QUICK.model_copy(update={"learning_rate": 1e-12, "mean": (0.2, 0.5, 0.7), "std": (0.1, 0.2, 0.3)}),
    ):
        distilled = method.distill(rows, no_teachers, 1, "cpu")
        assert np.array_equal(images_of(distilled), rows.images[[origin for (origin,) in distilled.origins]])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (
        images_of(QUICK.distill(noise(40), no_teachers, seed, "cpu")) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_class_distilled_in_another_thread_changes_nothing() -> None:
    alone = [images_of(QUICK.distill(noise(n), no_teachers, n, "cpu")) for n in (30, 40, 50, 60)]
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        together = list(
            pool.map(lambda n: images_of(QUICK.distill(noise(n), no_teachers, n, "cpu")), (30, 40, 50, 60))
        )
    for expected, found in zip(alone, together, strict=True):
        assert np.array_equal(expected, found)


def test_the_process_wide_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    QUICK.distill(noise(20), no_teachers, 1, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_class_smaller_than_asked_gives_all_its_rows_once() -> None:
    assert sorted(QUICK.distill(noise(2), no_teachers, 0, "cpu").origins) == [[0], [1]]


def test_a_class_of_one_row_comes_back_unchanged() -> None:
    rows = noise(1)
    assert rows.images is not None
    assert np.array_equal(images_of(QUICK.distill(rows, no_teachers, 0, "cpu")), rows.images)


def test_a_class_of_one_colour_comes_back_unchanged() -> None:
    flat = np.full((6, 8, 8, 1), 77, np.uint8)
    assert (images_of(QUICK.distill(examples(flat, 6), no_teachers, 0, "cpu")) == 77).all()


def test_the_default_normalisation_is_the_class_s_own() -> None:
    rows = noise(50, (8, 8, 2))
    assert rows.images is not None
    mean, std = Matching()._normalisation(rows.images)
    assert np.allclose(mean, (rows.images / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(std, (rows.images / 255).std(axis=(0, 1, 2)))


def test_what_cannot_be_distilled_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="matching needs images"):
        QUICK.distill(examples(None, 3), no_teachers, 0, "cpu")
    with pytest.raises(ValueError, match=r"lower distill\.learning_rate"):
        QUICK.model_copy(update={"learning_rate": 1e30}).distill(noise(40), no_teachers, 0, "cpu")
    with pytest.raises(ValueError, match="8 pixels or more"):
        QUICK.distill(noise(3, (4, 4, 1)), no_teachers, 0, "cpu")
    with pytest.raises(ValueError, match="3 numbers, images have 1 channels"):
        Matching(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)).distill(noise(3), no_teachers, 0, "cpu")


@pytest.mark.parametrize(
    "wrong",
    [{"mean": (0.5,)}, {"mean": (0.5,), "std": (0.1, 0.1)}, {"steps": 0}, {"std": (0.0,), "mean": (0.5,)}],
)
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Matching(**wrong)


@pytest.mark.slow
def test_learnt_digits_teach_more_than_random_ones() -> None:
    """One image a class, the same recipe for both, three seeds: test accuracy on 797 digits."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None]
    gains = []
    for seed in range(3):
        accuracy = {}
        for method in (Random(per_class=1), Matching(per_class=1, steps=100)):
            small, labels = [], []
            for label in range(10):
                rows = np.flatnonzero(digits.target[:1000] == label)
                distilled = method.distill(examples(pixels[rows], len(rows)), no_teachers, seed, "cpu")
                chosen = pixels[rows[[origin for (origin,) in distilled.origins]]]
                small.append(chosen if distilled.images is None else distilled.images)
                labels += [label] * len(chosen)
            accuracy[method.kind] = train_and_score(
                np.concatenate(small),
                np.eye(10, dtype=np.float32)[labels],
                pixels[1000:],
                digits.target[1000:],
                width=32,
                steps=150,
                seed=seed,
                device="cpu",
                look=Look(),
            )
        gains.append(accuracy["matching"] - accuracy["random"])
    assert np.mean(gains) > 0.02
