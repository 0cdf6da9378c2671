"""Planted wrong labels. Run: .venv/bin/python -m pytest tests/tasks/report/test_planted_flips.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.data import Annotations, Labelled, SoftLabels
from tasks.detect import Window
from tasks.report.planted_flips import PlantedFlips, confusions_of, drawn_from, said_otherwise
from tests.tasks.detect.rows import labelled

AUDIT = PlantedFlips(share=0.2, noise=("uniform", "confusion", "annotator"))


def rows(n: int = 5000, k: int = 4) -> Labelled:
    """Labels of four classes, teachers that confuse class 0 with class 1 and nothing else."""
    random = np.random.default_rng(0)
    labels = random.integers(k, size=n).astype(np.int32)
    probs = np.full((n, k), 0.0)
    probs[np.arange(n), labels] = 1.0
    probs[labels == 0] = [0.6, 0.4, 0.0, 0.0]
    ids = np.array([f"r{i}" for i in range(n)], dtype=object)
    found = labelled(SoftLabels.from_pred_probs(ids, labels, probs, k))
    return replace(found, keys=random.integers(1 << 63, size=n).astype(np.uint64))


@pytest.mark.parametrize("noise", ["uniform", "confusion"])
def test_the_asked_share_gets_another_label_and_all_else_stays(noise: str) -> None:
    real = rows()
    shadow = AUDIT.plant(real, noise, confusions_of(Window.of(real)), seed=3)
    changed = shadow.labels != real.labels
    assert changed.mean() == pytest.approx(0.2, abs=0.02)
    assert (shadow.labels >= 0).all()
    assert (shadow.labels < 4).all()
    assert shadow.ids is real.ids
    np.testing.assert_allclose(shadow.soft.pred_probs(), real.soft.pred_probs(), atol=1e-4)
    given = shadow.soft.pred_probs()[np.arange(5000), shadow.labels]
    np.testing.assert_allclose(shadow.soft.given_weight / 32767, given, atol=1e-4)


def test_confusion_plants_what_teachers_confuse_and_uniform_does_not_care() -> None:
    real = rows()
    confusions = confusions_of(Window.of(real))
    moved = {}
    for noise in ("confusion", "uniform"):
        shadow = AUDIT.plant(real, noise, confusions, seed=3)
        changed = (shadow.labels != real.labels) & (real.labels == 0)
        moved[noise] = np.bincount(shadow.labels[changed], minlength=4) / changed.sum()
    assert moved["confusion"].tolist() == [0, 1, 0, 0]
    assert moved["uniform"][1:] == pytest.approx([1 / 3] * 3, abs=0.08)


def test_a_class_that_nobody_confuses_is_planted_as_any_other() -> None:
    confusions = confusions_of(Window.of(rows()))
    assert confusions[0, 1] > 0
    assert confusions[2].tolist() == [1, 1, 0, 1]


def test_annotators_plant_what_they_said_and_only_where_they_disagreed() -> None:
    real = rows(6).take(np.arange(6))
    given = real.labels
    said = np.stack([given, (given + 1) % 4, (given + 2) % 4], axis=1)
    said[3:] = given[3:, None]
    annotations = Annotations(
        real.ids, np.full(6, 3, np.int32), np.array(["a", "b", "c"] * 6, dtype=object), said.ravel()
    )
    assert said_otherwise(annotations, given).tolist() == [*((given[:3] + 1) % 4), -1, -1, -1]
    everybody = PlantedFlips(share=0.5, noise=("annotator",))
    shadow = everybody.plant(replace(real, annotations=annotations), "annotator", np.ones((4, 4)), seed=0)
    changed = shadow.labels != given
    assert not changed[3:].any()
    assert (shadow.labels[changed] == (given[changed] + 1) % 4).all()


def test_what_is_planted_follows_from_the_row_alone() -> None:
    real = rows(300)
    confusions = confusions_of(Window.of(real))
    whole = AUDIT.plant(real, "confusion", confusions, seed=3).labels
    parts = [
        AUDIT.plant(real.take(np.arange(a, b)), "confusion", confusions, seed=3).labels
        for a, b in [(0, 1), (1, 300)]
    ]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert AUDIT.plant(real, "confusion", confusions, seed=4).labels.tolist() != whole.tolist()


def test_counts_of_the_window_do_not_depend_on_its_runs() -> None:
    real = rows(300)
    dealt = Window.of(*(real.take(np.arange(a, b)) for a, b in [(200, 300), (0, 200)]))
    assert confusions_of(dealt).tobytes() == confusions_of(Window.of(real)).tobytes()


def test_rows_without_a_label_get_none_and_a_single_class_has_no_other() -> None:
    real = rows(50)
    blank = replace(real, soft=replace(real.soft, labels=np.full(50, -1, np.int32)))
    planted = AUDIT.plant(blank, "uniform", np.ones((4, 4)), seed=0)
    assert planted.labels.tolist() == [-1] * 50
    one = labelled(SoftLabels.from_pred_probs(real.ids, np.zeros(50, np.int32), np.ones((50, 1)), 1))
    assert AUDIT.plant(one, "uniform", np.ones((1, 1)), seed=0).labels.tolist() == [0] * 50


def test_a_draw_by_hand() -> None:
    weights = np.array([[0.0, 1.0, 3.0]])
    drawn = drawn_from(weights, np.zeros(3, np.int32), np.array([0.0, 0.24, 0.26]))
    assert drawn.tolist() == [1, 1, 2]


def test_what_was_recorded_in_training_says_nothing_of_planted_labels() -> None:
    real = replace(rows(20), dynamics=np.ones((20, 2), np.float32))
    shadow = AUDIT.plant(real, "uniform", np.ones((4, 4)), seed=0)
    assert shadow.dynamics is not None
    assert np.isnan(shadow.dynamics).all()
