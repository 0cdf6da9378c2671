"""Logistic regression. Run: .venv/bin/python -m pytest tests/tasks/teach/test_linear.py"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tasks.data import Examples, State
from tasks.teach import BadTraining, Start
from tasks.teach.linear import Linear, _restated
from tests.tasks.teach.examples import digits, in_parts


def points(embedding: list[list[float]], labels: list[int]) -> Examples:
    n = len(labels)
    ids = np.array([f"row-{i}" for i in range(n)], dtype=object)
    x = np.array(embedding, dtype=np.float32)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.array(labels, dtype=np.int32), embedding=x)


def judged(teacher: Linear, state: State, examples: Examples, n_classes: int) -> np.ndarray:
    return np.asarray(np.exp(teacher.predict(state, examples, n_classes, "cpu")[0].astype(np.float64)))


def test_a_row_between_two_mirrored_classes_is_one_half_each() -> None:
    teacher = Linear()
    state = teacher.fit(points([[-1.0], [1.0]], [0, 1]), 2, 0, "cpu")
    probs = judged(teacher, state, points([[0.0], [2.0], [-2.0]], [-1, -1, -1]), 2)
    np.testing.assert_allclose(probs[0], [0.5, 0.5], atol=1e-6)
    assert probs[1, 1] == pytest.approx(probs[2, 0], abs=1e-6)
    assert probs[1, 1] > 0.7


@pytest.mark.parametrize("c", [0.01, 1.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_scikit_learns_regression_on_the_standardised_embedding(c: float, classes: int) -> None:
    examples, _ = digits(600)
    examples = examples.take(examples.labels < classes)
    teacher = Linear(c=c)
    ours = judged(teacher, teacher.fit(examples, classes, 0, "cpu"), examples, classes)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=10_000, tol=1e-8))
    assert examples.embedding is not None
    reference.fit(examples.embedding.astype(np.float64), examples.labels)
    theirs = reference.predict_proba(examples.embedding.astype(np.float64))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_it_judges_digits_it_never_saw() -> None:
    examples, truth = digits(noise=0.08)
    teacher = Linear(c=0.01)
    state = teacher.fit(examples.take(np.arange(1797) % 4 != 0), 10, 0, "cpu")
    probs = judged(teacher, state, examples.take(np.arange(1797) % 4 == 0), 10)
    assert (probs.argmax(axis=1) == truth[::4]).mean() > 0.9


def test_where_it_starts_leaves_no_trace_beyond_the_solvers_tolerance() -> None:
    """Started from a solution that saw other labels for the same rows, it ends where it ends from zero."""
    examples, _ = digits(900)
    teacher = Linear(c=0.01)
    random = np.random.default_rng(0)
    shuffled = replace(examples, labels=random.permutation(examples.labels))
    wrong = Start(teacher.fit(shuffled, 10, 0, "cpu"), 0.0)
    fresh, started = (teacher.fit(examples, 10, 0, "cpu", start) for start in (None, wrong))
    np.testing.assert_allclose(
        judged(teacher, started, examples, 10), judged(teacher, fresh, examples, 10), atol=2e-4
    )


def test_a_rows_scale_of_1e30_teaches_without_overflow() -> None:
    teacher = Linear()
    examples = points([[-1e30, 1.0], [1e30, 1.0], [0.0, 1.0]], [0, 1, 1])
    state = teacher.fit(examples, 2, 0, "cpu")
    assert judged(teacher, state, examples, 2).argmax(axis=1).tolist() == [0, 1, 1]


def test_an_absent_class_gets_a_millionth_and_rows_sum_to_one() -> None:
    teacher = Linear()
    examples = points([[-1.0], [1.0], [3.0]], [1, 3, 3])
    log_probs = teacher.predict(teacher.fit(examples, 5, 0, "cpu"), examples, 5, "cpu")
    assert log_probs.shape == (1, 3, 5)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(log_probs[0][:, [0, 2, 4]], np.log(1e-6), atol=1e-4)
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(axis=2), 1, atol=1e-6)


def test_a_single_class_and_a_single_row_are_legal() -> None:
    teacher = Linear()
    state = teacher.fit(points([[2.0, 1.0]], [1]), 3, 0, "cpu")
    probs = judged(teacher, state, points([[0.0, 9.0]], [-1]), 3)
    np.testing.assert_allclose(probs, [[1e-6, 1.0, 1e-6]], rtol=1e-5)


def test_a_constant_column_and_far_outliers_never_give_nan() -> None:
    teacher = Linear()
    state = teacher.fit(points([[0.0, 1.0], [1.0, 1.0]], [0, 1]), 2, 0, "cpu")
    assert np.isfinite(teacher.predict(state, points([[1e30, -1e30]], [-1]), 2, "cpu")).all()


def test_a_rows_answer_does_not_depend_on_the_others() -> None:
    examples, _ = digits(1200)
    teacher = Linear()
    state = teacher.fit(examples.take(np.arange(300)), 10, 0, "cpu")
    whole = teacher.predict(state, examples, 10, "cpu")[0]
    for part in in_parts(1200):
        assert teacher.predict(state, examples.take(part), 10, "cpu")[0].tobytes() == whole[part].tobytes()


def test_the_same_rows_give_the_same_bits_also_beside_another_training() -> None:
    examples, _ = digits(800)
    alone = Linear().fit(examples, 10, 0, "cpu")
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(lambda _: Linear().fit(examples, 10, 0, "cpu"), range(4)))
    for other in beside:
        assert {k: v.tobytes() for k, v in other.arrays.items()} == {
            k: v.tobytes() for k, v in alone.arrays.items()
        }


def test_no_rows_are_judged_to_no_rows_and_teach_nothing() -> None:
    teacher = Linear()
    examples, _ = digits(40)
    state, empty = teacher.fit(examples, 10, 0, "cpu"), examples.take(np.arange(0))
    assert teacher.predict(state, empty, 10, "cpu").shape == (1, 0, 10)
    with pytest.raises(BadTraining, match="no labelled rows"):
        teacher.fit(empty, 10, 0, "cpu")


def test_a_missing_or_broken_embedding_is_named() -> None:
    examples, _ = digits(20)
    with pytest.raises(BadTraining, match=r"name an encoder under ingest\.encoder"):
        Linear().fit(replace(examples, embedding=None), 10, 0, "cpu")
    assert examples.embedding is not None
    examples.embedding[3, 5] = np.nan
    with pytest.raises(BadTraining, match="of 1 rows, such as digit-3"):
        Linear().fit(examples, 10, 0, "cpu")


def test_what_it_learned_survives_being_stored() -> None:
    examples, _ = digits(100)
    state = Linear().fit(examples, 10, 0, "cpu")
    stored = State(load(save(state.arrays)), json.loads(json.dumps(state.info)))
    before, after = (Linear().predict(s, examples, 10, "cpu") for s in (state, stored))
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("classes", [2, 10])
def test_started_from_an_earlier_solution_it_finds_the_same_minimum_in_fewer_steps(classes: int) -> None:
    examples, _ = digits(900)
    examples = examples.take(examples.labels < classes)
    teacher = Linear(c=0.1)
    earlier = teacher.fit(examples.take(np.arange(len(examples) * 9 // 10)), classes, 0, "cpu")
    fresh, warm = (teacher.fit(examples, classes, 0, "cpu", start) for start in (None, Start(earlier, 0.1)))
    assert warm.info["iterations"] < fresh.info["iterations"]
    np.testing.assert_allclose(
        judged(teacher, warm, examples, classes), judged(teacher, fresh, examples, classes), atol=5e-3
    )


def test_earlier_weights_say_the_same_under_another_mean_and_scale_and_nothing_of_a_new_class() -> None:
    examples, _ = digits(300)
    teacher = Linear()
    start = teacher.fit(examples.take(examples.labels != 4), 10, 0, "cpu")
    assert examples.embedding is not None
    random = np.random.default_rng(0)
    mean, scale = (random.random((2, 64)) + 0.5).astype(np.float32)
    coef, intercept = _restated(start, mean, scale, np.arange(10))
    assert not coef[4].any()
    assert intercept[4] == 0
    a, known = start.arrays, np.arange(10) != 4
    before = ((examples.embedding - a["mean"]) / a["scale"]) @ a["coef"].T + a["intercept"]
    after = ((examples.embedding - mean) / scale) @ coef.T + intercept
    np.testing.assert_allclose(after[:, known], before, atol=1e-4)
