"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_compensator.py"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.data import State
from tasks.distill import networks
from tasks.distill.compensator import Compensator, groups_of, plus, real_rows
from tasks.distill.inversion import watched
from tests.tasks.distill.joint import SMALL, pictures

TWO = (SMALL, SMALL.model_copy(update={"width": 12}))
METHOD = Compensator(per_class=4, networks=TWO, steps=60, jitter=1)


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


@pytest.mark.parametrize(
    ("per_class", "classes", "expected"), [(10, 10, 7), (10, 100, 9), (50, 10, 35), (50, 100, 48)]
)
def test_compensators_are_paid_for_with_real_images(per_class: int, classes: int, expected: int) -> None:
    assert groups_of(per_class, classes, 4) == expected


def test_one_image_of_two_classes_still_has_a_group() -> None:
    assert groups_of(1, 2, 4) == 1


def test_a_sum_is_rounded_and_clipped_to_what_a_picture_can_have() -> None:
    images = np.array([0, 100, 250], np.uint8)
    assert plus(images, np.array([-3.0, 2.6, 9.0], np.float16)).tolist() == [0, 103, 255]


def test_a_group_is_one_row_of_every_class_and_a_small_class_repeats_its_own() -> None:
    rows = pictures(60)
    few = rows.take(np.flatnonzero(rows.labels != 3).tolist() + np.flatnonzero(rows.labels == 3)[:2].tolist())  # type: ignore[arg-type]
    drawn = real_rows(few, np.arange(10), 4, seed=0)
    assert drawn.shape == (4, 10)
    assert np.array_equal(few.labels[drawn], np.tile(np.arange(10), (4, 1)))
    assert len(set(drawn[:, 4])) == 4
    assert len(set(drawn[:, 3])) == 2


def test_nothing_added_gives_the_real_rows_over_and_over() -> None:
    rows, still = pictures(), METHOD.model_copy(update={"steps": 0})
    state = still.fit(rows, 1, "cpu")
    assert not state.arrays["added"].any()
    made = still.cut(state, 6)
    assert rows.images is not None
    assert [rows.labels[row] for [row] in made.origins] == [6] * 9  # 3 groups, each row and two sums
    assert np.array_equal(made.images, rows.images[[row for [row] in made.origins]])


def test_all_classes_share_what_is_added_and_a_class_gets_each_row_then_its_sums(fitted: State) -> None:
    rows = pictures().images
    assert rows is not None
    added = fitted.arrays["added"]
    assert added.shape == (2, 3, 8, 8, 1)
    assert added.dtype == np.float16
    for label in (0, 9):
        made = METHOD.cut(fitted, label)
        assert made.images is not None
        for group in range(3):
            real, *sums = made.images[3 * group : 3 * group + 3]
            [row] = made.origins[3 * group]
            assert made.origins[3 * group : 3 * group + 3] == [[row]] * 3
            assert np.array_equal(real, rows[row])
            for image, one in zip(sums, added[:, group], strict=True):
                assert np.array_equal(image, plus(rows[row], one))
                assert not np.array_equal(image, real)


def objective(state: State, number: int, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and distance of the statistics, by one network, of images in grey levels."""
    network = networks.networks_of(state, "cpu")[number]
    with torch.no_grad(), watched(network) as found:
        logits = network(torch.from_numpy(images))
        wrong = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
        return float(wrong), float(found.total())


def test_what_is_added_brings_the_statistics_of_its_group_nearer_and_spares_other_rows(fitted: State) -> None:
    """On ten classes little of it carries over to rows that it was not learnt for: much more than of the
    same grey levels in another order."""
    rows, mine = pictures(), fitted.arrays["rows"]
    images = rows.images
    assert images is not None
    others = [group for group in real_rows(rows, np.arange(10), 40, seed=9) if not np.isin(group, mine).any()]
    assert len(others) > 10

    def judged(number: int, group: np.ndarray, added: np.ndarray) -> tuple[float, float]:
        return objective(fitted, number, plus(images[group], added), rows.labels[group])

    for number, group in np.ndindex(2, 3):
        added = fitted.arrays["added"][number, group]
        before, after = (judged(number, mine[group], each) for each in (np.zeros_like(added), added))
        assert after[1] < 0.85 * before[1]
        assert after[0] < before[0] + 0.5
        shuffled = np.random.default_rng(0).permutation(added.ravel()).reshape(added.shape)
        elsewhere, noise = (
            np.mean([judged(number, one, u) for one in others], axis=0) for u in (added, shuffled)
        )
        assert elsewhere[1] < 0.75 * noise[1]
        assert elsewhere[0] < 0.8  # they stay in their classes; chance is 2.3


def test_a_class_of_fewer_rows_than_groups_gives_each_row_once() -> None:
    rows = pictures()
    few = rows.take((rows.labels != 3) | (np.cumsum(rows.labels == 3) <= 2))
    method = METHOD.model_copy(update={"steps": 1})
    made = method.cut(method.fit(few, 1, "cpu"), 3)
    assert len(made.origins) == 2 * 3
    assert sorted({row for [row] in made.origins}) == np.flatnonzero(few.labels == 3).tolist()


def test_one_class_is_enough() -> None:
    rows = pictures()
    sevens = rows.take(rows.labels == 7)
    method = METHOD.model_copy(update={"steps": 1})
    assert method.cut(method.fit(sevens, 1, "cpu"), 7).images.shape == (3, 8, 8, 1)  # type: ignore[union-attr]


def test_static_labels_are_the_softmax_of_the_mean_logits_over_the_temperature(fitted: State) -> None:
    rows = pictures(50)
    assert rows.images is not None
    each = [network(torch.from_numpy(rows.images)) for network in networks.networks_of(fitted, "cpu")]
    expected = torch.softmax(torch.stack(each).mean(dim=0) / METHOD.temperature, dim=1).detach().numpy()
    assert np.allclose(np.exp(METHOD.opinion(fitted, rows, 10, "cpu")), expected, atol=1e-5)


def test_the_same_rows_and_seed_give_the_same_bytes(fitted: State) -> None:
    again = METHOD.fit(pictures(), 1, "cpu")
    assert {name: array.tobytes() for name, array in again.arrays.items()} == {
        name: array.tobytes() for name, array in fitted.arrays.items()
    }


def test_rows_without_images_are_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="use herding or random"):
        METHOD.fit(replace(pictures(), images=None), 1, "cpu")
