"""Who said what, and who is right. Run: .venv/bin/python -m pytest tests/tasks/teach/test_dawid_skene.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.teach.dawid_skene import Crowd, accuracy, fit, posterior_of, shares
from tasks.teach.votes import Votes


def votes(table: list[list[int]]) -> Votes:
    """Labels of rows (lines) by annotators (columns), -1 for none."""
    labels = np.array(table)
    row, annotator = np.nonzero(labels >= 0)
    return Votes(row, annotator, labels[row, annotator], len(labels))


def simulated(
    n: int, k: int, right: list[float], labelled: float = 1.0, seed: int = 0
) -> tuple[Votes, np.ndarray]:
    """Annotators who are right that often, and otherwise say any other class; the true classes."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, k, n)
    said = (truth[:, None] + random.integers(1, k, (n, len(right)))) % k
    said = np.where(random.random(said.shape) < right, truth[:, None], said)
    return votes(np.where(random.random(said.shape) < labelled, said, -1).tolist()), truth


def judged(given: Votes, k: int, smoothing: float = 0.0) -> np.ndarray:
    return posterior_of(given, fit(given, int(given.annotator.max()) + 1, k, smoothing))


def test_two_who_always_agree_explain_the_third_ones_labels_as_errors() -> None:
    said = votes([[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(judged(said, 2)[:, 1], [0, 0, 1, 1, 0, 1], atol=1e-6)
    crowd = fit(said, 3, 2, 0.0)
    np.testing.assert_allclose(crowd.prior, [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(crowd.confusion[2], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=1e-4)
    np.testing.assert_allclose(accuracy(crowd)[:3], [1, 1, 2 / 3], atol=1e-4)


def test_one_step_by_hand() -> None:
    crowd = Crowd(np.array([0.6, 0.4]), np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]]]), ())
    found = posterior_of(Votes(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 2), crowd)
    joint = np.array([0.6 * 0.9 * 0.3, 0.4 * 0.2 * 0.6])
    np.testing.assert_allclose(found, [joint / joint.sum(), [0.6, 0.4]], rtol=1e-12)


def test_it_beats_the_majority_and_finds_each_annotators_accuracy() -> None:
    right = [0.9, 0.9, 0.9, 0.4, 0.4, 0.4, 0.4]
    said, truth = simulated(500, 3, right)
    assert (shares(said, 3).argmax(axis=1) == truth).mean() < 0.92
    assert (judged(said, 3).argmax(axis=1) == truth).mean() > 0.96
    np.testing.assert_allclose(accuracy(fit(said, 7, 3, 0.0))[:7], right, atol=0.06)


def test_who_always_says_the_opposite_is_read_backwards() -> None:
    said, truth = simulated(400, 2, [0.8, 0.8, 0.05])
    assert (judged(said, 2).argmax(axis=1) == truth).mean() > (
        judged(votes_without(said, 2), 2).argmax(axis=1) == truth
    ).mean() + 0.05


def votes_without(said: Votes, annotator: int) -> Votes:
    others = said.annotator != annotator
    return Votes(said.row[others], said.annotator[others], said.label[others], said.n_rows)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from([0.0, 0.01, 1.0, 30.0]))
def test_the_evidence_never_falls(seed: int, k: int, smoothing: float) -> None:
    said, _ = simulated(40, k, [0.9, 0.6, 0.5, 0.3], labelled=0.6, seed=seed)
    reached = fit(said, 4, k, smoothing).evidence
    assert len(reached) > 1
    assert (np.diff(reached) >= -1e-9 * np.abs(reached[0])).all()


def test_annotators_and_classes_have_no_order() -> None:
    said, _ = simulated(200, 3, [0.9, 0.7, 0.5])
    crowd, posterior = fit(said, 3, 3, 1.0), judged(said, 3, 1.0)
    people = np.array([2, 0, 1])
    other = fit(Votes(said.row, people[said.annotator], said.label, 200), 3, 3, 1.0)
    np.testing.assert_allclose(other.confusion[people], crowd.confusion[:3], rtol=1e-9)
    renamed = Votes(said.row, said.annotator, people[said.label], 200)
    np.testing.assert_allclose(judged(renamed, 3, 1.0)[:, people], posterior, rtol=1e-9, atol=1e-12)


def test_without_smoothing_one_rare_label_decides_and_with_it_the_others_do() -> None:
    table = [[0, 0, -1]] * 30 + [[1, 1, -1]] * 30 + [[0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]]
    exact, smooth = judged(votes(table), 2), judged(votes(table), 2, 1.0)
    assert exact[-1, 0] == pytest.approx(1, abs=1e-6)
    assert 0.9 < smooth[-1, 0] < exact[-1, 0]
    crowd = fit(votes(table), 3, 2, 1.0)
    assert (crowd.confusion > 0).all()
    np.testing.assert_allclose(crowd.confusion.sum(axis=2), 1, rtol=1e-12)


def test_an_annotator_whom_nobody_knows_counts_as_the_crowd() -> None:
    said, _ = simulated(300, 3, [0.8, 0.8, 0.8])
    crowd = fit(said, 3, 3, 1.0)
    found = posterior_of(Votes(np.array([0]), np.array([3]), np.array([1]), 1), crowd)
    assert 0.5 < found[0, 1] < 0.95
    np.testing.assert_allclose(found.sum(), 1)


def test_a_rows_posterior_is_its_own_whatever_stands_around_it() -> None:
    said, _ = simulated(300, 4, [0.8, 0.6, 0.7], labelled=0.7)
    crowd, whole = fit(said, 3, 4, 1.0), judged(said, 4, 1.0)
    for rows in (np.arange(7), np.arange(100, 300)):
        mine = np.isin(said.row, rows)
        part = Votes(said.row[mine] - rows[0], said.annotator[mine], said.label[mine], len(rows))
        assert posterior_of(part, crowd).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_no_votes_one_class_an_absent_class_and_an_empty_row_are_legal(smoothing: float) -> None:
    nothing = Votes(*(np.zeros(0, np.int64),) * 3, n_rows=2)
    crowd = fit(nothing, 0, 3, smoothing)
    np.testing.assert_allclose(posterior_of(nothing, crowd), 1 / 3)
    np.testing.assert_allclose(judged(votes([[0, 0], [0, -1]]), 1, smoothing), 1)
    with np.errstate(all="raise"):
        absent = judged(votes([[0, 0], [2, 2], [-1, -1]]), 3, smoothing)
    np.testing.assert_allclose(absent.sum(axis=1), 1)
    assert absent[0].argmax() == 0
    assert absent[:, 1].max() == 0
    np.testing.assert_allclose(absent[2], [0.5, 0, 0.5], atol=1e-6)


def test_labels_that_no_matrix_allows_say_nothing() -> None:
    crowd = Crowd(np.array([0.3, 0.7]), np.array([np.eye(2), np.eye(2)]), ())
    found = posterior_of(Votes(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 1), crowd)
    np.testing.assert_allclose(found, [[0.3, 0.7]])
