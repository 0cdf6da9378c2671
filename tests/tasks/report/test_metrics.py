"""The figures of the metrics table. Run: python -m pytest tests/tasks/report/test_metrics.py"""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score

from tasks.data import ACTIONS, Decisions, Issues, SoftLabels
from tasks.report import Figure, metrics

from .conftest import Night


def values(figures: list[Figure]) -> dict[str, float]:
    assert len({f.name for f in figures}) == len(figures)
    assert all(np.isfinite(f.value) for f in figures)
    return {f.name: f.value for f in figures}


def ids(n: int) -> np.ndarray:
    return np.array([f"r{i}" for i in range(n)], dtype=object)


def int32(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


def decisions(given: list[int], label: list[int], action: list[str]) -> Decisions:
    n = len(given)
    codes = np.array([ACTIONS.index(a) for a in action], np.int8)
    text = np.array([""] * n, dtype=object)
    return Decisions(ids(n), int32(given), int32(label), codes, np.ones(n, np.float32), text, text)


def issues(flagged: list[bool], score: list[float]) -> Issues:
    n = len(flagged)
    quality = np.array(score, np.float32)
    return Issues(ids(n), quality, np.array(flagged, bool), np.zeros(n, np.int32), 1 - quality)


def test_ingest_counts_what_was_rejected() -> None:
    assert values(metrics.ingest(9, 1)) == {"rows": 9, "rejected": 1, "share_rejected": 0.1}
    assert values(metrics.ingest(0, 0)) == {"rows": 0, "rejected": 0}


def test_teachers_are_judged_by_their_first_class_against_given_and_truth() -> None:
    probs = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0], [0.0, 1.0]])
    soft = SoftLabels.from_pred_probs(ids(4), int32([0, 0, 0, -1]), probs, top_k=2)
    found = values(metrics.teach({"Linear-1": soft}, int32([0, 1, -1, -1])))
    assert found["teacher_linear_1_accuracy_given"] == pytest.approx(2 / 3)
    assert found["teacher_linear_1_accuracy_truth"] == 1
    assert found["teacher_linear_1_ece_given"] == pytest.approx((0.5 + 0.75 + 0) / 3, abs=1e-4)
    assert found["teacher_linear_1_ece_truth"] == pytest.approx((0.5 + 0.25) / 2, abs=1e-4)


def test_detection_by_hand() -> None:
    given, truth = int32([0, 0, 1, 1, -1]), int32([0, 1, 1, 0, 1])
    found = values(
        metrics.detect(
            {"d": issues([False, True, True, False, True], [0.9, 0.1, 0.2, 0.8, 0.0])}, given, truth, ["d"]
        )
    )
    assert found["share_flagged"] == 0.5
    assert found["detection_precision"] == 0.5
    assert found["detection_recall"] == 0.5
    assert found["detection_average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_detectors_are_judged_alone_and_together() -> None:
    given, truth = int32([0, 0, 0, 0]), int32([1, 1, 0, 0])
    one, two = (
        issues([True, False, False, False], [0.1, 1, 1, 1]),
        issues([False, True, False, False], [1, 0.1, 1, 1]),
    )
    found = values(metrics.detect({"one": one, "a.b:Two": two}, given, truth, ["one", "a.b:Two"]))
    assert found["detector_one_recall"] == found["detector_a_b_two_recall"] == 0.5
    assert found["detection_recall"] == found["detection_average_precision"] == 1
    assert found["share_flagged"] == 0.5


def test_labels_are_judged_by_the_detector_that_weighs_the_others() -> None:
    given, truth = int32([0, 0, 1, 1]), int32([1, 1, 1, 1])
    noisy, weigher = issues([True] * 4, [0.1] * 4), issues([True, True, False, False], [0.1, 0.2, 0.9, 0.9])
    found = values(metrics.detect({"noisy": noisy, "weigher": weigher}, given, truth, ["weigher"]))
    assert found["detection_precision"] == 1
    assert found["detector_noisy_precision"] == 0.5


def test_detection_agrees_with_scikit_learn_on_real_rows(night: Night) -> None:
    given, truth = night.decisions.given, night.truth
    wrong, found = given != truth, values(metrics.detect({"d": night.issues}, given, truth, ["d"]))
    assert found["detection_precision"] == precision_score(wrong, night.issues.is_issue)
    assert found["detection_recall"] == recall_score(wrong, night.issues.is_issue)
    assert found["detection_average_precision"] == average_precision_score(wrong, -night.issues.score)


def test_relabelling_by_hand() -> None:
    made = decisions([0, 1, 2, 0, -1], [0, 2, -1, 0, 1], ["keep", "fix", "drop", "review", "human"])
    found = values(metrics.relabel(made, int32([0, 2, 0, 1, -1])))
    assert found["share_changed"] == 0.2
    assert [found[f"share_{a}"] for a in ("kept", "fixed", "softened", "dropped", "review", "human")] == [
        0.2, 0.2, 0, 0.2, 0.2, 0.2,
    ]  # fmt: skip
    assert found["label_accuracy_given"] == 0.25
    assert found["label_accuracy_curated"] == pytest.approx(2 / 3)


def test_graded_views_by_hand() -> None:
    # of 12 views 3 were dropped and 1 was the last of its row; the second class lost 2 of its 4
    regions = {"hard": 1, "uncertain": 2, "confident": 6}
    found = values(metrics.reinforce(12, regions, np.array([1, 2, 0]), np.array([8, 4, 0])))
    assert found == {
        "views_hard": pytest.approx(4 / 12),
        "views_uncertain": pytest.approx(2 / 12),
        "views_confident": 0.5,
        "views_dropped_worst_class": 0.5,
    }
    assert metrics.reinforce(12, {}, np.zeros(3, int), np.zeros(3, int)) == []


def test_how_often_views_are_judged_as_their_rows_are() -> None:
    assert values(metrics.agreement(3, 4)) == {"views_agree": 0.75}
    assert metrics.agreement(0, 0) == []


def test_without_truth_nothing_is_claimed_about_it(night: Night) -> None:
    unknown = np.full(len(night.truth), -1, np.int32)
    found = values(
        [
            *metrics.teach(night.opinions, unknown),
            *metrics.detect({"d": night.issues}, night.decisions.given, unknown, ["d"]),
            *metrics.relabel(night.decisions, unknown),
        ]
    )
    assert "share_flagged" in found
    assert not [n for n in found if re.search("truth|precision|recall|label_accuracy", n)]


def test_a_student_counts_by_the_mean_of_its_seeds_and_not_at_all_when_unmeasured() -> None:
    found = values(metrics.student({"given": (0.5, 0.7), "curated": (float("nan"),), "other": ()}, 50))
    assert found == {"accuracy_given": pytest.approx(0.6)}


def test_what_curation_lost_is_told_where_the_test_rows_show_it() -> None:
    assert values(metrics.student({"given": (0.9,), "curated": (0.88,)}, 100))["curation_loss"] == 0
    assert values(metrics.student({"given": (0.8,), "curated": (0.9,)}, 10**6))["curation_loss"] == 0
    found = values(metrics.student({"given": (0.9, 0.9), "curated": (0.5, 0.5)}, 10**6))["curation_loss"]
    assert found == pytest.approx(0.4, abs=0.01)


def test_rows_without_a_label_are_counted() -> None:
    assert values(metrics.labelled(int32([0, -1, 3, -1]))) == {"share_unlabelled": 0.5}
    assert metrics.labelled(int32([])) == []


def test_probabilities_that_do_not_sum_to_one_are_counted_by_row() -> None:
    probs = np.array([[0.5, 0.5, 0.0], [0.45, 0.45, 0.0], [0.6, 0.6, 0.0], [0.5, 0.3, 0.2]])
    whole = SoftLabels.from_pred_probs(ids(4), int32([0, 0, 0, 2]), probs, top_k=3)
    assert values(metrics.teach({"t": whole}, int32([-1] * 4)))["share_not_summing_to_one"] == 0.5
    right = SoftLabels.from_pred_probs(ids(1), int32([2]), probs[3:], top_k=1)
    both = values(metrics.teach({"t": right, "u": right}, int32([-1])))
    assert both["share_not_summing_to_one"] == 0


def test_what_soft_labels_cost_and_leave_out_by_hand() -> None:
    """Two classes of four kept: 2 * (4 + 2) bytes and 2 + 2 more; a fifth is left to the others, and a
    tenth where one of them is the given label."""
    probs = np.array([[0.5, 0.3, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1]])
    soft = SoftLabels.from_pred_probs(ids(2), int32([0, 3]), probs, top_k=2)
    found = values(metrics.soft_labels(soft))
    assert found["soft_label_bytes"] == 16
    assert found["soft_label_mass_cut"] == pytest.approx(0.15, abs=1e-4)


def test_no_rows_and_no_methods_give_no_figures() -> None:
    nothing = np.zeros(0, np.int32)
    empty = SoftLabels.from_pred_probs(ids(0), nothing, np.zeros((0, 3)), top_k=2)
    assert metrics.teach({"t": empty}, nothing) == metrics.teach({}, nothing) == []
    assert metrics.soft_labels(empty) == []
    assert (
        metrics.detect({}, nothing, nothing, [])
        == metrics.detect({"d": issues([], [])}, nothing, nothing, ["d"])
        == []
    )
    assert metrics.relabel(decisions([], [], []), nothing) == []


def test_names_are_lower_snake(night: Night) -> None:
    found = [
        *metrics.ingest(1, 1),
        *metrics.teach({"my.pkg:Teacher": next(iter(night.opinions.values()))}, night.truth),
        *metrics.detect(
            {"my.pkg:Détecteur": night.issues}, night.decisions.given, night.truth, ["my.pkg:Détecteur"]
        ),
        *metrics.relabel(night.decisions, night.truth),
    ]
    assert all(re.fullmatch("[a-z0-9_]+", f.name) for f in found)
