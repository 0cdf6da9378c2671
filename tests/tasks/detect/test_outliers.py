"""Rows that look like nothing. Run: .venv/bin/python -m pytest tests/tasks/detect/test_outliers.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cleanlab.outlier import OutOfDistribution

from tasks.detect import Window
from tasks.detect.outliers import Outliers
from tasks.errors import StageFailed
from tests.tasks.detect.embeddings import digits, found, rows, same_whatever_the_shard


def angles(*degrees: float) -> np.ndarray:
    return np.column_stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def test_distances_to_the_two_nearest_by_hand() -> None:
    window = rows(angles(0, 60, 90, 180), [0, 0, 0, 0], 1)
    detector = Outliers(k=2)
    whole = Window.of(window)
    state = detector.fit(whole)
    half, far = 1 - np.cos(np.radians(60)), 1 - np.cos(np.radians(30))
    means = np.array([(half + 1) / 2, (half + far) / 2, (far + 1) / 2, (1 + 1.5) / 2])
    assert state.arrays["typical"][0] == pytest.approx(np.median(means), abs=1e-6)
    expected = np.exp(-means / np.median(means))
    np.testing.assert_allclose(detector.apply(window, state, whole).score, expected, atol=1e-6)


def test_the_score_is_cleanlabs() -> None:
    window, _ = digits(0.0, 900)
    assert window.embedding is not None
    theirs = OutOfDistribution({"k": 10}).fit_score(
        features=window.embedding.astype(np.float64), verbose=False
    )
    np.testing.assert_allclose(found(Outliers(), window).score, theirs, atol=1e-5)


def test_noise_among_digits_is_flagged_and_hardly_any_digit() -> None:
    window, _ = digits()
    assert window.embedding is not None
    random = np.random.default_rng(0)
    strange = np.arange(0, 1797, 60)
    embedding = window.embedding.copy()
    embedding[strange] = random.permuted(embedding[strange], axis=1)
    issues = found(Outliers(), replace(window, embedding=embedding))
    others = np.setdiff1d(np.arange(1797), strange)
    assert issues.is_issue[strange].mean() > 0.9
    assert issues.is_issue[others].mean() < 0.005
    assert (issues.suggested_label == -1).all()


def test_the_limit_is_that_of_iglewicz_and_hoaglin_on_the_logarithms() -> None:
    window, _ = digits(0.0, 900)
    whole = Window.of(window)
    state = Outliers(deviations=2.0).fit(whole)
    logs = np.log(-np.log(found(Outliers(), window).score.astype(np.float64)) * state.arrays["typical"][0])
    deviation = np.median(np.abs(logs - np.median(logs)))
    limit = np.exp(np.median(logs) + 2 * 1.4826 * deviation)
    assert state.arrays["limit"][0] == pytest.approx(limit, rel=1e-5)
    flagged = Outliers(deviations=2.0).apply(window, state, whole).is_issue
    np.testing.assert_array_equal(flagged, logs > np.log(state.arrays["limit"][0]))
    assert 0 < flagged.sum() < 90


def test_a_copy_is_no_company() -> None:
    embedding = np.vstack([angles(*np.linspace(0, 10, 40)), angles(90, 90)])
    keys = np.concatenate([np.arange(40), [40, 40]])
    issues = found(Outliers(k=1), rows(embedding, np.zeros(42), 1, keys))
    assert np.flatnonzero(issues.is_issue).tolist() == [40, 41]
    assert not found(Outliers(k=1), rows(embedding, np.zeros(42), 1)).is_issue[40:].any()


def test_a_row_without_a_label_keeps_others_company_and_has_no_finding() -> None:
    embedding = np.vstack([angles(*np.linspace(0, 10, 40)), angles(90, 90.2)])
    labels = np.zeros(42, int)
    labels[41] = -1
    issues = found(Outliers(k=1), rows(embedding, labels, 1))
    assert not issues.is_issue.any()
    assert issues.score[41] == 1


def test_a_finding_is_the_same_bits_however_rows_are_dealt() -> None:
    same_whatever_the_shard(Outliers(), digits(0.0, 700)[0])


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_where_distances_do_not_differ_no_row_is_an_outlier(n: int) -> None:
    window = rows(np.eye(50)[:n], np.zeros(n), 1)
    detector = Outliers()
    whole = Window.of(window)
    state = detector.fit(whole)
    issues = detector.apply(window, state, whole)
    assert not issues.is_issue.any()
    assert np.isfinite(issues.score).all()
    assert "do not differ" in state.info["notes"][0]


def test_a_row_of_zeros_is_at_distance_one_from_all() -> None:
    window, _ = digits(0.0, 300)
    assert window.embedding is not None
    window.embedding[7] = 0
    whole = Window.of(window)
    state = Outliers().fit(whole)
    issues = Outliers().apply(window, state, whole)
    assert issues.score[7] == pytest.approx(np.exp(-1 / state.arrays["typical"][0]))
    assert issues.is_issue[7]


def test_a_missing_embedding_is_named() -> None:
    with pytest.raises(StageFailed, match="outliers reads the embedding"):
        found(Outliers(), replace(rows(np.eye(3), [0, 0, 0], 1), embedding=None))
