"""Sets of classes and numbers as labels, of every source. Run: pytest tests/tasks/ingest/test_labels.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.csv import Csv
from tasks.ingest.huggingface import HuggingFace
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.mapping import ColumnSource
from tasks.ingest.numpy import Numpy
from tasks.ingest.parquet import Parquet
from tasks.ingest.where import Where


def rows(kind: type[ColumnSource], path: Path, **fields: Any) -> pa.Table:
    return pa.Table.from_batches(kind(path=str(path), partition="p", **fields).read("p"), schema=RAW)


def parquet(folder: Path, columns: dict[str, Any], **fields: Any) -> pa.Table:
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return rows(Parquet, folder / "rows.parquet", **fields)


TAGS = [["cat", "dog"], [], None, ["7", "7"]]


def test_lists_of_names_are_sets_and_none_applies_is_not_nobody_said(tmp_path: Path) -> None:
    found = parquet(tmp_path, {"tags": TAGS}, labels="tags")
    assert found["labels"].to_pylist() == TAGS
    assert found["label"].null_count == found["target"].null_count == 4
    assert found["defect"].to_pylist() == [None] * 4


def test_json_lines_hold_the_same_lists(tmp_path: Path) -> None:
    lines = [json.dumps({"tags": tags}) for tags in [["cat", "dog"], [], None, [7, "7"]]]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{}"]))
    found = rows(Jsonl, tmp_path / "a.jsonl", labels="tags")
    assert found["labels"].to_pylist() == [*TAGS, None]
    assert found["defect"].null_count == 5


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ('"cat"', "tags is no list"),
        ('[["cat"]]', "tags has an entry that is no single value"),
        ('[{"a": 1}]', "tags has an entry that is no single value"),
        ('["cat", null]', "tags has an empty entry"),
        ('["cat", ""]', "tags has an empty entry"),
    ],
)
def test_json_that_holds_no_set_is_marked(tmp_path: Path, cell: str, why: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"tags": {cell}}}\n')
    found = rows(Jsonl, tmp_path / "a.jsonl", labels="tags")
    assert (found["defect"].to_pylist(), found["detail"].to_pylist()) == (["wrong_type"], [why])


def test_lists_of_numbers_of_any_or_one_length_are_names(tmp_path: Path) -> None:
    fixed = pa.array([[3, 1], [1, 2]], pa.list_(pa.int64(), 2))
    assert parquet(tmp_path, {"tags": fixed}, labels="tags")["labels"].to_pylist() == [["3", "1"], ["1", "2"]]
    empty = pa.nulls(2, pa.list_(pa.null()))
    assert parquet(tmp_path, {"tags": empty}, labels="tags")["labels"].null_count == 2


def test_columns_of_zero_and_one_are_classes_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("cat,dog\n1,0\nTRUE,1.0\n0,false\n,\n")
    source = Csv(path=str(tmp_path / "a.csv"), partition="p", labels=("cat", "dog"))
    assert source.classes == ("cat", "dog")
    found = rows(Csv, tmp_path / "a.csv", labels=("cat", "dog"))
    assert found["labels"].to_pylist() == [["cat"], ["cat", "dog"], [], None]
    assert found["defect"].null_count == 4


def test_a_cell_that_is_neither_zero_nor_one_is_marked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("cat,dog\n1,2\n1,\nyes,0\n")
    found = rows(Csv, tmp_path / "a.csv", labels=("cat", "dog"))
    assert found["defect"].to_pylist() == ["wrong_type"] * 3
    assert found["detail"].to_pylist() == [
        "dog holds '2', which is neither 0 nor 1",
        "dog holds '', which is neither 0 nor 1",
        "cat holds 'yes', which is neither 0 nor 1",
    ]


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32, "U1"])
def test_arrays_of_zero_and_one_of_any_type(tmp_path: Path, dtype: Any) -> None:
    marks = np.array([[1, 0], [0, 0]])
    np.savez(tmp_path / "a.npz", cat=marks[:, 0].astype(dtype), dog=marks[:, 1].astype(dtype))
    found = rows(Numpy, tmp_path / "a.npz", labels=("cat", "dog"))
    assert found["labels"].to_pylist() == [["cat"], []]


def test_a_missing_float_is_an_empty_cell(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cat=np.array([1.0, np.nan]), dog=np.array([np.nan, np.nan]))
    found = rows(Numpy, tmp_path / "a.npz", labels=("cat", "dog"))
    assert found["defect"].to_pylist() == ["wrong_type", None]
    assert found["labels"][1].as_py() is None


def test_known_right_columns_stand_in_the_order_of_the_given_ones(tmp_path: Path) -> None:
    columns = {"cat": [1], "dog": [0], "cat_true": [0], "dog_true": [1]}
    found = parquet(tmp_path, columns, labels=("cat", "dog"), truths=("cat_true", "dog_true"))
    assert (found["labels"].to_pylist(), found["truths"].to_pylist()) == ([["cat"]], [["dog"]])
    lists = parquet(tmp_path, {"a": [["cat"]], "b": [["dog", "cat"]]}, labels="a", truths="b")
    assert (lists["labels"].to_pylist(), lists["truths"].to_pylist()) == ([["cat"]], [["dog", "cat"]])


def test_class_labels_in_lists_become_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "tags": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"])),
            "right": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"])),
        }
    )
    columns = {"tags": [[1, 0], [], None], "right": [[1], [0], None]}
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(str(tmp_path / "data"))
    found = rows(HuggingFace, tmp_path / "data", labels="tags", truths="right")
    source = HuggingFace(path=str(tmp_path / "data"), partition="p", labels="tags")
    assert source.classes == ("cat", "dog")
    assert found["labels"].to_pylist() == [["dog", "cat"], [], None]
    assert found["truths"].to_pylist() == [["dog"], ["cat"], None]


def test_targets_are_read_of_numbers_and_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("y,z\n1.5,2\n-3e2,\n,\ntall,1\nNaN,1\n1,inf\n")
    found = rows(Csv, tmp_path / "a.csv", target="y", target_truth="z")
    assert found["target"].to_pylist()[:3] == [1.5, -300.0, None]
    assert found["target_truth"].to_pylist()[:3] == [2.0, None, None]
    assert found["defect"].to_pylist() == [None] * 3 + ["wrong_type", "nan_target", "nan_target"]
    assert found["detail"].to_pylist()[3:] == [
        "y holds 'tall', which is no number",
        "y is NaN or infinite",
        "z is NaN or infinite",
    ]


@pytest.mark.parametrize("column", [[1, 2], pa.array([1.0, 2.0], pa.float32()), ["1", "2"]])
def test_a_target_of_any_numeric_type(tmp_path: Path, column: Any) -> None:
    assert parquet(tmp_path, {"y": column}, target="y")["target"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("column", "fields", "must"),
    [
        (["cat"], {"labels": "c"}, "must hold lists of classes"),
        ([[["cat"]]], {"labels": "c"}, "must hold lists of classes"),
        ([[1]], {"labels": ("c",)}, "must hold 0 and 1"),
        ([[1.0]], {"target": "c"}, "must hold numbers"),
        (pa.array([b"1"]), {"target": "c"}, "must hold numbers"),
    ],
)
def test_a_column_of_an_impossible_type_fails_the_file(
    tmp_path: Path, column: Any, fields: dict[str, Any], must: str
) -> None:
    with pytest.raises(BadSource, match=rf"^rows\.parquet: column c is .*{must}"):
        parquet(tmp_path, {"c": column}, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "a", "target": "b"}, "give only one of label and target"),
        ({"labels": "a", "target": "b"}, "give only one of labels and target"),
        ({"truths": "a"}, "truths is the right labels, so give labels too"),
        ({"target_truth": "a"}, "target_truth is the right target, so give target too"),
        ({"target": "a", "truth": "b"}, "truth goes with label, and target is given; leave it out"),
        ({"labels": "a", "annotators": {"ada": "b"}}, "annotators goes with label, and labels is given"),
        ({"labels": ("a", "a")}, "labels names a column twice"),
        ({"labels": ()}, "labels is an empty list"),
        ({"labels": "a", "truths": ("b", "c")}, "so labels must be one too"),
        ({"labels": ("a", "b"), "truths": ("c",)}, "so labels must be one too"),
    ],
)
def test_an_impossible_mapping_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Parquet(path="x", partition="p", **fields)


@pytest.mark.parametrize("kind", [Csv, Numpy])
def test_formats_without_lists_take_columns_only(kind: type[ColumnSource]) -> None:
    with pytest.raises(ValidationError, match=r"lists of (columns|arrays) of 0 and 1"):
        kind(path="x", partition="p", labels="tags")


def test_what_is_mapped_is_the_task() -> None:
    def task(**fields: Any) -> str:
        return Parquet(path="x", partition="p", **fields).task

    assert (task(label="a"), task(), task(labels="a"), task(target="a")) == (
        "single_label",
        "single_label",
        "multi_label",
        "regression",
    )


def test_a_source_of_one_label_a_row_is_known_by_what_it_was() -> None:
    known = set(Parquet(path="x", partition="p", label="a", truth="b").identity())
    assert not known & {"labels", "target", "truths", "target_truth"}
    assert Parquet(path="x", partition="p", target="a").identity()["target"] == "a"


def test_a_condition_may_look_at_sets_and_numbers_but_not_at_what_is_right(tmp_path: Path) -> None:
    import polars as pl

    found = parquet(tmp_path, {"y": [1.0, 5.0]}, target="y")
    frame = pl.DataFrame(found).with_columns(content_hash=pl.lit("h"), seen=pl.lit(False))
    assert Where(deny="target > 2").reasons(frame).to_list() == [None, "denied: target > 2"]
    assert Where(allow="len(labels) > 0").reasons(frame).null_count() == 0
    for column in ("truths", "target_truth"):
        with pytest.raises(ValidationError, match=column):
            Where(deny=f"{column} IS NULL")
