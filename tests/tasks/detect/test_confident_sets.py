"""Confident learning of sets, shard by shard: pytest tests/tasks/detect/test_confident_sets.py"""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import load, save

from tasks.data import ONE, Issues, Labelled, SoftLabels, State
from tasks.detect import Window
from tasks.detect.confident_learning import ConfidentLearning
from tasks.detect.per_class import qualities, score_of
from tests.tasks.detect.test_per_class import judged, random_answers

MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)


def shard(given: np.ndarray, weights: np.ndarray) -> Labelled:
    ids = np.array([f"row{i}" for i in range(len(given))], dtype=object)
    soft = SoftLabels.from_independent(ids, given, weights / ONE)
    n = len(given)
    return Labelled(ids, np.arange(n, dtype=np.uint64), np.ones(n, dtype=bool), soft, given=given)


def stored(state: State) -> State:
    """As it comes back from disk."""
    return State(load(save(state.arrays)), json.loads(json.dumps(state.info)))


def with_unlabelled(seed: int) -> Labelled:
    """Random rows, every third without labels."""
    given, weights = random_answers(seed)
    given = np.repeat(given, 2, axis=0)[: 3 * (len(given) // 3)]
    weights = np.repeat(weights, 2, axis=0)[: len(given)]
    given[::3] = -1
    return shard(given, weights)


@pytest.mark.parametrize("mode", MODES)
def test_rows_dealt_into_shards_are_flagged_as_the_labelled_rows_together(mode: str) -> None:
    for seed in range(8):
        whole, detector = with_unlabelled(seed), ConfidentLearning(filter_by=mode)
        known, cut = whole.labels >= 0, len(whole) // 2
        parts = [whole.take(np.arange(cut)), whole.take(np.arange(cut, len(whole)))]
        window = Window.of(*parts)
        state = stored(detector.fit(window))
        found = [detector.apply(part, state, window) for part in parts]
        assert whole.given is not None
        weights = np.rint(whole.soft.pred_probs() * ONE).astype(np.int16)
        expected = judged(whole.given[known], weights[known], mode)
        together = Issues.concat(found)
        assert together.doubted is not None
        np.testing.assert_array_equal(together.doubted[known], expected)
        np.testing.assert_array_equal(together.is_issue[known], expected.any(axis=1))
        assert not together.is_issue[~known].any()
        again = Issues.from_arrow(together.to_arrow("x"), expected.shape[1])
        assert again.doubted is not None
        np.testing.assert_array_equal(again.doubted, together.doubted)


def test_what_it_says_of_a_flagged_row_by_hand() -> None:
    """Rows 2 and 5 are flagged for the first class, which is the one to toggle; the answers of row 2 have
    probabilities .1 and .9, which the moving average makes .8 * .1 + .2 * .9."""
    p = np.array([[0.1, 0.2, 0.9, 0.8, 0.9, 0.3], [0.9, 0.1, 0.9, 0.1, 0.9, 0.1]]).T
    given = np.array([[0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=np.int8).T
    rows, detector = shard(given, np.rint(p * ONE).astype(np.int16)), ConfidentLearning()
    window = Window.of(rows)
    found = detector.apply(rows, detector.fit(window), window)
    assert found.suggested_label.tolist() == [-1, -1, 0, -1, -1, 0]
    assert found.score[2] == pytest.approx(0.26, abs=1e-4)
    assert found.p_error == pytest.approx([0.1, 0.2, 0.9, 0.2, 0.1, 0.7], abs=1e-4)


def test_a_row_without_labels_is_no_issue_and_has_no_suggestion() -> None:
    rows, detector = with_unlabelled(3), ConfidentLearning()
    window = Window.of(rows)
    found = detector.apply(rows, detector.fit(window), window)
    unlabelled = rows.labels < 0
    assert (found.score[unlabelled] == 1).all()
    assert (found.suggested_label[unlabelled] == -1).all()
    assert (found.p_error[unlabelled] == 0).all()


@pytest.mark.parametrize("score", ["self_confidence", "normalized_margin", "confidence_weighted_entropy"])
def test_the_score_is_the_moving_average_of_the_chosen_quality(score: str) -> None:
    given, weights = random_answers(2)
    rows, detector = shard(given, weights), ConfidentLearning(score=score)
    window = Window.of(rows)
    found = detector.apply(rows, detector.fit(window), window)
    np.testing.assert_allclose(found.score, score_of(qualities(given, weights, score)), rtol=1e-6)


def test_no_rows_at_all_are_legal() -> None:
    none, detector = shard(np.zeros((0, 2), np.int8), np.zeros((0, 2), np.int16)), ConfidentLearning()
    empty = Window(2, lambda: iter(()), lambda: none, "multi_label")
    state = stored(detector.fit(empty))
    assert len(detector.apply(none, state, empty)) == 0
    assert "no row has a given label" in state.info["notes"][0]


def test_classes_that_nearly_all_or_none_have_are_named_in_the_notes() -> None:
    given = np.zeros((9, 3), np.int8)
    given[:, 1], given[:1, 1], given[:4, 2] = 1, 0, 1
    rows = shard(given, np.full((9, 3), ONE // 3, np.int16))
    [note] = ConfidentLearning().fit(Window.of(rows)).info["notes"]
    assert note == "too few labelled rows have, or lack, class 0, 1 to flag any for it"


def test_classes_that_came_after_a_partition_was_taught_count_as_denied() -> None:
    given, weights = random_answers(1)
    rows = shard(given, weights)
    grown = np.concatenate([given, np.zeros((len(given), 1), np.int8)], axis=1)
    soft = SoftLabels(
        rows.soft.ids,
        rows.soft.labels,
        rows.soft.classes,
        rows.soft.weights,
        rows.soft.given_weight,
        rows.soft.tail,
        given.shape[1] + 1,
    )
    later = Labelled(rows.ids, rows.keys, rows.trains, soft, given=grown)
    detector, window = ConfidentLearning(), Window.of(later)
    state = detector.fit(window)
    doubts = detector.apply(later, state, window).doubted
    assert doubts is not None
    np.testing.assert_array_equal(doubts[:, :-1], judged(given, weights, "prune_by_noise_rate"))
    assert not doubts[:, -1].any()
