"""OUTRE against cleanlab and by hand. Run: pytest tests/tasks/detect/test_outre.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cleanlab.regression.rank import get_label_quality_scores

from tasks.detect import Window, outre
from tasks.detect.outre import Outre
from tests.tasks.detect.numbers import judged, noisy, numbered


def test_mean_distances_to_the_nearest_half_by_hand() -> None:
    """Of four points on a line at 0, 1, 3 and 7 each meets itself and its nearest neighbour."""
    sample = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [7.0, 0.0]])
    assert outre.distances(sample, sample).tolist() == [0.5, 0.5, 1.0, 2.0]
    assert outre.distances(np.array([[0.0, 2.0]]), sample).tolist() == [1.0]  # itself, then (0, 0)


def test_of_five_points_the_nearest_half_is_three() -> None:
    sample = np.array([[float(i), 0.0] for i in range(5)])
    assert outre.distances(sample, sample).tolist() == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 1])


@pytest.mark.parametrize("n", [2, 3, 50, 501])
@pytest.mark.parametrize("seed", range(3))
def test_scores_and_flags_are_cleanlabs_where_the_window_is_small(n: int, seed: int) -> None:
    given, predicted, _ = noisy(n, seed)
    theirs = get_label_quality_scores(given, predicted)
    ours = judged(Outre(), numbered(given, predicted))
    np.testing.assert_allclose(ours.score, theirs, rtol=1e-5)
    assert np.array_equal(ours.is_issue, theirs < np.median(theirs) * 0.05)


def test_a_sample_stands_for_a_larger_window(monkeypatch: pytest.MonkeyPatch) -> None:
    given, predicted, wrong = noisy(3000, 7)
    whole = judged(Outre(), numbered(given, predicted))
    monkeypatch.setattr(outre, "SAMPLE", 500)
    some = judged(Outre(), numbered(given, predicted))
    assert np.abs(some.score - whole.score).max() < 0.1
    assert (some.is_issue == whole.is_issue).mean() > 0.99
    assert wrong[some.is_issue].mean() > 0.9


def test_the_state_holds_the_sample_and_never_the_window() -> None:
    given, predicted, _ = noisy(outre.SAMPLE + 1, 0)
    state = Outre().fit(Window.of(numbered(given, predicted)))
    assert state.arrays["points"].shape == (outre.SAMPLE, 2)
    assert state.info["rows"] == outre.SAMPLE + 1


def test_wrong_targets_rank_first() -> None:
    given, predicted, wrong = noisy(1000, 2)
    found = judged(Outre(), numbered(given, predicted))
    assert wrong[np.argsort(found.score)[: wrong.sum()]].mean() > 0.9
    assert found.is_issue.any()
    assert wrong[found.is_issue].all()


def test_a_finding_depends_on_the_window_and_on_no_other_row() -> None:
    given, predicted, _ = noisy(600, 3)
    rows = numbered(given, predicted)
    parts = [rows.take(np.arange(start, start + 150)) for start in range(0, 600, 150)]
    whole, dealt = Outre().fit(Window.of(rows)), Outre().fit(Window.of(*parts))
    assert all(np.array_equal(array, dealt.arrays[name]) for name, array in whole.arrays.items())
    together = Outre().apply(rows, whole, Window.of(rows)).score
    for number, part in enumerate(parts):
        alone = Outre().apply(part.take(np.array([3])), whole, Window.of(rows)).score[0]
        assert alone == together[number * 150 + 3]


def test_held_out_rows_are_judged_and_decide_nothing() -> None:
    given, predicted, _ = noisy(100, 4)
    held = replace(numbered(given, predicted), trains=np.arange(100) < 50)
    assert Outre().fit(Window.of(held)).info["rows"] == 50
    assert len(judged(Outre(), held)) == 100


def test_a_row_without_a_target_is_no_issue() -> None:
    found = judged(Outre(), numbered(np.array([np.nan, 1.0, 2.0]), np.array([1.0, 1.5, 2.0])))
    assert (found.score[0], bool(found.is_issue[0])) == (1.0, False)
    assert np.isnan(found.p_error).all()


@pytest.mark.parametrize("given", [[], [np.nan], [2.0], [2.0, 2.0, 2.0]])
def test_where_there_is_nothing_to_compare_nothing_is_flagged(given: list[float]) -> None:
    rows = numbered(np.array(given), np.full(len(given), 2.5))
    found, state = judged(Outre(), rows), Outre().fit(Window.of(rows))
    assert not found.is_issue.any()
    assert (found.score == 1).all()
    assert bool(state.info["notes"]) == (not np.isfinite(given).any())


def test_a_window_without_targets_leaves_a_state_that_later_rows_can_be_judged_by() -> None:
    empty, later = numbered(np.zeros(0), np.zeros(0)), numbered(np.array([1.0]), np.array([9.0]))
    state = Outre().fit(Window.of(empty))
    assert Outre().apply(later, state, Window.of(empty)).score.tolist() == [1.0]
