"""Residuals against cleanlab and by hand. Run: pytest tests/tasks/detect/test_residual.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cleanlab.regression.rank import get_label_quality_scores

from tasks.detect import Window
from tasks.detect.residual import Residual
from tests.tasks.detect.numbers import judged, noisy, numbered


def test_three_rows_by_hand() -> None:
    """Targets 0, 0, 6 deviate by sqrt(8); residuals are 0, 0 and 8, the median score is 1, the limit 0.05."""
    rows = numbered(np.array([0.0, 0.0, 6.0]), np.array([0.0, 0.0, -2.0]))
    found = judged(Residual(), rows)
    assert found.score.tolist() == pytest.approx([1, 1, np.exp(-8 / np.sqrt(8))])
    assert found.is_issue.tolist() == [False, False, False]
    assert judged(Residual(threshold=0.06), rows).is_issue.tolist() == [False, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_scores_and_flags_are_cleanlabs_in_deviations_of_the_target(seed: int) -> None:
    given, predicted, _ = noisy(500, seed)
    unit = given.std()
    theirs = get_label_quality_scores(given / unit, predicted / unit, method="residual")
    ours = judged(Residual(), numbered(given, predicted))
    np.testing.assert_allclose(ours.score, theirs, rtol=1e-6)
    assert np.array_equal(ours.is_issue, theirs < np.median(theirs) * 0.05)
    assert ours.is_issue.any()


@pytest.mark.parametrize("factor", [1e-6, 1000.0])
def test_the_unit_decides_nothing(factor: float) -> None:
    given, predicted, _ = noisy(300, 1)
    first, second = (judged(Residual(), numbered(given * f, predicted * f)) for f in (1.0, factor))
    np.testing.assert_allclose(first.score, second.score, rtol=1e-5)
    assert np.array_equal(first.is_issue, second.is_issue)


def test_wrong_targets_rank_first() -> None:
    given, predicted, wrong = noisy(1000, 2)
    found = judged(Residual(), numbered(given, predicted))
    assert wrong[np.argsort(found.score)[: wrong.sum()]].mean() > 0.95
    assert wrong[found.is_issue].all()


def test_a_finding_depends_on_the_window_and_on_no_other_row() -> None:
    given, predicted, _ = noisy(200, 3)
    rows = numbered(given, predicted)
    parts = [rows.take(np.arange(start, start + 50)) for start in range(0, 200, 50)]
    whole, dealt = Residual().fit(Window.of(rows)), Residual().fit(Window.of(*parts[::-1]))
    assert {name: array.tobytes() for name, array in whole.arrays.items()} == {
        name: array.tobytes() for name, array in dealt.arrays.items()
    }
    one = Residual().apply(rows.take(np.array([7])), whole, Window.of(rows))
    assert one.score[0] == Residual().apply(rows, whole, Window.of(rows)).score[7]


def test_held_out_rows_are_judged_and_decide_nothing() -> None:
    given, predicted, _ = noisy(100, 4)
    rows = numbered(given, predicted)
    held = replace(rows, trains=np.arange(100) < 50)
    assert Residual().fit(Window.of(held)).info["rows"] == 50
    assert len(judged(Residual(), held)) == 100


def test_a_row_without_a_target_is_no_issue() -> None:
    found = judged(Residual(), numbered(np.array([np.nan, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])))
    assert (found.score[0], bool(found.is_issue[0])) == (1.0, False)
    assert np.isnan(found.p_error).all()
    assert found.suggested_label.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("given", [[], [np.nan], [2.0], [2.0, 2.0]])
def test_where_there_is_nothing_to_compare_nothing_is_flagged(given: list[float]) -> None:
    rows = numbered(np.array(given), np.full(len(given), 2.0))
    found, state = judged(Residual(), rows), Residual().fit(Window.of(rows))
    assert not found.is_issue.any()
    assert (found.score == 1).all()
    assert bool(state.info["notes"]) == (not np.isfinite(given).any())
