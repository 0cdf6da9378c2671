"""Duplicates in conflict. Run: .venv/bin/python -m pytest tests/tasks/detect/test_near_duplicates.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cleanlab import Datalab

from tasks.detect import Window
from tasks.detect.near_duplicates import NearDuplicates
from tasks.errors import StageFailed
from tests.tasks.detect.embeddings import digits, found, rows, same_whatever_the_shard


def with_copies(labels: list[int], shift: float) -> tuple[np.ndarray, np.ndarray]:
    """A hundred digits, then copies of the first one, a little apart, with these labels."""
    window, _ = digits(0.0, 100)
    assert window.embedding is not None
    random = np.random.default_rng(0)
    copies = window.embedding[:1] + shift * random.standard_normal((len(labels), 64))
    return np.vstack([window.embedding, copies]), np.concatenate([window.labels, labels])


def test_the_minority_of_a_group_is_flagged_and_the_majority_suggested() -> None:
    issues = found(NearDuplicates(), rows(*with_copies([0, 7], 0.1), 10))
    assert np.flatnonzero(issues.is_issue).tolist() == [101]
    assert issues.suggested_label[[0, 100, 101]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(issues.score[[0, 100, 101]], [2 / 3, 2 / 3, 1 / 3])
    assert (issues.score[1:100] == 1).all()


def test_a_tie_puts_every_label_in_doubt_and_suggests_none() -> None:
    issues = found(NearDuplicates(), rows(*with_copies([7], 0.1), 10))
    assert np.flatnonzero(issues.is_issue).tolist() == [0, 100]
    assert issues.suggested_label[[0, 100]].tolist() == [-1, -1]
    assert issues.score[[0, 100]].tolist() == [0.5, 0.5]


def test_exact_copies_are_duplicates_whatever_their_embedding() -> None:
    window = rows(np.eye(5), [0, 0, 1, 0, 1], 2, keys=np.array([3, 3, 3, 4, 5]))
    issues = found(NearDuplicates(), window)
    assert np.flatnonzero(issues.is_issue).tolist() == [2]
    assert issues.suggested_label[2] == 0


def test_a_chain_of_near_rows_is_not_one_group() -> None:
    steps = np.radians(np.arange(0, 90, 3))
    chain = np.column_stack([np.cos(steps), np.sin(steps)])
    labels = np.repeat([0, 1], 15)
    issues = found(NearDuplicates(radius=1.5), rows(chain, labels, 2))
    assert np.flatnonzero(issues.is_issue).tolist() == []
    assert np.flatnonzero(issues.score < 1).tolist() == [14, 15]


def test_the_rows_that_have_duplicates_are_cleanlabs() -> None:
    embedding, labels = with_copies([0, 0, 3], 0.2)
    lab = Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(features=embedding, issue_types={"near_duplicate": {}})
    theirs = lab.get_issues("near_duplicate")["is_near_duplicate_issue"].to_numpy()
    different = rows(embedding, np.arange(len(labels)), len(labels))
    assert theirs.sum() == 4
    np.testing.assert_array_equal(found(NearDuplicates(), different).is_issue, theirs)


def test_held_out_rows_have_no_say_but_are_judged_by_those_that_do() -> None:
    embedding, labels = with_copies([7, 7], 0.1)
    window = rows(embedding, labels, 10, trains=np.arange(102) < 100)
    issues = found(NearDuplicates(), window)
    assert not issues.is_issue[0]
    assert issues.is_issue[[100, 101]].all()
    np.testing.assert_allclose(issues.score[[0, 100, 101]], [1, 0.5, 0.5])


def test_a_row_without_a_label_neither_conflicts_nor_is_judged() -> None:
    issues = found(NearDuplicates(), rows(*with_copies([-1], 0.1), 10))
    assert not issues.is_issue.any()
    assert (issues.score == 1).all()


def test_a_finding_is_the_same_bits_however_rows_are_dealt() -> None:
    same_whatever_the_shard(NearDuplicates(radius=1.0), digits(0.2, 700)[0])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_row_one_row_and_two_are_legal(n: int) -> None:
    issues = found(NearDuplicates(), rows(np.eye(2)[:n], np.arange(n), 2))
    assert issues.is_issue.tolist() == [False] * n
    assert issues.score.tolist() == [1.0] * n


def test_the_radius_is_a_share_of_the_median_distance_to_the_nearest_row() -> None:
    window = rows([[1, 0], [0.8, 0.6], [0, 1]], [0, 0, 0], 1)
    state = NearDuplicates(radius=0.5).fit(Window.of(window))
    assert state.arrays["radius"][0] == pytest.approx(0.5 * 0.2, abs=1e-7)


def test_a_missing_embedding_is_named() -> None:
    with pytest.raises(StageFailed, match="near_duplicates reads the embedding"):
        found(NearDuplicates(), replace(rows(np.eye(3), [0, 0, 0], 1), embedding=None))
