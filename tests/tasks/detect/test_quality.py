"""Label quality scores against cleanlab and by hand: pytest tests/tasks/detect/test_quality.py"""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores

from tasks.detect.quality import quality
from tests.tasks.detect.arrays import random_rows

SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_cleanlabs_to_a_millionth_but_for_certain_teachers(score: str) -> None:
    compared = 0
    for seed in range(60):
        labels, pred_probs = random_rows(seed)
        certain = pred_probs[np.arange(len(labels)), labels] >= 1
        ours = quality(labels, pred_probs, score)
        theirs = get_label_quality_scores(labels, pred_probs, method=score)
        assert ours.dtype == np.float32
        assert ours[~certain] == pytest.approx(np.clip(theirs[~certain], 0, 1), abs=1e-6)
        assert np.all(ours[certain] == 1)
        compared += int((~certain).sum())
    assert compared > 2000


@pytest.mark.parametrize("score", SCORES)
def test_a_row_is_scored_alone(score: str) -> None:
    labels, pred_probs = random_rows(4)
    one_by_one = [quality(labels[i : i + 1], pred_probs[i : i + 1], score) for i in range(len(labels))]
    assert np.concatenate(one_by_one).tobytes() == quality(labels, pred_probs, score).tobytes()


def test_margins_by_hand() -> None:
    """(.7 - .2 + 1) / 2 and (.1 - .7 + 1) / 2."""
    pred_probs = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]], np.float32)
    assert quality(np.array([0, 2]), pred_probs, "normalized_margin") == pytest.approx([0.75, 0.2])


def test_an_even_guess_between_two_has_the_entropy_of_a_coin() -> None:
    """Entropy 1 over confidence .5 is e = 2; log(3) / 2."""
    score = quality(np.array([0]), np.array([[0.5, 0.5]], np.float32), "confidence_weighted_entropy")
    assert score == pytest.approx([np.log(3) / 2])


@pytest.mark.parametrize("score", SCORES)
def test_no_rows_and_a_single_class_have_nothing_to_compare_with(score: str) -> None:
    assert len(quality(np.zeros(0, int), np.zeros((0, 3), np.float32), score)) == 0
    assert quality(np.zeros(2, int), np.ones((2, 1), np.float32), score).tolist() == [1, 1]
