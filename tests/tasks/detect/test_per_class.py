"""Confident learning on sets of classes, against cleanlab: pytest tests/tasks/detect/test_per_class.py"""

from __future__ import annotations

import warnings
from typing import get_args

import numpy as np
import pytest
from cleanlab.multilabel_classification.filter import find_label_issues, find_multilabel_issues_per_class
from cleanlab.multilabel_classification.rank import get_label_quality_scores
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.data import ONE
from tasks.detect import per_class
from tasks.detect.confident_learning import PRUNING, ConfidentLearning
from tasks.detect.per_class import STORED, SetCuts, doubted, find_sets, qualities, score_of

MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)
SCORES = get_args(ConfidentLearning.model_fields["score"].annotation)


def random_answers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """given (n, k) int8 and weights (n, k) int16; every class is given to some rows and not to others. Every
    other seed the probabilities are so coarse that many are equal."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(4, 120)), int(rng.integers(2, 7))
    given = (rng.random((n, k)) < rng.uniform(0.1, 0.9, k)).astype(np.int8)
    given[0], given[1] = 0, 1
    p = np.clip(rng.beta(0.6, 0.6, (n, k)) + rng.choice([-0.3, 0.0, 0.3]) * (1 - 2 * given), 0, 1)
    if seed % 2:
        steps = int(rng.choice([4, 10, 50]))
        p = np.round(p * steps) / steps
    return given, np.rint(p * ONE).astype(np.int16)


def judged(given: np.ndarray, weights: np.ndarray, filter_by: str, **options: float) -> np.ndarray:
    """The flagged answers, found in two readings of the rows and judged with what a state keeps."""
    parts = np.array_split(np.arange(len(given)), 2)
    cuts = find_sets(
        lambda: ((given[part], weights[part]) for part in parts), *given.shape, filter_by, **options
    )
    tied = {}
    for j, of_class in enumerate(cuts.classes):
        tied[j] = np.zeros((3, len(given)), dtype=bool)
        for mask, places in zip(tied[j], of_class.tied, strict=True):
            mask[places] = True
    tied_score = np.isin(np.arange(len(given)), cuts.tied_score)
    kept = SetCuts.from_arrays(cuts.arrays(), filter_by, [of_class.refusal for of_class in cuts.classes])
    return doubted(kept, given, weights, tied, tied_score)


def as_lists(given: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in given]


@pytest.mark.parametrize("mode", MODES)
def test_the_flagged_rows_are_cleanlabs(mode: str) -> None:
    flagged = 0
    for seed in range(60):
        given, weights = random_answers(seed)
        options = {"frac_noise": (1.0, 0.5)[seed % 2], "min_examples_per_class": (1, 0, 4)[seed % 3]}
        options = options if mode in PRUNING else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = find_label_issues(as_lists(given), STORED[weights], filter_by=mode, n_jobs=1, **options)
        ours = judged(given, weights, mode, **options).any(axis=1)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"seed {seed}")
        flagged += int(ours.sum())
    assert flagged > 50


@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith("low_")])
def test_the_flagged_answers_are_cleanlabs(mode: str) -> None:
    for seed in range(20):
        given, weights = random_answers(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = find_multilabel_issues_per_class(
                as_lists(given), STORED[weights], filter_by=mode, n_jobs=1
            )
        np.testing.assert_array_equal(judged(given, weights, mode), theirs, err_msg=f"seed {seed}")


@pytest.mark.parametrize("method", SCORES)
def test_the_scores_are_cleanlabs(method: str) -> None:
    for seed in range(40):
        given, weights = random_answers(seed)
        weights = np.clip(weights, 1, ONE - 1)  # of a certain answer cleanlab's entropy score is 0
        theirs = get_label_quality_scores(as_lists(given), STORED[weights], method=method)
        np.testing.assert_allclose(score_of(qualities(given, weights, method)), theirs, rtol=1e-6)
        if method == "self_confidence":
            np.testing.assert_array_equal(score_of(qualities(given, weights)), theirs)


def test_three_answers_by_hand() -> None:
    """The worst answer is given .8 and what the others come to the rest: .8 * .3 + .2 * .9."""
    scores = np.array([[0.9, 0.9, 0.3], [0.4, 0.9, 0.6]])
    assert score_of(scores) == pytest.approx([0.42, 0.452])


def test_one_wrong_answer_of_six_rows_by_hand() -> None:
    """Of the first class t_no = mean(.9, .8, .1) and t_yes = mean(.8, .9, .3): rows 2 and 5 are flagged, as
    with two classes; of the second class nothing is wrong."""
    p = np.array([[0.1, 0.2, 0.9, 0.8, 0.9, 0.3], [0.9, 0.1, 0.9, 0.1, 0.9, 0.1]]).T
    given = np.array([[0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=np.int8).T
    found = judged(given, np.rint(p * ONE).astype(np.int16), "prune_by_noise_rate")
    assert np.argwhere(found).tolist() == [[2, 0], [5, 0]]


def test_groups_of_classes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given, weights = random_answers(4)
    whole = judged(given, weights, "both")
    monkeypatch.setattr(per_class, "ANSWERS", len(given))
    np.testing.assert_array_equal(judged(given, weights, "both"), whole)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [0, 1])
def test_no_row_one_row_and_a_class_that_all_rows_have_flag_nothing(mode: str, n: int) -> None:
    given, weights = np.ones((n, 2), dtype=np.int8), np.full((n, 2), 100, dtype=np.int16)
    assert not judged(given, weights, mode).any()


@settings(max_examples=60, deadline=None)
@drawn(
    answered=arrays.arrays(np.int8, (5, 3), elements=st.integers(0, 1)),
    weights=arrays.arrays(np.int16, (5, 3), elements=st.integers(0, ONE)),
)
def test_a_score_lies_between_the_worst_answer_and_the_best(
    answered: np.ndarray, weights: np.ndarray
) -> None:
    found = qualities(answered, weights)
    scores = score_of(found)
    assert (scores >= found.min(axis=1) - 1e-12).all()
    assert (scores <= found.max(axis=1) + 1e-12).all()
