"""One regression a class. Run: .venv/bin/python -m pytest tests/tasks/teach/test_one_vs_rest.py"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from tasks.data import State
from tasks.teach.linear import Linear
from tasks.teach.yes_no import LIMIT, probabilities
from tests.tasks.teach.examples import in_parts
from tests.tasks.teach.sets import facts


def judged(teacher: Linear, state: State, examples: object, k: int = 3) -> np.ndarray:
    return probabilities(teacher.predict(state, examples, k, "cpu")[0])  # type: ignore[arg-type]


def test_it_is_scikit_learns_one_vs_rest_on_the_standardised_embedding() -> None:
    examples, _ = facts(600, noise=0.05)
    teacher = Linear(c=0.1)
    ours = judged(teacher, teacher.fit(examples, 3, 0, "cpu"), examples)
    assert examples.embedding is not None
    x = StandardScaler().fit_transform(examples.embedding.astype(np.float64))
    reference = OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=10_000, tol=1e-8))
    np.testing.assert_allclose(ours, reference.fit(x, examples.given).predict_proba(x), atol=2e-3)


def test_it_learns_three_facts_of_digits_from_answers_a_tenth_of_which_are_wrong() -> None:
    examples, truth = facts(noise=0.1)
    rest = np.arange(1797) % 4 == 0
    teacher = Linear(c=0.01)
    state = teacher.fit(examples.take(~rest), 3, 0, "cpu")
    right = (judged(teacher, state, examples.take(rest)) > 0.5) == truth[rest]
    assert right.mean() > 0.88
    assert right.all(axis=1).mean() > 0.68


def test_a_rows_answer_does_not_depend_on_the_rows_beside_it() -> None:
    examples, _ = facts(100)
    teacher = Linear()
    state = teacher.fit(examples, 3, 0, "cpu")
    whole = teacher.predict(state, examples, 3, "cpu")
    for part in in_parts(100):
        assert (teacher.predict(state, examples.take(part), 3, "cpu") == whole[:, part]).all()


def test_the_answer_to_one_class_does_not_depend_on_the_others() -> None:
    examples, _ = facts(300)
    assert examples.given is not None
    teacher = Linear()
    alone = teacher.fit(examples, 1, 0, "cpu")
    together = teacher.fit(examples, 3, 0, "cpu")
    assert (alone.arrays["coef"][0] == together.arrays["coef"][0]).all()


@pytest.mark.parametrize("value", [0, 1])
def test_a_class_that_no_row_has_or_every_row_is_answered_alike_for_all(value: int) -> None:
    examples, _ = facts(50)
    assert examples.given is not None
    examples.given[:, 1] = value
    teacher = Linear()
    state = teacher.fit(examples, 3, 0, "cpu")
    expected = LIMIT if value else -LIMIT
    np.testing.assert_allclose(teacher.predict(state, examples, 3, "cpu")[0, :, 1], expected, rtol=1e-6)


def test_a_class_that_came_after_the_training_is_denied() -> None:
    examples, _ = facts(50)
    teacher = Linear()
    state = teacher.fit(examples, 2, 0, "cpu")
    assert judged(teacher, state, examples, 3)[:, 2] == pytest.approx(1e-6, rel=1e-3)


def test_one_row_is_a_legal_training_set() -> None:
    examples, _ = facts(1)
    teacher = Linear()
    found = judged(teacher, teacher.fit(examples, 3, 0, "cpu"), examples)
    assert ((found > 0.5) == (examples.given == 1)).all()
