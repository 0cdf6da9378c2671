"""Probabilities from a file. Run: .venv/bin/python -m pytest tests/tasks/teach/test_precomputed.py"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.data import Examples, State
from tasks.teach import BadTraining
from tasks.teach.precomputed import Precomputed
from tasks.teach.yes_no import probabilities

NOTHING = State({}, {})


def rows(*ids: str) -> Examples:
    n = len(ids)
    return Examples(np.array(ids, dtype=object), np.arange(n, dtype=np.uint64), np.full(n, -1, np.int32))


def written(path: Path, ids: list[str], **columns: object) -> Precomputed:
    """Two rows a row group."""
    file = str(path / "teachers.parquet")
    pq.write_table(pa.table({"id": ids, **columns}), file, row_group_size=2)
    return Precomputed(path=file, teachers=tuple(columns))


def test_rows_come_in_the_order_of_their_ids_and_teachers_in_the_order_of_the_yaml(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a", "b", "c"], x=[[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]], y=[[0.1, 0.9]] * 3)
    log_probs = teacher.predict(NOTHING, rows("c", "a"), 2, "cpu")
    assert teacher.names() == ("x", "y")
    assert log_probs.dtype == np.float32
    expected = [[[0.5, 0.5], [1.0, 0.0]], [[0.1, 0.9], [0.1, 0.9]]]
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)), expected, atol=1e-7)
    assert np.isfinite(log_probs).all()


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 10)])
def test_every_float_comes_back_to_a_tenth_of_a_millionth(tmp_path: Path, kind: pa.DataType) -> None:
    probs = np.random.default_rng(0).dirichlet(np.full(10, 0.2), 500).astype(np.float32)
    ids = [f"row-{i}" for i in range(500)]
    teacher = written(tmp_path, ids, x=pa.array(probs.tolist(), kind))
    order = np.random.default_rng(1).permutation(500)
    log_probs = teacher.predict(NOTHING, rows(*[ids[i] for i in order]), 10, "cpu")
    np.testing.assert_allclose(np.exp(log_probs[0].astype(np.float64)), probs[order], rtol=0, atol=1e-7)


def test_it_is_not_trained(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a"], x=[[1.0]])
    assert not teacher.cross_fitted
    assert teacher.fit(rows("a"), 1, 0, "cpu") == NOTHING
    assert teacher.predict(NOTHING, rows(), 1, "cpu").shape == (1, 0, 1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[0.5, 0.5], [0.2, 0.3, 0.5]], "1 of 2 rows do not have 2 numbers in x, one a class, such as b"),
        ([[0.5, 0.5], None], "1 of 2 rows have no probabilities in x, such as b"),
        ([[1.5, -0.5], [0.5, 0.5]], "1 of 2 rows have numbers outside 0..1 in x, such as a"),
        ([[0.5, float("nan")], [0.5, 0.5]], "1 of 2 rows have numbers outside 0..1 in x, such as a"),
        ([[0.5, None], [0.5, 0.5]], "1 of 2 rows have numbers outside 0..1 in x, such as a"),
        ([[0.5, 0.4], [0.5, 0.5]], "1 of 2 rows have probabilities in x that do not sum to 1, such as a"),
    ],
)
def test_what_is_no_probability_is_refused_with_an_example(
    tmp_path: Path, values: object, reason: str
) -> None:
    with pytest.raises(BadTraining, match=reason):
        written(tmp_path, ["a", "b"], x=values).predict(NOTHING, rows("a", "b"), 2, "cpu")


def test_a_sum_within_a_thousandth_of_one_is_accepted(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a"], x=[[0.5, 0.4995]])
    np.testing.assert_allclose(
        np.exp(teacher.predict(NOTHING, rows("a"), 2, "cpu")), [[[0.5, 0.4995]]], atol=1e-7
    )


def test_ids_without_a_row_and_ids_that_repeat_are_named(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a", "b"], x=[[1.0], [1.0]])
    with pytest.raises(BadTraining, match="2 of 3 rows have no row, such as c"):
        teacher.predict(NOTHING, rows("a", "c", "d"), 1, "cpu")
    (tmp_path / "twice").mkdir()
    with pytest.raises(BadTraining, match="1 values of column id repeat"):
        written(tmp_path / "twice", ["a", "a"], x=[[1.0], [1.0]]).predict(NOTHING, rows("a"), 1, "cpu")


def test_a_missing_file_a_missing_column_and_a_column_of_numbers_are_named(tmp_path: Path) -> None:
    absent = Precomputed(path=str(tmp_path / "none.parquet"), teachers=("x",))
    with pytest.raises(BadTraining, match=r"none\.parquet is not there"):
        absent.predict(NOTHING, rows("a"), 1, "cpu")
    teacher = written(tmp_path, ["a"], x=[[1.0]], number=[1.0])
    with pytest.raises(BadTraining, match="no column z for precomputed; it has id, x, number"):
        teacher.model_copy(update={"teachers": ("z",)}).predict(NOTHING, rows("a"), 1, "cpu")
    with pytest.raises(BadTraining, match="column number is double, must be list<float>"):
        teacher.predict(NOTHING, rows("a"), 1, "cpu")


def test_a_file_written_anew_is_read_anew_and_changes_the_identity(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a", "b"], x=[[1.0, 0.0], [0.0, 1.0]])
    before = teacher.identity()
    assert teacher.predict(NOTHING, rows("b"), 2, "cpu")[0, 0].argmax() == 1
    written(tmp_path, ["b", "a"], x=[[1.0, 0.0], [0.0, 1.0]])
    os.utime(teacher.path, ns=(1, 1))
    assert teacher.predict(NOTHING, rows("b"), 2, "cpu")[0, 0].argmax() == 0
    assert teacher.identity() != before


def test_the_identity_is_the_content_wherever_the_file_lies(tmp_path: Path) -> None:
    first = written(tmp_path, ["a"], x=[[1.0]])
    (tmp_path / "moved").mkdir()
    second = written(tmp_path / "moved", ["a"], x=[[1.0]])
    assert first.identity() == second.identity()
    assert Precomputed(path="nowhere", teachers=("x",)).identity()["path"] is None


def test_at_least_one_teacher_must_be_named() -> None:
    with pytest.raises(ValidationError, match="teachers"):
        Precomputed(path="x.parquet", teachers=())


def test_of_sets_probabilities_need_not_sum_to_one_and_come_as_log_odds(tmp_path: Path) -> None:
    teacher = written(tmp_path, ["a", "b"], x=[[0.9, 0.8, 0.0], [0.5, 1.0, 0.1]])
    examples = replace(rows("b", "a"), given=np.full((2, 3), -1, np.int8))
    odds = teacher.predict(NOTHING, examples, 3, "cpu")
    assert np.isfinite(odds).all()
    np.testing.assert_allclose(probabilities(odds), [[[0.5, 1.0, 0.1], [0.9, 0.8, 0.0]]], atol=1e-6)
    with pytest.raises(BadTraining, match="do not sum to 1"):
        teacher.predict(NOTHING, rows("a"), 3, "cpu")
