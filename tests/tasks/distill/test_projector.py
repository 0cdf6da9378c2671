"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_projector.py"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from storage import states
from tasks.data import Examples, State
from tasks.distill import projection
from tasks.distill.look import Look
from tasks.distill.projection import Network, asker, fit, key, pixels_of, started, views_of
from tasks.distill.projector import Projector, answers
from tests.tasks.distill import joint

SHAPE = (16, 16, 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(n: int = 600) -> Examples:
    """Of twice the side, so that more than one position a filter is left."""
    rows = joint.pictures(n)
    assert rows.images is not None
    return replace(rows, images=rows.images.repeat(2, axis=1).repeat(2, axis=2))


def images_of(rows: Examples) -> np.ndarray:
    assert rows.images is not None
    return rows.images


def planted(rank: int, size: float = 4.0) -> Network:
    """A teacher that is the encoder with a change of some rank, and a head of its own."""
    rows, model = pictures(), Network(SHAPE, 10, 8, 8)
    started(images_of(rows), rows.labels, model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in model.stored.items():
            if name.endswith(" up"):
                value[:, :rank].normal_(0, size / rank**0.5, generator=generator)
    return model.requires_grad_(False)


def said_by(model: Network, views: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        said: np.ndarray = F.log_softmax(model(pixels_of(views)), dim=1).numpy()
    return said


def learnt(teacher: Network, rank: int, steps: int) -> dict[str, np.ndarray]:
    rows = pictures()
    return fit(
        images_of(rows),
        rows.labels,
        lambda views, _: said_by(teacher, views),
        classes=10,
        width=8,
        rank=rank,
        steps=steps,
        look=Look(),
        seed=1,
        device="cpu",
    )


def divergence(teacher: Network, stored: dict[str, np.ndarray]) -> float:
    """KL of what is said from what the teacher says, of rows that neither fit saw."""
    views = images_of(pictures(1000))[600:]
    wanted = said_by(teacher, views)
    return float((np.exp(wanted) * (wanted - asker(stored, SHAPE, "cpu")(views))).sum(axis=1).mean())


def test_before_any_step_it_is_the_frozen_encoder_and_a_head_of_class_means() -> None:
    rows, model = pictures(), Network(SHAPE, 10, 8, 4)
    stored = learnt(planted(1), rank=4, steps=0)
    pixels = pixels_of(images_of(rows))
    seen = (pixels - pixels.mean()) / pixels.std(correction=0)
    with torch.no_grad():
        features = F.normalize(model.encoder(seen))
        means = torch.stack([features[rows.labels == label].mean(dim=0) for label in range(10)])
        expected = F.log_softmax(10 * features @ F.normalize(means).T, dim=1).numpy()
    assert np.allclose(asker(stored, SHAPE, "cpu")(images_of(rows)), expected, atol=0.02)  # float16
    right = (expected.argmax(axis=1) == rows.labels).mean()
    assert right > 0.7


def test_it_learns_to_say_what_a_teacher_within_its_reach_says_and_more_rank_reaches_further() -> None:
    teacher = planted(2)
    before, one, four = (
        divergence(teacher, learnt(teacher, rank, steps)) for rank, steps in ((4, 0), (1, 300), (4, 300))
    )
    assert four < before / 4
    assert four < one


def test_the_encoder_is_not_stored_and_its_number_gives_it_again() -> None:
    first, again = Network(SHAPE, 10, 8, 2), Network(SHAPE, 10, 8, 2)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, again.encoder.state_dict()[name])
    stored = learnt(planted(1), rank=2, steps=2)
    convolutions = (8, 9), (8, 72), (8, 72)
    low = sum(2 * (o + i) for o, i in convolutions)
    beside = 3 * 3 * 8 + 2  # a bias, and a norm's two, of each filter; mean and scale of the pixels
    assert sum(array.size for array in stored.values()) == low + beside + 10 * 8 * 4 + 10
    assert {array.dtype for array in stored.values()} == {np.dtype(np.float16)}


def test_the_file_gives_the_same_answers_and_is_hardly_longer_than_its_numbers() -> None:
    stored = learnt(planted(1), rank=2, steps=2)
    info = {"shape": list(SHAPE)}
    data = states.to_bytes(stored, info)
    assert len(data) < sum(array.nbytes for array in stored.values()) + 4096
    views = images_of(pictures(20))
    read = State(*states.from_bytes(data, "file"))
    assert np.array_equal(answers(read)(views), asker(stored, SHAPE, "cpu")(views))


def test_answers_are_distributions_also_of_no_view_and_of_more_than_one_batch() -> None:
    said = asker(learnt(planted(1), rank=2, steps=1), SHAPE, "cpu")
    many = images_of(pictures(projection.JUDGED_AT_ONCE + 3))
    assert said(many).shape == (projection.JUDGED_AT_ONCE + 3, 10)
    assert np.allclose(np.exp(said(many)).sum(axis=1), 1, atol=1e-5)
    assert said(many[:0]).shape == (0, 10)


def test_a_class_without_rows_has_no_start_and_does_no_harm() -> None:
    rows = pictures()
    model = started(images_of(rows), np.minimum(rows.labels, 8), Network(SHAPE, 10, 8, 2))
    assert not model.stored["head"][9].any()
    assert model.stored["head"][:9].norm(dim=1).tolist() == pytest.approx([10.0] * 9)


def test_views_go_by_the_number_of_one_of_their_images() -> None:
    flat = np.repeat(np.arange(20, dtype=np.uint8) * 12, 256).reshape(20, *SHAPE)
    views, rows = views_of(flat, 200, Look(), torch.Generator().manual_seed(0))
    assert views.shape == (200, *SHAPE)
    assert views.dtype == np.uint8
    middles, own = views[:, 8, 8, 0].astype(float), flat[rows, 0, 0, 0].astype(float)
    assert np.corrcoef(middles, own)[0, 1] > 0.5


def test_the_teacher_is_asked_of_views_under_the_keys_of_their_rows_and_the_same_seed_repeats() -> None:
    rows, asked = pictures(50), []

    def ask(views: Examples) -> np.ndarray:
        asked.append(views)
        return np.full((len(views), 10), -np.log(10), np.float32)

    method = Projector(rank=2, width=8, steps=40)
    first, again = (method.fit(rows, ask, 10, 1, "cpu") for _ in range(2))
    assert [len(views) for views in asked] == [32 * 64, 8 * 64] * 2
    number = {key: row for row, key in enumerate(rows.keys.tolist())}
    for views in asked:
        places = [number[key] for key in views.keys.tolist()]
        assert np.array_equal(views.labels, rows.labels[places])
        assert views.images is not None
        assert views.embedding is None
    for name, array in first.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes(), name
    assert first.arrays[key("blocks.0.0.weight", "up")].any()
    said = answers(first)(images_of(rows))
    assert np.abs(np.exp(said) - 0.1).mean() < np.abs(np.exp(start(rows)) - 0.1).mean()


def start(rows: Examples) -> np.ndarray:
    """What is said before any step."""
    nobody = Projector(rank=2, width=8, steps=0)
    return answers(nobody.fit(rows, lambda views: np.zeros((len(views), 10)), 10, 1, "cpu"))(images_of(rows))
