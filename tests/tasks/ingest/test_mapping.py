"""Columns become RAW and bad cells are marked. Run: python -m pytest tests/tasks/ingest/test_mapping.py"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.csv import Csv
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.numpy import Numpy
from tasks.ingest.parquet import Parquet


def read(tmp_path: Path, columns: dict[str, Any], **fields: Any) -> pa.Table:
    """The rows of one Parquet file with these columns, mapped by these fields."""
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    if "partition_column" not in fields:
        fields["partition"] = "all"
    source = Parquet(path=str(tmp_path / "rows.parquet"), **fields)
    return pa.Table.from_batches(source.read(fields.get("partition", "unknown")), schema=RAW)


def test_labels_of_every_scalar_type_become_text(tmp_path: Path) -> None:
    found = {}
    for name, column in {
        "integer": pa.array([3]),
        "whole float": pa.array([3.0]),
        "float": pa.array([0.25]),
        "boolean": pa.array([True]),
        "dictionary": pa.array(["cat"]).dictionary_encode(),
        "nan": pa.array([float("nan")]),
        "date": pa.array([datetime.date(2026, 1, 2)]),
    }.items():
        found[name] = read(tmp_path, {"t": ["x"], "y": column}, text="t", label="y")["label"][0].as_py()
    assert found == {
        "integer": "3",
        "whole float": "3",
        "float": "0.25",
        "boolean": "true",
        "dictionary": "cat",
        "nan": None,
        "date": "2026-01-02",
    }


def test_every_mapped_column_lands_in_its_place(tmp_path: Path) -> None:
    columns = {"key": ["a"], "y": ["cat"], "z": ["dog"], "part": ["test"], "words": ["hello"]}
    rows = read(tmp_path, columns, id="key", label="y", truth="z", split="part", text="words")
    assert rows.to_pylist() == [
        {
            "source": "rows.parquet",
            "position": 0,
            "id": "a",
            "split": "test",
            "label": "cat",
            "labels": None,
            "target": None,
            "truth": "dog",
            "truths": None,
            "target_truth": None,
            "annotations": None,
            "image": None,
            "text": "hello",
            "features": None,
            "defect": None,
            "detail": None,
        }
    ]


@pytest.mark.parametrize("name", [*RAW.names, "line", "row", "is_text", "json", "partition", "winnow"])
def test_columns_may_be_called_what_winnow_calls_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"{name},y\n1.5,cat\nbroken\n")
    (tmp_path / "a.jsonl").write_text(f'{{"{name}": 1.5, "y": "cat"}}\nbroken\n')
    pq.write_table(pa.table({name: [1.5], "y": ["cat"]}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", **{name: np.array([1.5]), "y": np.array(["cat"])})
    for kind, suffix in ((Csv, "csv"), (Jsonl, "jsonl"), (Parquet, "parquet"), (Numpy, "npz")):
        path = str(tmp_path / f"a.{suffix}")
        for fields in ({"text": name}, {"features": [name]}, {"id": name}):
            source = kind(path=path, partition="p", label="y", **fields)  # type: ignore[arg-type]
            rows = pa.Table.from_batches(source.read("p"), schema=RAW).slice(0, 1).to_pylist()[0]
            ((role, _),) = fields.items()
            assert rows[role] == ([1.5] if role == "features" else "1.5")
            assert (rows["label"], rows["source"], rows["defect"]) == ("cat", f"a.{suffix}", None)


def test_a_row_without_a_split_is_train(tmp_path: Path) -> None:
    rows = read(tmp_path, {"t": ["x", "y"], "s": ["test", None]}, text="t", split="s")
    assert rows["split"].to_pylist() == ["test", "train"]


def test_an_empty_id_is_missing(tmp_path: Path) -> None:
    rows = read(tmp_path, {"t": ["x"] * 3, "key": ["a", None, ""]}, text="t", id="key")
    assert rows["defect"].to_pylist() == [None, "missing_id", "missing_id"]
    assert rows["detail"].to_pylist() == [None, "key is empty", "key is empty"]


def test_an_empty_payload_is_missing(tmp_path: Path) -> None:
    text = read(tmp_path, {"t": ["x", None]}, text="t")
    image = read(tmp_path, {"i": pa.array([b"abcd", None, b""])}, image="i", image_shape=(2, 2, 1))
    features = read(tmp_path, {"f": [[1.0], None]}, features="f", feature_length=1)
    assert text["defect"].to_pylist() == [None, "missing_payload"]
    assert image["defect"].to_pylist() == [None, "missing_payload", "missing_payload"]
    assert features["defect"].to_pylist() == [None, "missing_payload"]


def test_a_list_of_another_length_is_marked_with_both_lengths(tmp_path: Path) -> None:
    rows = read(tmp_path, {"f": [[1.0, 2.0], [1.0], []]}, features="f", feature_length=2)
    assert rows["defect"].to_pylist() == [None, "wrong_length", "wrong_length"]
    assert rows["detail"].to_pylist()[1:] == ["f has 1 numbers, not 2", "f has 0 numbers, not 2"]
    assert rows["features"].to_pylist()[0] == [1.0, 2.0]


def test_fixed_size_lists_and_integers_are_features(tmp_path: Path) -> None:
    column = pa.array([[1, 2]], pa.list_(pa.int64(), 2))
    rows = read(tmp_path, {"f": column}, features="f", feature_length=2)
    assert rows["features"].to_pylist() == [[1.0, 2.0]]


def test_features_that_are_no_finite_number_are_marked(tmp_path: Path) -> None:
    bad = [float("nan"), float("inf"), float("-inf"), None, 1e300]
    as_list = read(tmp_path, {"f": [[1.0, 0.0], *([1.0, x] for x in bad)]}, features="f", feature_length=2)
    as_columns = read(tmp_path, {"a": [0.0, *bad], "b": [1.0] * 6}, features=["a", "b"])
    assert as_list["defect"].to_pylist() == [None] + ["nan_features"] * 5
    assert as_columns["defect"].to_pylist() == [None] + ["nan_features"] * 5


def test_features_spelled_as_text_are_read_or_marked(tmp_path: Path) -> None:
    as_columns = read(tmp_path, {"a": ["1.5", "tall", None, "NaN"], "b": [1, 2, 3, 4]}, features=["a", "b"])
    as_list = read(tmp_path, {"f": [["1.5"], ["tall"], [None]]}, features="f", feature_length=1)
    assert as_columns["defect"].to_pylist() == [None, "wrong_type", "nan_features", "nan_features"]
    assert as_columns["features"][0].as_py() == [1.5, 1.0]
    assert as_list["defect"].to_pylist() == [None, "wrong_type", "nan_features"]


def test_raw_images_have_the_size_of_their_shape_and_pictures_any(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "picture.png")
    picture = (tmp_path / "picture.png").read_bytes()
    rows = read(tmp_path, {"i": pa.array([b"abcd", b"abc", picture])}, image="i", image_shape=(2, 2, 1))
    assert rows["defect"].to_pylist() == [None, "wrong_length", None]
    assert rows["detail"][1].as_py() == "i is no picture and has 3 bytes, not 4"
    assert rows["image"].to_pylist() == [b"abcd", b"abc", picture]


def test_images_as_base64_or_as_bytes_and_path(tmp_path: Path) -> None:
    as_text = read(tmp_path, {"i": ["YWJjZA==", "%%%"]}, image="i", image_shape=(2, 2, 1))
    as_struct = read(
        tmp_path,
        {"i": [{"bytes": b"abcd", "path": None}, {"bytes": None, "path": "x"}]},
        image="i",
        image_shape=(2, 2, 1),
    )
    assert as_text["defect"].to_pylist() == [None, "wrong_type"]
    assert as_text["image"][0].as_py() == b"abcd"
    assert as_struct["defect"].to_pylist() == [None, "missing_payload"]


def test_a_partition_column_that_names_none_sends_its_rows_to_unknown(tmp_path: Path) -> None:
    columns = {"t": ["x"] * 5, "day": ["2026-01-01", None, "", "../up", "a b"]}
    rows = read(tmp_path, columns, text="t", partition_column="day")
    assert rows["defect"].to_pylist() == ["missing_partition"] * 4
    assert rows["position"].to_pylist() == [0, 1, 2, 3]


def test_the_first_defect_counts(tmp_path: Path) -> None:
    rows = read(tmp_path, {"key": [None], "f": [[float("nan")]]}, id="key", features="f", feature_length=2)
    assert rows["defect"].to_pylist() == ["missing_id"]


@pytest.mark.parametrize(
    ("column", "fields"),
    [
        (pa.array([["a"]]), {"label": "c", "text": "t"}),
        (pa.array([b"a"]), {"text": "c"}),
        (pa.array([1]), {"image": "c", "image_shape": (1, 1, 1)}),
        (pa.array([1.0]), {"features": "c", "feature_length": 1}),
        (pa.array([[1.0]]), {"features": ["c"]}),
        (pa.array([[[1.0]]]), {"features": "c", "feature_length": 1}),
    ],
)
def test_a_column_of_an_impossible_type_fails_the_file(
    tmp_path: Path, column: pa.Array, fields: dict[str, Any]
) -> None:
    with pytest.raises(BadSource, match=r"^rows\.parquet: column c is .*must"):
        read(tmp_path, {"c": column, "t": ["x"]}, **fields)


def test_rows_may_carry_no_payload(tmp_path: Path) -> None:
    source = Parquet(path="x", partition="p", label="y")
    assert source.payload is None
    assert read(tmp_path, {"y": ["a"]}, label="y")["defect"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "i", "text": "t", "image_shape": (1, 1, 1)}, "one payload"),
        ({"image": "i"}, "image_shape"),
        ({"text": "t", "image_shape": (1, 1, 1)}, "image_shape"),
        ({"text": "winnow:text"}, "begin with winnow:"),
        ({"features": "f"}, "feature_length"),
        ({"features": ["a", "b"], "feature_length": 2}, "feature_length"),
        ({"image": "i", "image_shape": (1, 1, 2)}, "image_shape"),
    ],
)
def test_an_impossible_mapping_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Parquet(path="x", partition="p", **fields)
