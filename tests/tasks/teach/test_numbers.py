"""Teachers and the mean where rows have numbers. Run: pytest tests/tasks/teach/test_numbers.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tasks.data import Examples, State
from tasks.given import labels_of
from tasks.teach import BadTraining, Ensemble
from tasks.teach.linear import Linear
from tasks.teach.mean import Mean
from tasks.teach.precomputed import Precomputed
from tests.tasks.teach.examples import in_parts

NOTHING = State({}, {})


def rows(embedding: np.ndarray, given: np.ndarray) -> Examples:
    n = len(given)
    ids, keys = np.array([f"row{i}" for i in range(n)], dtype=object), np.arange(n, dtype=np.uint64)
    return Examples(ids, keys, labels_of(given), embedding=embedding.astype(np.float32), given=given)


def patients() -> Examples:
    return rows(*load_diabetes(return_X_y=True, scaled=False))


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_linear_is_scikit_learns_ridge_on_standardised_rows(c: float) -> None:
    train = patients()
    state = Linear(c=c).fit(train, 1, 0, "cpu")
    values = Linear(c=c).predict(state, train, 0, "cpu")
    assert values.shape == (1, 442, 1)
    assert values.dtype == np.float64
    assert train.embedding is not None
    x = StandardScaler().fit_transform(train.embedding.astype(np.float64))
    known = Ridge(alpha=1 / c).fit(x, train.given).predict(x)
    np.testing.assert_allclose(values[0, :, 0], known, rtol=1e-4)


def test_a_rows_value_does_not_depend_on_the_other_rows() -> None:
    train = patients()
    state = Linear().fit(train, 1, 0, "cpu")
    whole = Linear().predict(state, train, 0, "cpu")[0]
    for part in in_parts(len(train)):
        assert np.array_equal(Linear().predict(state, train.take(part), 0, "cpu")[0], whole[part])


def test_no_rows_and_rows_that_all_have_one_number() -> None:
    same = rows(np.random.default_rng(0).normal(size=(5, 3)), np.full(5, 7.5))
    state = Linear().fit(same, 1, 0, "cpu")
    assert Linear().predict(state, same, 0, "cpu")[0, :, 0].tolist() == [7.5] * 5
    assert Linear().predict(state, same.take(np.arange(0)), 0, "cpu").shape == (1, 0, 1)
    with pytest.raises(BadTraining, match="no labelled rows"):
        Linear().fit(same.take(np.arange(0)), 1, 0, "cpu")


def written(folder: Path, **columns: Any) -> Precomputed:
    file = str(folder / "teachers.parquet")
    pq.write_table(pa.table({"id": ["row0", "row1"], **columns}), file)
    return Precomputed(path=file, teachers=tuple(columns))


def test_numbers_of_a_file_come_back_bit_for_bit(tmp_path: Path) -> None:
    teacher = written(tmp_path, x=[0.1, 1e300], y=pa.array([3, 4], pa.int32()))
    values = teacher.predict(NOTHING, rows(np.zeros((2, 0)), np.array([1.0, np.nan])), 0, "cpu")
    assert values.dtype == np.float64
    assert values.tolist() == [[[0.1], [1e300]], [[3.0], [4.0]]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[0.5], [0.5]], r"column x is list<.*>, must hold numbers"),
        (["1", "2"], "column x is string, must hold numbers"),
        ([1.0, None], "1 of 2 rows have no finite number in x, such as row1"),
        ([1.0, float("inf")], "1 of 2 rows have no finite number in x, such as row1"),
    ],
)
def test_a_file_without_numbers_is_refused(tmp_path: Path, column: Any, message: str) -> None:
    teacher = written(tmp_path, x=column)
    with pytest.raises(BadTraining, match=message):
        teacher.predict(NOTHING, rows(np.zeros((2, 0)), np.zeros(2)), 0, "cpu")


def test_the_mean_of_numbers_is_summed_in_the_teachers_order() -> None:
    values = np.array([[1.0, 0.1], [2.0, 0.2], [6.0, 0.3]])
    assert Mean().together(["a", "b", "c"], values).tolist() == [3.0, (0.1 + 0.2 + 0.3) / 3]
    assert Mean().together(["a"], values[:1]).tolist() == [1.0, 0.1]
    assert Mean().together(["a"], np.zeros((1, 0))).shape == (0,)


def test_an_ensemble_of_classes_says_so() -> None:
    class Votes(Ensemble):
        kind: str = "votes"

        def apply(self, names: Any, log_probs: np.ndarray, state: State) -> np.ndarray:
            return np.asarray(log_probs[0])

    with pytest.raises(NotImplementedError, match="votes is for classes"):
        Votes().together(["a"], np.zeros((1, 1)))
