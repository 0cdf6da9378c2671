"""Votes of neighbours. Run: .venv/bin/python -m pytest tests/tasks/detect/test_neighbours.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from tasks.detect import Window
from tasks.detect.neighbours import Neighbours, quality, tally
from tasks.errors import StageFailed
from tests.tasks.detect.embeddings import digits, found, rows, same_whatever_the_shard


def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Two tight clusters of ten, one label of the first flipped."""
    random = np.random.default_rng(0)
    embedding = np.repeat([[1.0, 0.0], [0.0, 1.0]], 10, axis=0) + random.normal(0, 0.02, (20, 2))
    labels = np.repeat([0, 1], 10)
    labels[4] = 1
    return embedding, labels


def test_votes_of_three_neighbours_and_the_row_itself_by_hand() -> None:
    votes = tally(np.array([[0.1, 0.3, 0.4]]), np.array([[0, 1, 0]]), np.array([1]), 3)
    np.testing.assert_allclose(votes, [[0.9 + 0.6, 0.7 + (2 * 0.9 - 0.7), 0]])
    np.testing.assert_allclose(quality(votes, np.array([1])), 1.8 / np.hypot(1.5, 1.8))


def test_in_two_clusters_the_one_flipped_label_is_flagged_and_the_other_cluster_suggested() -> None:
    embedding, labels = clusters()
    issues = found(Neighbours(), rows(embedding, labels, 2))
    assert np.flatnonzero(issues.is_issue).tolist() == [4]
    assert issues.suggested_label[4] == 0
    assert issues.score.argmin() == 4
    assert np.isnan(issues.p_error).all()


def test_votes_are_those_of_scikit_learns_neighbours() -> None:
    window, _ = digits(0.2, 600)
    issues = found(Neighbours(k=8), window)
    search = NearestNeighbors(n_neighbors=7, algorithm="brute", metric="cosine").fit(window.embedding)
    distance, index = search.kneighbors()
    weight = np.column_stack([1 - (2 * distance[:, 0] - distance[:, 1]), 1 - distance])
    labels = np.column_stack([window.labels, window.labels[index]])
    votes = np.stack([(weight * (labels == c)).sum(axis=1) for c in range(10)], axis=1)
    given = votes[np.arange(600), window.labels] / np.linalg.norm(votes, axis=1)
    np.testing.assert_allclose(issues.score, given, atol=1e-5)
    np.testing.assert_array_equal(issues.is_issue, votes.argmax(axis=1) != window.labels)


@pytest.mark.parametrize(("rule", "precision"), [("vote", 0.9), ("rank", 0.8)])
def test_it_finds_a_fifth_of_digits_labels_that_were_moved(rule: str, precision: float) -> None:
    window, wrong = digits(0.2)
    issues = found(Neighbours.model_validate({"rule": rule}), window)
    assert roc_auc_score(wrong, -issues.score) > 0.97
    assert (issues.is_issue & wrong).sum() > 0.9 * wrong.sum()
    assert (issues.is_issue & wrong).sum() > precision * issues.is_issue.sum()


def test_the_rank_rule_flags_in_each_class_the_share_that_is_estimated_to_be_wrong() -> None:
    window, _ = digits(0.2)
    detector = Neighbours(rule="rank")
    whole = Window.of(window)
    state = detector.fit(whole)
    flagged = detector.apply(window, state, whole).is_issue
    transition, prior = state.arrays["transition"], state.arrays["prior"]
    assert abs(transition.diagonal().mean() - 0.8) < 0.06
    labels = np.bincount(window.labels, minlength=10)
    share = 1 - transition.diagonal() * prior / (labels / labels.sum())
    expected = np.clip(share, 0.05, 0.95) * labels
    np.testing.assert_allclose(np.bincount(window.labels[flagged], minlength=10), expected, atol=1.5)


def test_labels_that_all_neighbours_share_are_never_flagged() -> None:
    window, _ = digits(0.0, 500)
    clean = replace(window, soft=replace(window.soft, labels=np.zeros(500, np.int32)))
    assert not found(Neighbours(rule="rank", sample=100), clean).is_issue.any()


def test_copies_do_not_vote_on_a_row_nor_do_held_out_rows() -> None:
    embedding, labels = clusters()
    copies = np.vstack([embedding, np.repeat(embedding[4:5], 30, axis=0)])
    called = np.concatenate([labels, np.ones(30, int)])
    keys = np.concatenate([np.arange(20), np.full(30, 4)])
    assert found(Neighbours(), rows(copies, called, 2, keys)).is_issue[4]
    held_out = rows(copies, called, 2, trains=np.arange(50) < 20)
    assert found(Neighbours(), held_out).is_issue[4]
    assert not found(Neighbours(), rows(copies, called, 2)).is_issue[4]


def test_a_row_without_a_label_has_no_finding_and_no_vote() -> None:
    embedding, labels = clusters()
    labels[[4, 15]] = -1
    issues = found(Neighbours(), rows(embedding, labels, 2))
    assert not issues.is_issue.any()
    assert issues.score[[4, 15]].tolist() == [1, 1]
    assert issues.suggested_label[4] == -1


@pytest.mark.parametrize("rule", ["vote", "rank"])
def test_a_finding_is_the_same_bits_however_rows_are_dealt(rule: str) -> None:
    same_whatever_the_shard(Neighbours.model_validate({"rule": rule, "sample": 300}), digits(0.2, 700)[0])


@pytest.mark.parametrize("rule", ["vote", "rank"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_row_one_row_and_two_are_legal(rule: str, n: int) -> None:
    window = rows(np.eye(2)[:n], np.arange(n), 3)
    issues = found(Neighbours.model_validate({"rule": rule}), window)
    assert len(issues) == n
    assert not issues.is_issue.any()
    assert np.isfinite(issues.score).all()


def test_rows_that_point_nowhere_or_the_other_way_give_finite_scores() -> None:
    window = rows([[0, 0], [1, 0], [-1, 0], [1e30, 1e30], [1e-30, 0]], [0, 1, 0, 1, 0], 2)
    issues = found(Neighbours(k=3), window)
    assert np.isfinite(issues.score).all()
    assert issues.score.min() >= 0
    assert issues.score.max() <= 1


def test_a_missing_or_broken_embedding_and_too_many_classes_are_named() -> None:
    embedding, labels = clusters()
    window = rows(embedding, labels, 2)
    with pytest.raises(StageFailed, match=r"neighbours reads the embedding; name an encoder"):
        found(Neighbours(), replace(window, embedding=None))
    embedding[3, 1] = np.nan
    with pytest.raises(StageFailed, match="of 1 rows, such as row-3"):
        found(Neighbours(), rows(embedding, labels, 2))
    with pytest.raises(StageFailed, match="at most 128 classes and there are 129; set rule: vote"):
        Neighbours(rule="rank").fit(Window.of(rows(embedding, labels, 129)))
