"""Influence and its vote. Run: .venv/bin/python -m pytest tests/tasks/detect/test_influence.py"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from tasks.data import Issues, Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.influence import Influence
from tasks.errors import StageFailed
from tests.tasks.detect.rows import labelled


def rows_of(x: np.ndarray, labels: np.ndarray, k: int, **more: Any) -> Labelled:
    ids = np.array([f"row-{i}" for i in range(len(labels))], dtype=object)
    soft = SoftLabels.from_pred_probs(ids, labels.astype(np.int32), np.full((len(labels), k), 1 / k), k)
    return replace(labelled(soft, embedding=x.astype(np.float32)), **more)


def blobs(flipped: int = 5, apart: float = 6.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two Gaussian blobs of 50 rows: embedding, given labels of which some are wrong, true ones."""
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 50)
    x = random.normal(size=(100, 2)) + truth[:, None] * [apart, 0]
    labels = truth.copy()
    wrong = random.choice(100, flipped, replace=False)
    labels[wrong] = 1 - labels[wrong]
    return x, labels, truth


def noisy_digits(kind: str, seed: int = 0) -> tuple[Labelled, np.ndarray]:
    """Digits of which a fifth are called something else: any class, or always the next; the true labels."""
    data = load_digits()
    random = np.random.default_rng(seed)
    shift = random.integers(1, 10, len(data.target)) if kind == "uniform" else 1
    labels = np.where(random.random(len(data.target)) < 0.2, (data.target + shift) % 10, data.target)
    return rows_of(data.data / 16, labels, 10), data.target


def judged(rows: Labelled, detector: Influence | None = None) -> Issues:
    detector, window = detector or Influence(), Window.of(rows)
    return detector.apply(rows, detector.fit(window), window)


@pytest.mark.parametrize(("influencers", "agreement"), [(5, 0.5), (10, 0.8)])
def test_five_wrong_labels_in_two_blobs_are_restored_and_no_other_is_touched(
    influencers: int, agreement: float
) -> None:
    x, labels, truth = blobs()
    found = judged(rows_of(x, labels, 2), Influence(influencers=influencers, agreement=agreement))
    assert found.is_issue.tolist() == (labels != truth).tolist()
    assert found.suggested_label[found.is_issue].tolist() == truth[labels != truth].tolist()
    assert found.score[found.is_issue].max() < found.score[~found.is_issue].min()


def test_who_has_the_largest_unscaled_influence_would_vote_for_the_wrong_labels() -> None:
    """Why influence is relative: the few wrong rows are the strongest influencers of all rows."""
    from tasks.detect.softmax_influence import directions, fit, gradients, shares_of

    x, labels, truth = blobs()
    model = fit(x, labels, 1e-3)
    u = directions(model, gradients(model, x, labels))
    raw = np.abs(u @ u.T)
    np.fill_diagonal(raw, 0)
    best = np.argsort(-raw, axis=1)[:, :5]
    vote = shares_of(np.take_along_axis(raw, best, axis=1), labels[best], 2).argmax(axis=1)
    assert (vote != truth).sum() > 25


@pytest.mark.parametrize(("kind", "precision", "recall"), [("uniform", 0.95, 0.4), ("pair", 0.95, 0.7)])
def test_wrong_digits_are_flagged_with_their_true_class(kind: str, precision: float, recall: float) -> None:
    rows, truth = noisy_digits(kind)
    found, wrong = judged(rows), rows.labels != truth
    assert wrong[found.is_issue].mean() > precision
    assert found.is_issue[wrong].mean() > recall
    assert (found.suggested_label == truth)[found.is_issue].mean() > precision
    assert average_precision_score(wrong, -found.score) > 0.95


def test_a_finding_is_the_same_in_any_company_and_however_the_window_is_cut() -> None:
    rows, _ = noisy_digits("pair")
    detector, window = Influence(), Window.of(rows)
    state, whole = detector.fit(window), judged(rows)
    cut = Window.of(
        rows.take(np.arange(700)), rows.take(np.arange(700, 701)), rows.take(np.arange(701, 1797))
    )
    again = detector.fit(cut)
    assert {k: v.tobytes() for k, v in again.arrays.items()} == {
        k: v.tobytes() for k, v in state.arrays.items()
    }
    for part in (np.arange(1), np.arange(1, 8), np.arange(8, 1797)[::-1]):
        found = detector.apply(rows.take(part), state, cut)
        assert found.score.tobytes() == whole.score[part].tobytes()
        assert found.is_issue.tolist() == whole.is_issue[part].tolist()


def test_copies_of_a_row_do_not_vote_for_it() -> None:
    x, labels, truth = blobs()
    wrong = np.flatnonzero(labels != truth)[0]
    copied = np.concatenate([np.arange(100), np.full(30, wrong)])
    rows = rows_of(x[copied], labels[copied], 2)
    told = replace(rows, keys=copied.astype(np.uint64))
    assert judged(told, Influence(influencers=10)).suggested_label[wrong] == truth[wrong]
    assert judged(rows, Influence(influencers=10)).suggested_label[wrong] == labels[wrong]


def test_rows_of_another_split_are_judged_and_decide_nothing() -> None:
    x, labels, truth = blobs()
    trains = np.arange(100) % 10 > 0
    held = rows_of(x, labels, 2, trains=trains)
    found, detector = judged(held), Influence()
    taught = held.take(trains)
    alone = detector.fit(Window.of(taught))
    assert found.score.tobytes() == detector.apply(held, alone, Window.of(taught)).score.tobytes()
    assert found.suggested_label[~trains].tolist() == truth[~trains].tolist()


def test_of_a_large_window_the_same_sample_learns_and_votes() -> None:
    rows, truth = noisy_digits("pair")
    detector = Influence(max_rows=600)
    state = detector.fit(Window.of(rows))
    assert state.info["rows"] == 600
    found = detector.apply(rows, state, Window.of(rows))
    wrong = rows.labels != truth
    assert wrong[found.is_issue].mean() > 0.9
    half = rows.take(np.arange(900))
    assert detector.apply(half, state, Window.of(rows)).score.tobytes() == found.score[:900].tobytes()


def test_many_classes_or_a_long_embedding_leave_the_leading_components(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.detect.influence.MAX_PARAMETERS", 300)
    random = np.random.default_rng(1)
    truth = np.repeat(np.arange(20), 20)
    x = random.normal(size=(20, 100))[truth] * 3 + random.normal(size=(400, 100)) * 0.3
    labels = np.where(np.arange(400) % 20 == 3, (truth + 1) % 20, truth)
    rows = rows_of(x, labels, 20)
    assert Influence().fit(Window.of(rows)).arrays["components"].shape == (100, 14)
    assert judged(rows).is_issue.tolist() == (labels != truth).tolist()


def test_more_classes_than_the_model_is_for_are_not_judged() -> None:
    found = judged(rows_of(np.zeros((1025, 1)), np.arange(1025), 1025))
    assert set(found.score.tolist()) == {0.5}
    assert not found.is_issue.any()


def test_where_there_is_nothing_to_tell_apart_nobody_is_judged() -> None:
    x = np.ones((4, 3))
    for labels in ([-1, -1, -1, -1], [1, 1, -1, 1]):
        rows = rows_of(x, np.array(labels), 2)
        found = judged(rows)
        assert found.score.tolist() == [1.0 if label < 0 else 0.5 for label in labels]
        assert not found.is_issue.any()
        assert Influence().fit(Window.of(rows)).info["notes"] != []
    none = rows_of(x, np.array([0, 1, 0, 1]), 2).take(np.arange(0))
    assert len(judged(none)) == 0


def test_a_row_whose_label_no_training_row_has_and_one_without_label_are_not_judged() -> None:
    x, labels, _ = blobs()
    labels = np.concatenate([labels, [2, -1]])
    found = judged(rows_of(np.vstack([x, x[:2]]), labels, 3, trains=np.arange(102) < 100))
    assert found.score[100:].tolist() == [0.5, 1.0]
    assert found.suggested_label[100:].tolist() == [-1, -1]
    assert not found.is_issue[100:].any()
    assert np.isnan(found.p_error).all()


def test_two_rows_alone_have_one_influencer_each() -> None:
    found = judged(rows_of(np.array([[0.0], [1.0]]), np.array([0, 1]), 2))
    assert found.suggested_label.tolist() == [1, 0]
    assert found.is_issue.all()


def test_a_missing_embedding_and_nan_are_refused() -> None:
    x, labels, _ = blobs()
    with pytest.raises(StageFailed, match=r"reads the embedding; name an encoder"):
        judged(rows_of(x, labels, 2, embedding=None))
    x[3, 1] = np.nan
    with pytest.raises(StageFailed, match="1 rows, such as row-3: it holds NaN"):
        judged(rows_of(x, labels, 2))
