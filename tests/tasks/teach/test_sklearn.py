"""Any scikit-learn classifier. Run: .venv/bin/python -m pytest tests/tasks/teach/test_sklearn.py"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load, save
from sklearn.ensemble import RandomForestClassifier

from tasks.data import State
from tasks.teach import BadTraining, skops_bytes
from tasks.teach.sklearn import Sklearn
from tests.tasks.teach.examples import digits, in_parts

FOREST = Sklearn(estimator="sklearn.ensemble.RandomForestClassifier", params={"n_estimators": 10})
BOOSTING = Sklearn(estimator="sklearn.ensemble.HistGradientBoostingClassifier", params={"max_iter": 5})
NEIGHBOURS = Sklearn(estimator="sklearn.neighbors.KNeighborsClassifier")


def test_it_is_the_estimator_named_seeded_and_floored() -> None:
    examples, _ = digits(400)
    log_probs = FOREST.predict(FOREST.fit(examples, 10, 7, "cpu"), examples, 10, "cpu")
    reference = RandomForestClassifier(n_estimators=10, random_state=7).fit(
        examples.embedding, examples.labels
    )
    theirs = np.maximum(reference.predict_proba(examples.embedding), 1e-6)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_probs[0]), theirs / theirs.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("teacher", [FOREST, BOOSTING, NEIGHBOURS], ids=lambda t: t.names()[0])
def test_answers_are_finite_and_do_not_depend_on_the_other_rows(teacher: Sklearn) -> None:
    examples, truth = digits(500)
    state = teacher.fit(examples.take(np.arange(250)), 10, 0, "cpu")
    whole = teacher.predict(state, examples, 10, "cpu")[0]
    assert np.isfinite(whole).all()
    assert (whole[250:].argmax(axis=1) == truth[250:]).mean() > 0.5
    for part in in_parts(500):
        assert teacher.predict(state, examples.take(part), 10, "cpu")[0].tobytes() == whole[part].tobytes()


@pytest.mark.parametrize("teacher", [FOREST, BOOSTING, NEIGHBOURS], ids=lambda t: t.names()[0])
def test_the_same_rows_and_seed_give_the_same_bytes_also_beside_another_training(teacher: Sklearn) -> None:
    examples, _ = digits(200)
    alone = teacher.fit(examples, 10, 3, "cpu").arrays["model"]
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(lambda _: teacher.fit(examples, 10, 3, "cpu").arrays["model"], range(2)))
    assert all(other.tobytes() == alone.tobytes() for other in beside)
    assert alone.dtype == np.uint8


def test_another_seed_gives_another_forest() -> None:
    examples, _ = digits(200)
    first, second = (FOREST.fit(examples, 10, seed, "cpu").arrays["model"].tobytes() for seed in (1, 2))
    assert first != second


def test_an_absent_class_and_a_single_class_are_legal() -> None:
    examples, _ = digits(200)
    some = examples.take(np.isin(examples.labels, [2, 5]))
    probs = np.exp(FOREST.predict(FOREST.fit(some, 10, 0, "cpu"), examples, 10, "cpu")[0])
    np.testing.assert_allclose(probs[:, [0, 1, 3, 4, 6, 7, 8, 9]], 1e-6, rtol=1e-3)
    one = FOREST.fit(examples.take(examples.labels == 4), 10, 0, "cpu")
    assert (np.exp(FOREST.predict(one, examples, 10, "cpu")[0])[:, 4] > 0.9999).all()


def test_no_rows_are_judged_to_no_rows_and_teach_nothing() -> None:
    examples, _ = digits(60)
    none = examples.take(np.arange(0))
    assert FOREST.predict(FOREST.fit(examples, 10, 0, "cpu"), none, 10, "cpu").shape == (1, 0, 10)
    with pytest.raises(BadTraining, match="no labelled rows"):
        FOREST.fit(none, 10, 0, "cpu")


@pytest.mark.parametrize(
    "path", ["os.system", "sklearn_evil.Forest", "sklearn", "sklearn.x:y", "sklearn..tree"]
)
def test_a_path_outside_scikit_learn_is_refused_by_the_configuration(path: str) -> None:
    with pytest.raises(ValidationError, match="estimator"):
        Sklearn(estimator=path)


def test_the_configuration_imports_no_heavy_package() -> None:
    code = (
        "import sys; from tasks.teach import Sklearn; Sklearn(estimator='sklearn.svm.SVC');"
        "print(sorted({'sklearn', 'torch', 'skops'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "params", "reason"),
    [
        ("sklearn.ensemble.NoSuchForest", {}, "no such class"),
        ("sklearn.linear_model.Ridge", {}, "not a classifier"),
        ("sklearn.datasets.load_digits", {}, "not a classifier"),
        ("sklearn.svm.LinearSVC", {}, "no predict_proba"),
        ("sklearn.ensemble.RandomForestClassifier", {"trees": 3}, "trees"),
    ],
)
def test_what_cannot_teach_is_refused_with_the_reason(path: str, params: dict[str, int], reason: str) -> None:
    examples, _ = digits(60)
    with pytest.raises(BadTraining, match=reason):
        Sklearn(estimator=path, params=params).fit(examples, 10, 0, "cpu")


def test_a_stored_model_with_a_foreign_type_is_never_built() -> None:
    import skops.io

    with pytest.raises(TypeError, match=r"fractions\.Fraction"):
        skops_bytes.loads(skops.io.dumps({"x": Fraction(1, 2)}))


def test_what_it_learned_survives_being_stored() -> None:
    examples, _ = digits(100)
    state = FOREST.fit(examples, 10, 0, "cpu")
    stored = State(load(save(state.arrays)), json.loads(json.dumps(state.info)))
    before, after = (FOREST.predict(s, examples, 10, "cpu") for s in (state, stored))
    assert before.tobytes() == after.tobytes()
