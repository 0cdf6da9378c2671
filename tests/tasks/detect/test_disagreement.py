"""A committee against the label. Run: .venv/bin/python -m pytest tests/tasks/detect/test_disagreement.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from tasks.data import Issues, Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.disagreement import Disagreement
from tests.tasks.detect.rows import labelled


def committee(labels: list[int], *opinions: list[list[float]]) -> Labelled:
    """Rows with one (n, k) opinion a teacher."""
    ids = np.array([f"row-{i}" for i in range(len(labels))], dtype=object)
    given = np.array(labels, np.int32)
    said = tuple(SoftLabels.from_pred_probs(ids, given, np.array(o, float), 10) for o in opinions)
    return labelled(said[0], opinions=said)


def judge(rows: Labelled, detector: Disagreement | None = None) -> Issues:
    detector, window = detector or Disagreement(), Window.of(rows)
    return detector.apply(rows, detector.fit(window), window)


def sure_of(*classes: int, k: int = 3) -> list[list[float]]:
    return [[float(j == c) for j in range(k)] for c in classes]


def test_two_teachers_by_hand() -> None:
    """Both against the label, with one voice; both for it; each sure of another class, one for it or none."""
    rows = committee([0, 0, 0, 0], sure_of(1, 0, 0, 1), sure_of(1, 0, 1, 2))
    found = judge(rows)
    np.testing.assert_allclose(found.score, [0, 1, 0.5, 0.5], atol=1e-6)
    assert found.is_issue.tolist() == [True, False, False, False]
    assert found.suggested_label.tolist() == [1, -1, -1, 1]
    assert np.isnan(found.p_error).all()


def test_of_three_teachers_a_majority_may_do() -> None:
    rows = committee([0, 0, 0], sure_of(1, 1, 1), sure_of(1, 2, 1), sure_of(0, 1, 1))
    assert judge(rows).is_issue.tolist() == [False, False, True]
    assert judge(rows, Disagreement(flag_by="majority")).is_issue.tolist() == [True, True, True]
    assert judge(rows, Disagreement(flag_by="majority")).suggested_label.tolist() == [1, 1, 1]


def test_half_the_teachers_are_no_majority() -> None:
    rows = committee([0], sure_of(1), sure_of(0))
    assert not judge(rows, Disagreement(flag_by="majority")).is_issue.any()


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 10**6))
def test_the_quality_is_what_scipys_divergence_makes_of_it(m: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    said = [random.dirichlet(np.full(k, 0.4), 6) for _ in range(m)]
    labels = random.integers(0, k, 6)
    rows = committee(labels.tolist(), *(each.tolist() for each in said))
    score = judge(rows).score
    assert ((score >= 0) & (score <= 1)).all()
    if m == 2:
        apart = jensenshannon(*(each.T for each in said), base=2) ** 2
        mean = np.mean(said, axis=0)[np.arange(6), labels]
        np.testing.assert_allclose(score, (1 - apart) * mean + apart / 2, atol=2e-3)


def test_teachers_who_part_company_leave_less_of_what_they_say() -> None:
    near, far = [[0.1, 0.9]], [[0.3, 0.7]]
    agreeing, parted = judge(committee([0], near, near)).score, judge(committee([0], near, far)).score
    assert agreeing[0] == pytest.approx(0.1, abs=1e-4)
    assert parted[0] > np.mean([0.1, 0.3])  # drawn to a half


def test_a_row_without_label_is_no_issue_and_no_rows_are_legal() -> None:
    rows = committee([-1, 0], sure_of(1, 1), sure_of(1, 1))
    found = judge(rows)
    assert found.score.tolist() == [1, 0]
    assert found.is_issue.tolist() == [False, True]
    assert found.suggested_label.tolist() == [-1, 1]
    assert len(judge(rows.take(np.arange(0)))) == 0


def test_one_class_is_never_disputed() -> None:
    rows = committee([0, 0], [[1.0], [1.0]], [[1.0], [1.0]])
    found = judge(rows)
    assert found.score.tolist() == [1, 1]
    assert not found.is_issue.any()


def test_a_row_in_any_company_is_judged_alike() -> None:
    random = np.random.default_rng(0)
    said = [random.dirichlet(np.ones(7), 50).tolist() for _ in range(3)]
    rows = committee(random.integers(0, 7, 50).tolist(), *said)
    whole = judge(rows)
    for part in (np.arange(1), np.arange(1, 50)[::-1]):
        assert judge(rows.take(part)).score.tobytes() == whole.score[part].tobytes()


def test_one_teacher_alone_is_told_and_none_is_refused() -> None:
    lone = committee([0], sure_of(1))
    assert Disagreement().fit(Window.of(lone)).info["notes"] == [
        "disagreement heard one teacher only; name a second under teach.teachers"
    ]
    two = committee([0], sure_of(1), sure_of(1))
    assert Disagreement().fit(Window.of(two)).info["notes"] == []
    with pytest.raises(ValueError, match="there are none"):
        judge(labelled(lone.soft))
