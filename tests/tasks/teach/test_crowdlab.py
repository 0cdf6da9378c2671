"""Annotators and a classifier, weighed. Run: .venv/bin/python -m pytest tests/tasks/teach/test_crowdlab.py"""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.multiannotator import get_label_quality_multiannotator

from tasks.teach.crowdlab import Weights, judge, posterior
from tasks.teach.votes import Votes

NOBODY = float("nan")


def votes(labels: np.ndarray) -> Votes:
    row, annotator = np.nonzero(~np.isnan(labels))
    return Votes(row, annotator, labels[row, annotator].astype(np.int64), len(labels))


BY_HAND = np.array([[0, 0, NOBODY], [0, 1, 1], [1, 1, 1], [NOBODY, 0, 0], [1, NOBODY, NOBODY]])
P_BY_HAND = np.array([[p, 1 - p] for p in (0.9, 0.4, 0.2, 0.7, 0.6)])


def test_five_rows_by_hand() -> None:
    found = judge(votes(BY_HAND), P_BY_HAND, 3)
    np.testing.assert_allclose(found.weights.annotators, [0.2, 2 / 3, 0.6], rtol=1e-9)
    assert found.weights.model == pytest.approx(1.48324, abs=1e-5)
    assert found.weights.agreement == pytest.approx(11 / 12)
    np.testing.assert_allclose(
        found.posterior[:, 0], [0.90615, 0.29906, 0.14199, 0.79980, 0.53861], atol=1e-5
    )
    assert found.consensus.tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("seed", range(40))
def test_it_is_cleanlabs(seed: int) -> None:
    random = np.random.default_rng(seed)
    n, m, k = random.integers(5, 60), random.integers(2, 6), random.integers(2, 5)
    labels = random.integers(0, k, (n, m)).astype(float)
    labels[random.random((n, m)) < 0.5] = NOBODY
    labels = labels[~np.isnan(labels).all(axis=1)]
    labels = labels[:, ~np.isnan(labels).all(axis=0)]
    labels[0, :2] = [0, 1]
    pred_probs = random.dirichlet(np.ones(k), len(labels))
    theirs = get_label_quality_multiannotator(labels, pred_probs, return_weights=True, verbose=False)
    ours = judge(votes(labels), pred_probs, labels.shape[1])
    row, annotator = np.nonzero(~np.isnan(labels))
    quality = theirs["label_quality"]
    assert ours.consensus.tolist() == quality["consensus_label"].tolist()
    own = ours.posterior[np.arange(len(labels)), ours.consensus]
    np.testing.assert_allclose(own, quality["consensus_quality_score"], rtol=1e-12)
    np.testing.assert_allclose(ours.weights.annotators, theirs["annotator_weight"], rtol=1e-12)
    assert ours.weights.model == pytest.approx(theirs["model_weight"], rel=1e-12)
    detailed = theirs["detailed_label_quality"].to_numpy()[row, annotator]
    np.testing.assert_allclose(ours.label_quality, detailed, rtol=1e-12)
    people = theirs["annotator_stats"].sort_index()["annotator_quality"]
    np.testing.assert_allclose(ours.annotator_quality, people, rtol=1e-12)


def test_with_an_indifferent_classifier_and_equal_people_it_is_the_majority() -> None:
    labels = np.array([[0, 0, 1], [1, 1, 2], [2, 0, 2], [1, 2, 1], [2, 2, 0], [0, 1, 0]], dtype=float)
    found = judge(votes(labels), np.full((6, 3), 1 / 3), 3)
    assert found.consensus.tolist() == [0, 1, 2, 1, 2, 0]


def test_a_tie_goes_to_the_likelier_class_then_to_the_rarer_then_to_the_better_voter() -> None:
    tied = np.array([[0, 1, NOBODY], [0, 0, 0], [1, 1, 1]])
    assert judge(votes(tied), np.array([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9]]), 3).consensus[0] == 1
    level = np.full((3, 2), 0.5)
    rarer = np.array([[0, 1, NOBODY], [0, 0, 0], [0, 0, 0]])
    assert judge(votes(rarer), level, 3).consensus[0] == 1
    better = np.array([[0, 1, NOBODY], [0, 1, 0], [1, 0, 1], [0, 0, 0], [1, 1, 1]])
    assert judge(votes(better), np.full((5, 2), 0.5), 3).consensus[0] == 0


def test_a_good_classifier_mends_what_two_labels_cannot() -> None:
    random = np.random.default_rng(0)
    n, k = 2000, 4
    truth = random.integers(0, k, n)
    wrong = (truth[:, None] + random.integers(1, k, (n, 2))) % k
    labels = np.where(random.random((n, 2)) < 0.7, truth[:, None], wrong).astype(float)
    sure, lucky = random.random(n) < 0.7, random.random(n) < 0.5
    believed = np.where(sure | lucky, truth, (truth + 1) % k)
    pred_probs = np.full((n, k), 0.02)
    pred_probs[np.arange(n), believed] = 0.94
    pred_probs[~sure] = 0.06
    pred_probs[~sure, truth[~sure]] = pred_probs[~sure, (truth[~sure] + 1) % k] = 0.41
    pred_probs[~sure, believed[~sure]] = 0.47
    found = judge(votes(labels), pred_probs, 2)
    alone = {"people": (labels[:, 0] == truth).mean(), "classifier": (believed == truth).mean()}
    assert (found.consensus == truth).mean() > max(alone.values()) + 0.03


def test_a_row_that_nobody_labelled_has_the_classifiers_opinion_and_a_stranger_the_mean_weight() -> None:
    weights = Weights(np.array([0.2, 0.6]), 1.0, 0.9)
    said = Votes(np.array([1]), np.array([2]), np.array([0]), 2)
    found = posterior(said, np.array([[0.3, 0.7], [0.3, 0.7]]), weights)
    np.testing.assert_allclose(found[0], [0.3, 0.7])
    np.testing.assert_allclose(found[1], [(0.3 + 0.4 * 0.9) / 1.4, (0.7 + 0.4 * 0.1) / 1.4])


def test_rows_are_judged_one_by_one() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, (50, 4)).astype(float)
    pred_probs, weights = random.dirichlet(np.ones(3), 50), Weights(random.random(4), 1.3, 0.8)
    whole = posterior(votes(labels), pred_probs, weights)
    assert posterior(votes(labels[20:27]), pred_probs[20:27], weights).tobytes() == whole[20:27].tobytes()


def test_one_label_a_row_is_refused_and_one_class_is_legal() -> None:
    alone = np.array([[0, NOBODY], [NOBODY, 1]])
    with pytest.raises(ValueError, match="no row has labels of two annotators"):
        judge(votes(alone), np.full((2, 2), 0.5), 2)
    found = judge(votes(np.zeros((3, 2))), np.ones((3, 1)), 2)
    assert found.consensus.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.posterior, 1)


def test_who_shares_no_row_has_no_quality_and_the_mean_weight() -> None:
    labels = np.array([[0, 0, NOBODY], [1, 1, NOBODY], [0, 1, NOBODY], [NOBODY, NOBODY, 1]])
    found = judge(votes(labels), np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6]]), 3)
    assert np.isnan(found.annotator_quality).tolist() == [False, False, True]
    assert found.weights.annotators[2] == pytest.approx(found.weights.annotators[:2].mean())
