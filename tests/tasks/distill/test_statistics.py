"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_statistics.py"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.data import State
from tasks.distill import networks
from tasks.distill.inversion import watched
from tasks.distill.statistics import Statistics
from tests.tasks.distill.joint import SMALL, pictures

METHOD = Statistics(per_class=4, network=SMALL, steps=150, batch_size=20, jitter=1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def fitted() -> State:
    torch.set_num_threads(1)
    return METHOD.fit(pictures(), 1, "cpu")


def far(state: State, images: np.ndarray) -> float:
    """How far a batch (n, h, w, c) uint8 is from what the network keeps."""
    [network] = networks.networks_of(state, "cpu")
    with torch.no_grad(), watched(network) as found:
        network(torch.from_numpy(images))
        return float(found.total())


def test_the_network_knows_every_image_and_its_statistics_are_near_those_of_the_rows(fitted: State) -> None:
    made = fitted.arrays["made"]
    said = networks.mean_logits(fitted, made.reshape(-1, 8, 8, 1), "cpu").argmax(axis=1)
    assert (said == np.tile(np.arange(10), 4)).mean() >= 0.99
    rows = pictures().images
    assert rows is not None
    noise = (
        np.random.default_rng(0).normal(rows.mean(), rows.std(), (20, 8, 8, 1)).clip(0, 255).astype(np.uint8)
    )
    assert far(fitted, made[:2].reshape(-1, 8, 8, 1)) < far(fitted, noise) / 5


def test_without_the_statistics_images_are_farther_from_the_rows(fitted: State) -> None:
    free = METHOD.model_copy(update={"weight": 0.0}).fit(pictures(), 1, "cpu")
    batches = [state.arrays["made"][:2].reshape(-1, 8, 8, 1) for state in (fitted, free)]
    assert far(fitted, batches[0]) < far(fitted, batches[1]) / 2


def test_a_class_is_cut_out_of_all_and_is_of_no_row(fitted: State) -> None:
    made = METHOD.cut(fitted, 7)
    assert made.origins == [[], [], [], []]
    assert made.images is not None
    assert made.images.dtype == np.uint8
    assert np.array_equal(made.images, fitted.arrays["made"][:, 7])


def test_images_are_learnt_in_batches_of_all_classes_each_from_noise_of_its_own(fitted: State) -> None:
    half = METHOD.model_copy(update={"per_class": 2})  # one batch of twenty
    assert np.array_equal(half.fit(pictures(), 1, "cpu").arrays["made"], fitted.arrays["made"][:2])
    images = fitted.arrays["made"].reshape(-1, 64)
    assert len(np.unique(images, axis=0)) == 40


def test_classes_that_have_no_row_are_left_out_and_a_batch_holds_every_class_that_has() -> None:
    rows = pictures()
    some = rows.take(np.isin(rows.labels, (2, 5, 9)))
    method = METHOD.model_copy(update={"per_class": 2, "steps": 2, "batch_size": 1})
    state = method.fit(some, 1, "cpu")
    assert state.arrays["made"].shape == (2, 3, 8, 8, 1)
    assert np.array_equal(method.cut(state, 5).images, state.arrays["made"][:, 1])


def test_one_class_and_one_row_are_enough() -> None:
    one = pictures().take(np.array([3]))
    state = METHOD.model_copy(update={"steps": 2}).fit(one, 1, "cpu")
    assert METHOD.cut(state, int(one.labels[0])).images.shape == (4, 8, 8, 1)  # type: ignore[union-attr]


def test_static_labels_are_the_networks_and_softer_at_a_higher_temperature(fitted: State) -> None:
    rows = pictures()
    said = METHOD.opinion(fitted, rows, 12, "cpu")
    assert said.shape == (600, 12)
    assert np.allclose(np.exp(said).sum(axis=1), 1, atol=1e-5)
    assert (said.argmax(axis=1) == rows.labels).mean() > 0.9
    assert (np.exp(said[:, 10:]) < 2e-6).all()  # classes that the network never saw
    softer = METHOD.model_copy(update={"temperature": 8.0}).opinion(fitted, rows, 12, "cpu")
    assert np.array_equal(softer.argmax(axis=1), said.argmax(axis=1))
    assert softer.max(axis=1).mean() < said.max(axis=1).mean()
    assert np.array_equal(METHOD.opinion(fitted, rows.take(np.arange(3)), 12, "cpu"), said[:3])


def test_rows_without_images_are_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="use herding or random"):
        METHOD.fit(replace(pictures(), images=None), 1, "cpu")
