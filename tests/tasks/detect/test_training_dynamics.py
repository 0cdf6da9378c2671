"""AUM and forgetting. Run: .venv/bin/python -m pytest tests/tasks/detect/test_training_dynamics.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tasks.data import Issues, Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.training_dynamics import TrainingDynamics
from tasks.teach.convnet import Convnet
from tasks.teach.dynamics import DYNAMICS, MARKS, marks_of
from tests.tasks.detect.rows import labelled
from tests.tasks.teach.examples import digits


def rows_of(labels: list[int], area: list[float], forgotten: list[float] | None = None) -> Labelled:
    n = len(labels)
    pred_probs = np.tile([0.2, 0.5, 0.3], (n, 1))
    ids = np.array([f"row-{i}" for i in range(n)], dtype=object)
    soft = SoftLabels.from_pred_probs(ids, np.array(labels, np.int32).reshape(n), pred_probs, 3)
    dynamics = np.stack([area, forgotten or [0] * n], axis=1).astype(np.float32)
    return labelled(soft, dynamics=dynamics)


def judge(rows: Labelled, detector: TrainingDynamics | None = None) -> Issues:
    detector, window = detector or TrainingDynamics(), Window.of(rows)
    return detector.apply(rows, detector.fit(window), window)


def test_a_label_that_lost_on_the_average_is_flagged_and_the_likeliest_other_class_suggested() -> None:
    found = judge(rows_of([1, 1, 0, 2], [-1.0, 0.0, np.log(3), -0.01]))
    np.testing.assert_allclose(found.score, [1 / (1 + np.e), 0.5, 0.75, 0.4975], rtol=1e-6)
    assert found.is_issue.tolist() == [True, False, False, True]
    assert found.suggested_label.tolist() == [2, -1, -1, 1]
    assert np.isnan(found.p_error).all()


def test_the_threshold_can_be_another() -> None:
    rows = rows_of([0, 0, 0], [-1.0, 0.5, 2.0])
    assert judge(rows, TrainingDynamics(threshold=1.0)).is_issue.tolist() == [True, True, False]


def test_forgetting_scores_by_events_and_flags_by_the_margin() -> None:
    found = judge(rows_of([0, 0, 0], [1.0, -1.0, 1.0], [0, 1, 3]), TrainingDynamics(score="forgetting"))
    assert found.score.tolist() == [1, 0.5, 0.25]
    assert found.is_issue.tolist() == [False, True, False]


def test_a_row_that_no_network_trained_on_is_not_judged_and_counted_in_a_sentence() -> None:
    rows = rows_of([0, 1, -1, 1], [np.nan, -3.0, np.nan, 4.0])
    found = judge(rows)
    assert found.score[[0, 2]].tolist() == [0.5, 1.0]
    assert found.is_issue.tolist() == [False, True, False, False]
    notes = TrainingDynamics().fit(Window.of(rows)).info["notes"]
    assert notes == ["1 of 3 labelled training rows were in no recorded training and are not judged"]
    assert TrainingDynamics().fit(Window.of(rows.take(np.array([1, 3])))).info["notes"] == []


def test_rows_of_another_split_are_no_news() -> None:
    rows = replace(rows_of([0, 0], [np.nan, np.nan]), trains=np.array([False, False]))
    assert TrainingDynamics().fit(Window.of(rows)).info["notes"] == []


def test_no_rows_extreme_margins_and_any_company() -> None:
    rows = rows_of([0, 0, 1, 2], [-1e30, 1e30, -800.0, 3.0])
    whole = judge(rows)
    assert whole.score[:3].tolist() == [0, 1, 0]
    for i in range(4):
        assert judge(rows.take(np.array([i]))).score.tobytes() == whole.score[i : i + 1].tobytes()
    assert len(judge(rows.take(np.arange(0)))) == 0


def test_rows_without_dynamics_are_refused() -> None:
    rows = replace(rows_of([0], [1.0]), dynamics=None)
    with pytest.raises(ValueError, match="nobody recorded it"):
        judge(rows)


def test_wrong_digits_have_low_areas_and_are_forgotten_more_often() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    examples, truth = digits(1200, noise=0.2)
    arrays = Convnet(width=8).fit(examples, 10, 0, "cpu").arrays
    torch.set_num_threads(before)
    marks = marks_of(examples.keys, examples.labels)
    trained = np.isin(marks, arrays[MARKS])
    area, forgotten, _ = arrays[DYNAMICS][np.searchsorted(arrays[MARKS], marks[trained])].T
    labels, wrong = examples.labels[trained], examples.labels[trained] != truth[trained]
    rows = rows_of([0] * len(labels), area.tolist(), forgotten.tolist())
    assert average_precision_score(wrong, -judge(rows).score) > 0.9
    by_events = judge(rows, TrainingDynamics(score="forgetting")).score
    assert average_precision_score(wrong, -by_events) > 2 * wrong.mean()
    flagged = judge(rows).is_issue
    assert wrong[flagged].mean() > 0.9
    assert flagged[wrong].mean() > 0.7
