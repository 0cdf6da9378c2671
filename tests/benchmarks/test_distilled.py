"""Run: .venv/bin/python -m pytest tests/benchmarks/test_distilled.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import _distilled
from benchmarks._distilled import (
    CLASSES,
    CLEAN,
    SIDE,
    WHOLE,
    Asked,
    Learner,
    labels_called,
    relabel_rows,
    small_set,
    student,
)
from benchmarks._effects import examples
from tasks.data import Examples
from tasks.teach.convnet import Convnet

PIXELS = SIDE * SIDE


@pytest.fixture(autouse=True)
def few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (80, SIDE, SIDE, 1), dtype=np.uint8)
    labels = np.arange(80, dtype=np.int32) % CLASSES

    def pictures(name: str = CLEAN) -> tuple[Examples, np.ndarray, np.ndarray]:
        return examples(images, labels_called(name, labels)), images[:20], labels[:20]

    monkeypatch.setattr(_distilled, "pictures", pictures)
    monkeypatch.setattr(_distilled, "FOLDER", tmp_path)
    monkeypatch.setattr(_distilled, "TEACHER", Convnet(width=4, batch_size=8, min_steps=2, max_steps=2))
    tiny = Convnet(width=4, batch_size=8, min_steps=2, max_steps=2)
    quick: dict[str, dict[str, object]] = {
        "matching": {"steps": 1},
        "statistics": {"steps": 1, "network": tiny},
        "compensator": {"steps": 1, "networks": (tiny,)},
    }
    for method, settings in quick.items():
        made = _distilled.METHODS[method].model_copy(update=settings)
        monkeypatch.setitem(_distilled.METHODS, method, made)
    torch.set_num_threads(1)


def learner(method: str, labels: str, steps: int = 2) -> Learner:
    return Learner(method, 2, labels, width=8, steps=steps, seed=0)


@pytest.mark.parametrize("method", sorted(set(_distilled.METHODS) - {"compensator"}))
def test_sets_of_every_kind_have_as_many_images_as_bytes_are_counted_for(method: str) -> None:
    small = small_set(method, 2, 0)
    assert small.images.shape == (2 * CLASSES, SIDE, SIDE, 1)
    assert small.labels.tolist() == np.repeat(np.arange(CLASSES), 2).tolist()
    found = student(learner(method, "hard"))
    assert found["image_bytes"] == 2 * CLASSES * PIXELS
    assert 0 <= found["accuracy"] <= 1


def test_a_compensator_s_images_are_stored_apart_from_what_is_added_to_them() -> None:
    small = small_set("compensator", 2, 0)
    assert small.images.shape == (2 * CLASSES, SIDE, SIDE, 1)  # one real image a class, and one made of it
    assert small.bytes == CLASSES * PIXELS + 2 * PIXELS
    assert np.allclose(small.static.sum(axis=1), 1, atol=1e-5)
    asked, static = (learner("compensator", labels) for labels in ("hard", "static"))
    assert student(static)["label_bytes"] == CLASSES * student(asked)["label_bytes"]


def test_the_bytes_of_labels_are_those_of_what_a_student_needs() -> None:
    hard, soft, asked = (
        student(learner("random", labels))["label_bytes"] for labels in ("hard", "soft", "asked")
    )
    assert hard == 2 * CLASSES * 6
    assert soft == CLASSES * hard
    assert asked == sum(tensor.nbytes for tensor in Asked().network.state_dict().values())


def test_a_piece_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    student(learner("random mosaics", "asked"))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(made) == 3  # teacher, set, student
    student(learner("random mosaics", "asked"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    student(learner("random mosaics", "asked", steps=3))
    assert len(list(tmp_path.iterdir())) == 4


def test_the_whole_set_is_a_student_of_its_own() -> None:
    assert student(learner(WHOLE, "hard"))["image_bytes"] == 80 * PIXELS


def test_sets_from_other_labels_are_made_of_the_rows_that_those_name() -> None:
    labels = np.full(80, -1, np.int32)
    labels[:20] = np.arange(20)[::-1] % CLASSES
    relabel_rows("given", labels)
    from_given, from_clean = small_set("random", 2, 0, "given"), small_set("random", 2, 0)
    rows, _, _ = _distilled.pictures()
    assert rows.images is not None
    first = {image.tobytes(): place for place, image in enumerate(rows.images)}
    places = [first[image.tobytes()] for image in from_given.images]
    assert sorted(places) == list(range(20))
    assert labels[places].tolist() == from_given.labels.tolist()
    assert not np.array_equal(from_given.images, from_clean.images)
