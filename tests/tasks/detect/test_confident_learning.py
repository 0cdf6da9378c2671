"""Confident learning against cleanlab and by hand: pytest tests/tasks/detect/test_confident_learning.py"""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from pydantic import ValidationError

from tasks.data import SoftLabels
from tasks.detect.confident_learning import PRUNING, ConfidentLearning
from tests.tasks.detect.rows import fit, judge

MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)
SCORES = get_args(ConfidentLearning.model_fields["score"].annotation)


def soft_labels(labels: np.ndarray, pred_probs: np.ndarray, top_k: int = 10) -> SoftLabels:
    ids = np.array([f"row{i}" for i in range(len(labels))], dtype=object)
    return SoftLabels.from_pred_probs(ids, labels, pred_probs, top_k)


def flags(detector: ConfidentLearning, soft: SoftLabels) -> np.ndarray:
    return judge(detector, soft).is_issue


def random_window(seed: int) -> SoftLabels:
    """Labels and teachers with absent, single-row and never-predicted classes, zeros and one-hot rows."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 9)), int(rng.integers(2, 80))
    classes = rng.choice(k, size=int(rng.integers(1, k + 1)), replace=False)
    labels = rng.choice(classes, size=n)
    labels[0] = rng.integers(k)
    pred_probs = rng.dirichlet(np.full(k, rng.choice([0.05, 0.3, 1.0])), n)
    pred_probs[np.arange(n), labels] += rng.choice([0.0, 0.5, 2.0])
    if rng.random() < 0.5:
        pred_probs[:, rng.integers(k)] = 0.0
    pred_probs += 1e-300
    pred_probs /= pred_probs.sum(axis=1, keepdims=True)
    return soft_labels(labels, pred_probs, top_k=int(rng.integers(1, k + 2)))


def hand_case() -> SoftLabels:
    p_1 = np.array([0.1, 0.2, 0.9, 0.8, 0.9, 0.3])
    return soft_labels(np.array([0, 0, 0, 1, 1, 1]), np.stack([1 - p_1, p_1], axis=1))


@pytest.mark.parametrize("mode", MODES)
def test_six_rows_by_hand(mode: str) -> None:
    """t_0 = mean(.9, .8, .1) = .6 and t_1 = mean(.8, .9, .3) = .667, so the rows are confidently of
    class 0, 0, 1, 1, 1, 0: one error in each class, rows 2 and 5, whatever the mode."""
    detector, soft = ConfidentLearning(filter_by=mode), hand_case()
    state = fit(detector, soft)
    assert state.arrays["thresholds"] == pytest.approx([0.6, 2 / 3], abs=1e-4)
    assert state.arrays["confident_joint"].tolist() == [[2, 1], [1, 2]]
    assert state.arrays["confident_joint"].dtype == np.int64
    tied = {"margin": [], "given": [], "score": []}
    assert state.info == {"tied": tied, "rows": 6, "refusal": None, "notes": []}
    found = judge(detector, soft, state)
    assert found.is_issue.tolist() == [False, False, True, False, False, True]
    assert found.suggested_label.tolist() == [0, 0, 1, 1, 1, 0]
    assert found.score == pytest.approx([0.9, 0.8, 0.1, 0.8, 0.9, 0.3], abs=1e-4)
    assert found.p_error == pytest.approx([0.1, 0.2, 0.9, 0.2, 0.1, 0.7], abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_flags_are_cleanlabs_on_the_decoded_probabilities(mode: str) -> None:
    compared = flagged = 0
    for seed in range(150):
        soft = random_window(seed)
        options = {"filter_by": mode, "min_examples_per_class": (1, 0, 5)[seed % 3]}
        options |= {"frac_noise": (1.0, 0.5)[seed % 2]} if mode in PRUNING else {}
        ours = flags(ConfidentLearning(**options), soft)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = find_label_issues(soft.labels, soft.pred_probs(), n_jobs=1, **options)
            except ValueError:
                assert not ours.any()
                continue
        compared, flagged = compared + 1, flagged + int(theirs.sum())
        assert np.array_equal(ours, theirs), f"seed {seed}"
    assert compared > 120
    assert flagged > 100


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_cleanlabs_but_for_certain_teachers(score: str) -> None:
    detector = ConfidentLearning(score=score)
    for seed in range(40):
        soft = random_window(seed)
        pred_probs = soft.pred_probs()
        ours = judge(detector, soft).score
        theirs = np.clip(get_label_quality_scores(soft.labels, pred_probs, method=score), 0, 1)
        certain = pred_probs[np.arange(len(soft)), soft.labels] == 1
        assert ours[~certain] == pytest.approx(theirs[~certain], abs=1e-6)
        assert np.all(ours[certain] == 1)


@pytest.mark.parametrize("score", SCORES)
def test_a_label_that_the_teachers_are_certain_of_gets_the_best_score(score: str) -> None:
    """cleanlab's entropy score is 0, the worst, for a one-hot prediction on its own label."""
    soft = soft_labels(np.array([0, 0, 1]), np.array([[1.0, 0.0], [0.6, 0.4], [1.0, 0.0]]))
    detector = ConfidentLearning(score=score)
    certain, unsure, wrong = judge(detector, soft).score
    assert certain == 1
    assert 1 > unsure > wrong
    assert wrong == 0


def test_planted_flips_on_digits_are_found() -> None:
    """Card: with a fifth of the labels moved to the next digit, precision and recall far above chance."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    flipped = rng.random(len(truth)) < 0.2
    labels = np.where(flipped, (truth + 1) % 10, truth)
    model = LogisticRegression(C=0.05, max_iter=200)
    soft = soft_labels(labels, cross_val_predict(model, x / 16, labels, cv=3, method="predict_proba"))
    detector = ConfidentLearning()
    found = judge(detector, soft)
    hits = (found.is_issue & flipped).sum()
    assert hits / found.is_issue.sum() > 0.7  # chance: 0.2
    assert hits / flipped.sum() > 0.8
    mended = np.where(found.is_issue, found.suggested_label, labels)
    assert np.mean(mended == truth) > 0.88 > np.mean(labels == truth)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_shards_do_not_change_a_byte(mode: str, size: int) -> None:
    soft = random_window(5)
    detector = ConfidentLearning(filter_by=mode, score="confidence_weighted_entropy")
    shards = [soft.take(np.arange(i, min(i + size, len(soft)))) for i in range(0, len(soft), size)]
    whole, dealt = fit(detector, soft), fit(detector, *shards)
    assert whole.info == dealt.info
    assert all(whole.arrays[name].tobytes() == dealt.arrays[name].tobytes() for name in whole.arrays)
    one = judge(detector, soft, whole)
    parts = [judge(detector, shard, dealt) for shard in shards]
    for field in ("score", "is_issue", "suggested_label", "p_error"):
        assert np.concatenate([getattr(p, field) for p in parts]).tobytes() == getattr(one, field).tobytes()


def test_windows_judged_at_the_same_time_do_not_mix() -> None:
    windows, detector = [random_window(seed) for seed in range(16)], ConfidentLearning(filter_by="both")
    alone = [flags(detector, window).tolist() for window in windows]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda window: flags(detector, window).tolist(), windows))
    assert together == alone
    assert any(map(any, alone))


def test_the_state_names_only_rows_that_are_equal_at_a_cut() -> None:
    """Thresholds .58 and .85: of class 0, six rows are sure of it and four equally sure of class 1, all
    counted. A share of .8 of those four is 3.2: three are pruned, and a margin cannot say which."""
    p_1 = np.array([0.1] * 6 + [0.9] * 4 + [0.9, 0.8])
    soft = soft_labels(np.array([0] * 10 + [1] * 2), np.stack([1 - p_1, p_1], axis=1))
    detector = ConfidentLearning(frac_noise=0.8)
    state = fit(detector, soft)
    assert state.arrays["confident_joint"].tolist() == [[6, 4], [0, 1]]
    assert len(state.info["tied"]["margin"]) == 3
    found = judge(detector, soft, state)
    assert set(state.info["tied"]["margin"]) == set(soft.ids[found.is_issue])
    assert set(state.info["tied"]["margin"]) < {"row6", "row7", "row8", "row9"}


def test_a_state_of_many_rows_is_small() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 20_000)
    pred_probs = rng.dirichlet(np.full(5, 0.5), 20_000)
    soft = soft_labels(labels, pred_probs)
    state = fit(ConfidentLearning(), soft)
    assert flags(ConfidentLearning(), soft).sum() > 5000
    assert sum(array.nbytes for array in state.arrays.values()) < 2000
    assert sum(map(len, state.info["tied"].values())) < 200


def test_rows_without_a_label_are_scored_1_and_change_nothing_for_the_others() -> None:
    soft = hand_case()
    unlabelled = SoftLabels.from_pred_probs(
        np.array(["new0", "new1"], dtype=object), np.array([-1, -1]), np.array([[0.3, 0.7], [1.0, 0.0]]), 10
    )
    detector = ConfidentLearning()
    state = fit(detector, unlabelled, soft, unlabelled)
    assert state.info == fit(detector, soft).info
    found = judge(detector, unlabelled, state)
    assert found.score.tolist() == [1, 1]
    assert found.p_error.tolist() == [0, 0]
    assert found.is_issue.tolist() == [False, False]
    assert found.suggested_label.tolist() == [1, 0]


@pytest.mark.parametrize("mode", MODES)
def test_no_rows_are_legal(mode: str) -> None:
    soft = hand_case()
    detector, none = ConfidentLearning(filter_by=mode), soft.take(np.arange(0))
    state = fit(detector, none)
    assert state.info["notes"] == [
        "no label was flagged among the window's 0 labelled rows: no row has a given label"
    ]
    assert not judge(detector, soft, state).is_issue.any()
    assert len(judge(detector, none, state)) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_is_no_ground_for_flags(mode: str, only: int) -> None:
    soft = soft_labels(np.full(4, only), np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.2, 0.8]]))
    detector = ConfidentLearning(filter_by=mode)
    state = fit(detector, soft)
    if only == 1 or mode.startswith("low_"):
        assert not judge(detector, soft, state).is_issue.any()
        assert state.info["notes"] == [
            "no label was flagged among the window's 4 labelled rows: the given labels are all of one class"
        ]
    assert len(judge(detector, soft, state)) == 4


def test_a_vocabulary_of_one_class_has_nothing_to_suggest() -> None:
    soft = soft_labels(np.zeros(3, int), np.ones((3, 1)))
    detector = ConfidentLearning(score="normalized_margin")
    found = judge(detector, soft)
    assert not found.is_issue.any()
    assert found.score.tolist() == [1, 1, 1]


def test_a_single_row_is_never_flagged() -> None:
    soft = soft_labels(np.array([0]), np.array([[0.01, 0.99]]))
    assert not flags(ConfidentLearning(), soft).any()


def test_classes_too_rare_to_judge_are_named() -> None:
    labels = np.array([0, 0, 0, 0, 2, 2, 3])
    soft = soft_labels(labels, np.random.default_rng(0).dirichlet(np.ones(5), 7))
    pruning = fit(ConfidentLearning(min_examples_per_class=2), soft)
    assert pruning.info["notes"] == ["too few labelled rows to flag any of class 2, 3"]
    assert pruning.arrays["thresholds"][[1, 4]].tolist() == [2, 2]
    assert fit(ConfidentLearning(filter_by="predicted_neq_given"), soft).info["notes"] == []


def test_a_flagged_row_is_never_told_to_keep_its_label() -> None:
    for seed in range(40):
        soft = random_window(seed)
        for mode in ("low_normalized_margin", "low_self_confidence", "prune_by_class"):
            detector = ConfidentLearning(filter_by=mode)
            found = judge(detector, soft)
            assert np.all(found.suggested_label[found.is_issue] != soft.labels[found.is_issue])


@pytest.mark.parametrize("frac_noise", [0, 1.5])
def test_a_share_outside_0_to_1_is_refused(frac_noise: float) -> None:
    with pytest.raises(ValidationError):
        ConfidentLearning(frac_noise=frac_noise)


def test_a_share_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"frac_noise is 0\.5, but filter_by confident_learning"):
        ConfidentLearning(filter_by="confident_learning", frac_noise=0.5)


def test_the_method_is_described_without_loading_cleanlab() -> None:
    heavy = "{'cleanlab', 'scipy', 'sklearn', 'torch'}"
    code = f"import sys, tasks.detect; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
