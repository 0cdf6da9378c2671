"""Labels by annotators and teachers. Run: .venv/bin/python -m pytest tests/tasks/detect/test_crowdlab.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import Annotations, Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.crowdlab import Crowdlab
from tasks.errors import StageFailed
from tasks.teach.crowdlab import judge
from tasks.teach.votes import votes_of
from tests.tasks.detect.rows import labelled


def crowd(n: int = 400, k: int = 4, seed: int = 0) -> tuple[Labelled, np.ndarray]:
    """Rows with the first of up to three people's labels as the given one, a fair teacher, and the truth."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, k, n)
    labels = np.where(random.random((n, 3)) < 0.75, truth[:, None], random.integers(0, k, (n, 3)))
    asked = random.random((n, 3)) < 0.8
    asked[:, 0] = True
    pred_probs = random.dirichlet(np.ones(k) / 2, n) * 0.5
    pred_probs[np.arange(n), truth] += 0.5
    ids = np.array([f"row-{i}" for i in range(n)], dtype=object)
    people = np.array(["ann", "bob", "cem"], dtype=object)
    row, person = np.nonzero(asked)
    said = Annotations(ids, asked.sum(axis=1), people[person], labels[row, person].astype(np.int32))
    soft = SoftLabels.from_pred_probs(ids, labels[:, 0].astype(np.int32), pred_probs, k)
    return labelled(soft, annotations=said), truth


def test_it_is_crowdlab_on_the_windows_soft_labels() -> None:
    rows, _ = crowd()
    detector = Crowdlab()
    state = detector.fit(Window.of(rows.take(np.arange(0, 150)), rows.take(np.arange(150, 400))))
    found = detector.apply(rows, state, Window.of(rows))
    assert rows.annotations is not None
    expected = judge(votes_of(rows.annotations, ["ann", "bob", "cem"], 4), rows.soft.pred_probs(), 3)
    own = expected.posterior[np.arange(400), rows.labels]
    np.testing.assert_allclose(found.score, own, rtol=1e-6)
    assert found.suggested_label.tolist() == expected.posterior.argmax(axis=1).tolist()
    assert found.is_issue.tolist() == (expected.consensus != rows.labels).tolist()
    np.testing.assert_allclose(state.arrays["quality"], expected.annotator_quality)
    assert state.info["annotators"] == ["ann", "bob", "cem"]
    assert state.arrays["labels"].sum() == len(rows.annotations.classes)


def test_most_of_what_it_flags_is_wrong_and_most_of_what_is_wrong_is_flagged() -> None:
    rows, truth = crowd(2000)
    detector = Crowdlab()
    found = detector.apply(rows, detector.fit(Window.of(rows)), Window.of(rows))
    wrong = rows.labels != truth
    assert wrong[found.is_issue].mean() > 0.9
    assert found.is_issue[wrong].mean() > 0.9


def test_the_worst_annotator_is_told() -> None:
    rows, _ = crowd()
    state = Crowdlab().fit(Window.of(rows))
    lowest = int(np.argmin(state.arrays["quality"]))
    assert f"the lowest quality is {state.info['annotators'][lowest]}'s, 0." in state.info["notes"][0]


def test_a_rows_finding_is_its_own() -> None:
    rows, _ = crowd()
    detector, window = Crowdlab(), Window.of(rows)
    state = detector.fit(window)
    whole = detector.apply(rows, state, window)
    part = detector.apply(rows.take(np.arange(30, 37)), state, window)
    for name in ("score", "is_issue", "suggested_label", "p_error"):
        assert getattr(part, name).tobytes() == getattr(whole, name)[30:37].tobytes()


def test_rows_without_annotations_are_scored_by_the_teachers_and_never_flagged() -> None:
    rows, _ = crowd()
    detector, window = Crowdlab(), Window.of(rows)
    state, none = detector.fit(window), rows.take(np.arange(5))
    assert rows.annotations is not None
    empty = Annotations(
        none.ids, np.zeros(5, int), rows.annotations.annotators[:0], rows.annotations.classes[:0]
    )
    found = detector.apply(labelled(none.soft, annotations=empty), state, window)
    expected = none.soft.pred_probs()[np.arange(5), none.labels]
    np.testing.assert_allclose(found.score, expected, rtol=1e-6)
    assert not found.is_issue.any()


def test_one_label_a_row_no_row_and_no_given_label_flag_nothing() -> None:
    rows, _ = crowd()
    assert rows.annotations is not None
    first = np.cumsum(rows.annotations.counts) - rows.annotations.counts
    one = Annotations(
        rows.ids, np.ones(400, int), rows.annotations.annotators[first], rows.annotations.classes[first]
    )
    detector = Crowdlab()
    for shard in (labelled(rows.soft, annotations=one), rows.take(np.arange(0))):
        state = detector.fit(Window.of(shard))
        found = detector.apply(shard, state, Window.of(shard))
        assert len(found) == len(shard)
        assert not found.is_issue.any()
        assert "no row of the window has labels of two annotators" in state.info["notes"][0]
    soft = SoftLabels.from_pred_probs(rows.ids, np.full(400, -1), rows.soft.pred_probs(), 4)
    unlabelled = labelled(soft, annotations=rows.annotations)
    found = detector.apply(unlabelled, detector.fit(Window.of(unlabelled)), Window.of(unlabelled))
    assert (found.score == 1).all()
    assert not found.is_issue.any()


def test_rows_that_were_read_without_annotations_are_an_error() -> None:
    rows, _ = crowd()
    with pytest.raises(StageFailed, match="these rows come without"):
        Crowdlab().fit(Window.of(labelled(rows.soft)))
