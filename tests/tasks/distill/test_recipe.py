"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_recipe.py"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tasks.distill import recipe
from tasks.distill.look import Look
from tasks.distill.recipe import rate, train_and_score

QUICK: dict[str, Any] = {"width": 8, "steps": 60, "seed": 1, "device": "cpu", "look": Look()}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stripes(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures (n, 12, 12, 1) of upright and of lying stripes, and which."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    lines = np.where((np.arange(12) // 2) % 2, 200, 40)
    upright = np.broadcast_to(lines, (n, 12, 12))
    pictures = np.where(labels[:, None, None] == 0, upright, upright.transpose(0, 2, 1))
    noisy = pictures + random.normal(0, 20, pictures.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)[..., None], labels


def one_hot(labels: np.ndarray, k: int = 2) -> np.ndarray:
    rows: np.ndarray = np.eye(k, dtype=np.float32)[labels]
    return rows


def test_a_student_learns_what_the_set_shows_and_its_opposite_from_opposite_targets() -> None:
    images, labels = stripes(20)
    test, truth = stripes(60, seed=1)
    assert train_and_score(images, one_hot(labels), test, truth, **QUICK) > 0.95
    assert train_and_score(images, one_hot(1 - labels), test, truth, **QUICK) < 0.05


def test_a_teacher_that_is_asked_overrules_the_set_s_own_targets() -> None:
    images, labels = stripes(20)
    test, truth = stripes(60, seed=1)

    def ask(views: np.ndarray) -> np.ndarray:
        """Which way brightness changes more tells the stripes apart."""
        assert views.dtype == np.uint8
        across, down = (
            np.abs(np.diff(views.astype(float), axis=axis)).mean(axis=(1, 2, 3)) for axis in (2, 1)
        )
        return np.log(one_hot((down > across).astype(int)) * 0.98 + 0.01)

    wrong = one_hot(1 - labels)
    assert train_and_score(images, wrong, test, truth, **QUICK, ask=ask) > 0.95


def test_the_same_seed_gives_the_same_student_and_the_global_generator_is_left_alone() -> None:
    images, labels = stripes(10)
    before = torch.get_rng_state()

    def weights(seed: int) -> torch.Tensor:
        settings = {**QUICK, "steps": 3, "seed": seed}
        return recipe.train(images, one_hot(labels), **settings).weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_features_are_judged_by_the_perceptron() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = (random.normal(0, 1, (40, 5)) + 6 * labels[:, None]).astype(np.float32)
    assert train_and_score(features, one_hot(labels), features, labels, **{**QUICK, "steps": 200}) > 0.95


def test_nothing_to_learn_or_to_judge_by_is_nan() -> None:
    images, labels = stripes(4)
    assert math.isnan(train_and_score(images[:0], one_hot(labels[:0]), images, labels, **QUICK))
    assert math.isnan(train_and_score(images, one_hot(labels), images[:0], labels[:0], **QUICK))


def test_images_of_one_colour_are_survived() -> None:
    images, labels = np.full((4, 8, 8, 3), 9, np.uint8), np.arange(4) % 2
    assert 0 <= train_and_score(images, one_hot(labels), images, labels, **{**QUICK, "steps": 2}) <= 1


def test_the_rate_rises_then_falls_to_zero() -> None:
    shares = [rate(done) for done in np.linspace(0, 1, 101)]
    peak = int(np.argmax(shares))
    assert peak == 5
    assert shares[peak] == 1
    assert shares[-1] == pytest.approx(0)
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
