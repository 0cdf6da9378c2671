"""The binary view. Run: .venv/bin/python -m pytest tests/tasks/teach/test_yes_no.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.data import State
from tasks.teach import yes_no
from tasks.teach.mean import Mean
from tasks.teach.stacked import Stacked
from tasks.teach.temperature import best_temperature, nll_grid, scale
from tasks.teach.yes_no import (
    LIMIT,
    answers,
    as_sets,
    every_class,
    log_odds,
    log_probs,
    probabilities,
)

odds = arrays.arrays(np.float32, (2, 4, 3), elements=st.floats(-80, 80, width=32))


def test_each_answer_becomes_a_row_of_two_classes_those_of_a_row_side_by_side() -> None:
    found = np.exp(log_probs(np.log(np.array([[1.0, 3.0], [1 / 3, 9.0]]))))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.25, 0.75], [0.75, 0.25], [0.1, 0.9]], atol=1e-6)
    assert answers(np.array([[0, 1], [-1, -1]], dtype=np.int8)).tolist() == [0, 1, -1, -1]


@drawn(odds)
def test_the_view_holds_the_probabilities_whatever_the_odds(said: np.ndarray) -> None:
    view = log_probs(said)
    assert np.isfinite(view).all()
    np.testing.assert_allclose(as_sets(np.exp(view[0, :, 1]), 3), probabilities(said)[0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(view.astype(np.float64)).sum(axis=-1), 1, atol=1e-6)


@drawn(arrays.arrays(np.float64, (3, 2), elements=st.floats(1e-6, 1 - 1e-6)))
def test_log_odds_give_the_probabilities_back(p: np.ndarray) -> None:
    np.testing.assert_allclose(probabilities(log_odds(p, 1e-12)), p, rtol=1e-5, atol=1e-7)


def test_certain_probabilities_have_finite_odds() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 1.0]), 1e-12)).all()


def test_a_class_that_comes_after_those_known_is_denied() -> None:
    found = every_class(np.array([[50.0, 0.0]]), 3)
    np.testing.assert_allclose(found, [[LIMIT, 0, -LIMIT]], rtol=1e-6)
    assert probabilities(found)[0, 2] == pytest.approx(1e-6, rel=1e-3)


def test_one_temperature_is_found_for_all_answers() -> None:
    """Answers drawn from odds that are told three times too sure."""
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (4000, 2))
    given = (random.random(true.shape) < 1 / (1 + np.exp(-true))).astype(np.int8)
    temperature = best_temperature(nll_grid(log_probs(3 * true), answers(given)))
    assert temperature == pytest.approx(3, rel=0.1)
    softened = as_sets(np.exp(scale(log_probs(3 * true), temperature))[:, 1], 2)
    np.testing.assert_allclose(softened, probabilities(3 * true / temperature), atol=1e-6)


def test_the_temperature_is_taken_from_the_rows_of_the_smallest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yes_no, "TEMPERED", 7)
    keys = np.array([5, 1, 9, 2, 3], dtype=np.uint64)
    assert yes_no.tempered(keys, 3).tolist() == [1, 3]
    assert yes_no.tempered(keys, 1).tolist() == [0, 1, 2, 3, 4]
    assert yes_no.tempered(keys, 100).tolist() == [1]


def test_the_mean_of_two_opinions_is_that_of_their_probabilities() -> None:
    said = log_odds(np.array([[[0.9, 0.2]], [[0.5, 0.4]]]), 1e-12)
    mixed = Mean().apply(("a", "b"), log_probs(said), State({}, {}))
    np.testing.assert_allclose(as_sets(mixed[:, 1], 2), [[0.7, 0.3]], atol=1e-6)


def test_a_teacher_that_guesses_gets_no_weight_from_the_stack() -> None:
    random = np.random.default_rng(0)
    truth = random.random((800, 2)) < 0.4
    wrong = random.random(truth.shape) < 0.1
    good = np.where(truth, 3.0, -3.0) + random.normal(0, 1, truth.shape)
    said = np.stack([good, random.normal(0, 1, truth.shape)])
    state = Stacked().fit(("good", "guess"), log_probs(said), answers((truth ^ wrong).astype(np.int8)))
    assert state.arrays["weights"][0] > 0.95
