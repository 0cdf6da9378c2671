"""Training rows in the held-out split. Run: .venv/bin/python -m pytest tests/tasks/detect/test_leak.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.detect import Window
from tasks.detect.leak import Leak
from tasks.errors import StageFailed
from tests.tasks.detect.embeddings import digits, found, rows, same_whatever_the_shard


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """400 digits, the last hundred held out; rows 5 and 6 are near and rows 7 and 8 just like 300 and 301."""
    window, _ = digits(0.0, 400)
    assert window.embedding is not None
    embedding = window.embedding.copy()
    embedding[5:7] = embedding[300:302] + 0.1 * np.random.default_rng(0).standard_normal((2, 64))
    embedding[7:9] = embedding[300:302]
    return embedding, window.labels, np.arange(400) < 300


def test_near_and_equal_rows_leak_and_no_others() -> None:
    embedding, labels, trains = split()
    issues = found(Leak(), rows(embedding, labels, 10, trains=trains))
    assert np.flatnonzero(issues.is_issue).tolist() == [5, 6, 7, 8]
    np.testing.assert_allclose(issues.score[7:9], 0, atol=1e-3)
    assert (issues.score[5:7] > 1e-3).all()
    assert (issues.suggested_label == -1).all()


def test_the_score_is_one_half_at_the_radius() -> None:
    """Held-out rows at cosine distances .2 and .4 from the training row; the median nearest one is .2."""
    window = rows([[1, 0], [0.8, 0.6], [0.6, -0.8]], [0, 0, 0], 1, trains=np.array([True, False, False]))
    assert found(Leak(radius=1.0), window).score[0] == pytest.approx(0.5, abs=1e-6)
    assert found(Leak(radius=0.5), window).score[0] == pytest.approx(0.2 / 0.3, abs=1e-6)
    assert found(Leak(radius=1.01), window).is_issue[0]
    assert not found(Leak(radius=0.99), window).is_issue[0]


def test_a_copy_leaks_whatever_its_embedding() -> None:
    window = rows(np.eye(4), [0, 1, 0, 1], 2, np.array([1, 2, 3, 1]), np.array([True, True, True, False]))
    issues = found(Leak(), window)
    assert issues.is_issue.tolist() == [True, False, False, False]
    assert issues.score[0] == 0


def test_held_out_rows_and_rows_without_a_label_are_not_judged() -> None:
    embedding, labels, trains = split()
    labels = labels.copy()
    labels[5] = -1
    issues = found(Leak(), rows(embedding, labels, 10, trains=trains))
    assert not issues.is_issue[[5, 300, 301]].any()
    assert (issues.score[[5, 300, 301]] == 1).all()


def test_training_rows_that_are_alike_do_not_leak() -> None:
    embedding, labels, _ = split()
    issues = found(Leak(), rows(embedding, labels, 10))
    assert not issues.is_issue.any()
    assert (issues.score == 1).all()


def test_a_window_without_held_out_rows_says_so() -> None:
    embedding, labels, trains = split()
    quiet, loud = (
        Leak().fit(Window.of(rows(embedding, labels, 10, trains=t))).info["notes"]
        for t in (trains, np.ones(400, bool))
    )
    assert quiet == []
    assert "no held-out row" in loud[0]


def test_a_finding_is_the_same_bits_however_rows_are_dealt() -> None:
    embedding, labels, trains = split()
    same_whatever_the_shard(Leak(), rows(embedding, labels, 10, trains=trains))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_row_one_row_and_two_are_legal(n: int) -> None:
    issues = found(Leak(), rows(np.eye(2)[:n], np.arange(n), 2, trains=np.arange(n) < 1))
    assert issues.is_issue.tolist() == [False] * n


def test_a_missing_embedding_is_named() -> None:
    with pytest.raises(StageFailed, match="leak reads the embedding"):
        found(Leak(), replace(rows(np.eye(3), [0, 0, 0], 1), embedding=None))
