"""One probability of an error. Run: .venv/bin/python -m pytest tests/tasks/detect/test_combined.py"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.data import Issues, Labelled, SoftLabels, State
from tasks.detect import Window
from tasks.detect.combined import Combined, as_many_as_expected
from tests.tasks.detect.rows import labelled


def world(n: int, seed: int) -> tuple[Labelled, np.ndarray]:
    """Rows of three classes with a fifth of the labels drawn anew, a fair teacher, a detector of some use
    and one of none; the truth."""
    random, k = np.random.default_rng(seed), 3
    truth = random.integers(k, size=n)
    labels = np.where(random.random(n) < 0.3, random.integers(k, size=n), truth).astype(np.int32)
    logits = 2.5 * np.eye(k)[truth] + random.normal(size=(n, k))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = np.array([f"{seed}-{i}" for i in range(n)], dtype=object)
    rows = labelled(SoftLabels.from_pred_probs(ids, labels, probs, 10))
    rows = replace(rows, keys=random.integers(1 << 63, size=n).astype(np.uint64))
    useful = np.clip(0.7 * (labels == truth) + 0.3 * random.random(n), 0, 1)
    return replace(rows, findings=(finding(ids, useful), finding(ids, random.random(n)))), truth


def finding(ids: np.ndarray, score: np.ndarray) -> Issues:
    n = len(ids)
    nothing = np.full(n, np.nan, np.float32)
    return Issues(ids, score.astype(np.float32), np.zeros(n, bool), np.full(n, -1, np.int32), nothing)


def reviewed(rows: Labelled, truth: np.ndarray, n: int) -> Labelled:
    return replace(rows.take(np.arange(n)), decided=truth[:n].astype(np.int32))


def calibration_error(p_error: np.ndarray, wrong: np.ndarray) -> float:
    bins = np.array_split(np.argsort(p_error), 15)
    return float(np.mean([abs(p_error[rows].mean() - wrong[rows].mean()) for rows in bins]))


def test_what_people_decided_makes_the_probability_mean_what_it_says() -> None:
    rows, truth = world(6000, 0)
    people = replace(rows.take(np.arange(0)), decided=np.zeros(0, np.int32))
    alone, helped = Window.of(rows, people=people), Window.of(rows, people=reviewed(rows, truth, 500))
    wrong = rows.labels != truth
    before = Combined().apply(rows, Combined().fit(alone), alone).p_error
    state = Combined().fit(helped)
    after = Combined().apply(rows, state, helped)
    assert state.info["reviews"] == 500
    assert state.info["notes"] == []
    assert calibration_error(after.p_error, wrong) < 0.03
    assert calibration_error(after.p_error, wrong) < calibration_error(before, wrong)
    assert (after.is_issue == (after.p_error > 0.5)).all()
    np.testing.assert_allclose(after.score, 1 - after.p_error, atol=1e-6)
    assert ((after.is_issue & wrong).sum() / after.is_issue.sum()) > 0.8


def test_without_people_as_many_are_flagged_as_the_probabilities_add_up_to() -> None:
    rows, truth = world(3000, 9)
    nobody = replace(rows.take(np.arange(0)), decided=np.zeros(0, np.int32))
    window = Window.of(rows, people=nobody)
    found = Combined().apply(rows, Combined().fit(window), window)
    expected = found.p_error.sum()
    assert (found.p_error > 0.5).sum() < 0.95 * expected
    assert 0.99 * expected < found.is_issue.sum() <= expected
    assert found.p_error[found.is_issue].min() > found.p_error[~found.is_issue].max()
    wrong = rows.labels != truth
    assert (found.is_issue & wrong).sum() > ((found.p_error > 0.5) & wrong).sum()


def test_what_is_more_likely_wrong_than_right_is_flagged_though_it_adds_up_to_less() -> None:
    """A noise matrix that says nothing leaves P(error) to the teachers: 0.55 twice adds up to one row."""
    probs = np.array([[1.0, 0.0]] * 18 + [[0.45, 0.55]] * 2)
    ids = np.arange(20).astype(str).astype(object)
    rows = labelled(SoftLabels.from_pred_probs(ids, np.zeros(20, np.int32), probs, 2))
    state = State({"noise_matrix": np.full((2, 2), 0.5)}, {"temperature": 1.0, "reviews": 0})
    window = Window.of(rows)
    state.info["flag_from"] = as_many_as_expected(window, state)
    found = Combined().apply(rows, state, window)
    assert found.p_error[18:] == pytest.approx([0.55, 0.55], abs=1e-4)
    assert found.is_issue.tolist() == (np.arange(20) >= 18).tolist()


def test_it_listens_to_a_useful_detector_and_not_to_noise() -> None:
    rows, truth = world(4000, 1)
    window = Window.of(rows, people=reviewed(rows, truth, 1000))
    weights = np.abs(Combined().fit(window).arrays["coef"].mean(axis=0))
    assert weights[2] > 5 * weights[3]


@pytest.mark.parametrize(("decisions", "told"), [(0, "0 rows"), (49, "49 rows")])
def test_too_few_decisions_are_said_to_be_too_few(decisions: int, told: str) -> None:
    rows, truth = world(500, 2)
    state = Combined().fit(Window.of(rows, people=reviewed(rows, truth, decisions)))
    assert state.info["reviews"] == 0
    assert "coef" not in state.arrays
    assert told in state.info["notes"][0]


def test_people_who_only_looked_at_sound_rows_calibrate_nothing() -> None:
    rows, truth = world(2000, 3)
    sound = np.flatnonzero(rows.labels == truth)[:200]
    people = replace(rows.take(sound), decided=truth[sound].astype(np.int32))
    state = Combined().fit(Window.of(rows, people=people))
    assert "found 0 errors" in state.info["notes"][0]


def test_a_label_that_a_person_took_away_was_wrong() -> None:
    rows, truth = world(2000, 4)
    people = reviewed(rows, truth, 400)
    gone = replace(people, decided=np.where(people.decided == people.labels, people.decided, -1))
    same = [Combined().fit(Window.of(rows, people=p)).arrays["coef"].tobytes() for p in (people, gone)]
    assert same[0] == same[1]


def test_rows_without_a_label_are_no_issue() -> None:
    rows, truth = world(300, 5)
    blank = replace(rows.soft, labels=np.full(300, -1, np.int32))
    window = Window.of(rows, people=reviewed(rows, truth, 200))
    found = Combined().apply(replace(rows, soft=blank), Combined().fit(window), window)
    assert found.score.tolist() == [1.0] * 300
    assert not found.is_issue.any()
    assert found.p_error.tolist() == [0.0] * 300


def test_a_shard_is_judged_as_its_rows_are_alone() -> None:
    rows, truth = world(800, 6)
    window = Window.of(rows, people=reviewed(rows, truth, 300))
    state = Combined().fit(window)
    whole = Combined().apply(rows, state, window).p_error
    parts = [
        Combined().apply(rows.take(np.arange(a, b)), state, window).p_error for a, b in [(0, 1), (1, 800)]
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_runs_of_the_window_do_not_matter() -> None:
    rows, truth = world(900, 7)
    people = reviewed(rows, truth, 300)
    dealt = [rows.take(np.arange(a, b)) for a, b in [(0, 1), (1, 500), (500, 900)]]
    one, many = (Combined().fit(Window.of(*shards, people=people)) for shards in ([rows], dealt))
    assert all(one.arrays[name].tobytes() == many.arrays[name].tobytes() for name in one.arrays)


def test_an_empty_window_and_a_single_class_are_legal() -> None:
    rows, _ = world(20, 8)
    none = replace(rows.take(np.arange(0)), decided=np.zeros(0, np.int32))
    state = Combined().fit(Window.of(none.take(np.arange(0)), people=none))
    assert len(Combined().apply(none, state, Window.of(none))) == 0
    one = labelled(SoftLabels.from_pred_probs(rows.ids, np.zeros(20, np.int32), np.ones((20, 1)), 10))
    people = replace(one.take(np.arange(0)), decided=np.zeros(0, np.int32))
    window = Window.of(one, people=people)
    found = Combined().apply(one, Combined().fit(window), window)
    assert found.p_error.tolist() == [0.0] * 20
    assert found.suggested_label.tolist() == [-1] * 20
