"""JSON lines, broken lines and all. Run: python -m pytest tests/tasks/ingest/test_jsonl.py"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ingest import RAW, BadSource
from tasks.ingest.files import BATCH_ROWS
from tasks.ingest.jsonl import Jsonl


def read(path: Path, *lines: Any, **fields: Any) -> pa.Table:
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(content)
    return pa.Table.from_batches(Jsonl(path=str(path), partition="p", **fields).read("p"), schema=RAW)


def test_labels_may_change_type_from_line_to_line(tmp_path: Path) -> None:
    lines = [{"t": "x", "y": value} for value in ("3", 3, 2.5, True, None)] + [{"t": "x"}]
    rows = read(tmp_path / "a.jsonl", *lines, text="t", label="y")
    assert rows["label"].to_pylist() == ["3", "3", "2.5", "true", None, None]
    assert rows["defect"].null_count == 6


def test_a_line_that_is_no_object_is_a_reject_in_its_place(tmp_path: Path) -> None:
    lines = [{"t": "a"}, b'{"t": "b"', b"[1]", b"\xff{}", b"\r", b"", {"t": "c"}]
    rows = read(tmp_path / "a.jsonl", *lines, text="t")
    assert rows["position"].to_pylist() == [0, 1, 2, 3, 4]
    assert rows["defect"].to_pylist() == [None, "broken_line", "broken_line", "broken_line", None]
    assert rows["text"].to_pylist() == ["a", '{"t": "b"', "[1]", "\\xFF{}", "c"]
    details = ["is not valid JSON", "is JSON but no object", "is not UTF-8"]
    assert rows["detail"].to_pylist() == [None, *details, None]


def test_a_broken_line_of_pictures_keeps_its_text(tmp_path: Path) -> None:
    image = base64.b64encode(b"abcd").decode()
    rows = read(tmp_path / "a.jsonl", {"i": image}, b"{", image="i", image_shape=(2, 2, 1))
    assert rows["image"].to_pylist() == [b"abcd", None]
    assert rows["text"].to_pylist() == [None, "{"]


def test_values_of_another_type_are_marked(tmp_path: Path) -> None:
    lines = [{"t": "x", "y": {"a": 1}}, {"t": ["x"], "y": 1}, {"t": "x", "y": 1}]
    rows = read(tmp_path / "a.jsonl", *lines, text="t", label="y")
    assert rows["defect"].to_pylist() == ["wrong_type", "wrong_type", None]
    assert rows["detail"].to_pylist() == ["y is no single value", "t is no single value", None]


def test_features_as_a_list(tmp_path: Path) -> None:
    values = [[1, 2.5], [1], [1, "x"], [1, None], None, 7, [1, [2]], [1, float("nan")], ["3", 4]]
    rows = read(tmp_path / "a.jsonl", *({"f": v} for v in values), {}, features="f", feature_length=2)
    assert rows["features"][0].as_py() == [1.0, 2.5]
    assert rows["features"][8].as_py() == [3.0, 4.0]
    assert rows["defect"].to_pylist() == [
        None,
        "wrong_length",
        "wrong_type",
        "nan_features",
        "missing_payload",
        "wrong_type",
        "wrong_type",
        "nan_features",
        None,
        "missing_payload",
    ]


def test_features_as_keys(tmp_path: Path) -> None:
    lines = [{"a": 1, "b": 2}, {"a": 1}, {"a": "x", "b": 2}, {"a": [1], "b": 2}]
    rows = read(tmp_path / "a.jsonl", *lines, features=["b", "a"])
    assert rows["features"][0].as_py() == [2.0, 1.0]
    assert rows["defect"].to_pylist() == [None, "nan_features", "wrong_type", "wrong_type"]


def test_an_absent_id_is_missing(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.jsonl", {"t": "x", "k": 5}, {"t": "x"}, {"t": "x", "k": ""}, text="t", id="k")
    assert rows["id"][0].as_py() == "5"
    assert rows["defect"].to_pylist() == [None, "missing_id", "missing_id"]


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
def test_any_key_and_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text(json.dumps({key: value}) + "\n")
    (batch,) = Jsonl(path=str(path), partition="p", text=key).read("p")
    assert batch["text"].to_pylist() == [value]


def test_a_file_larger_than_a_batch_is_streamed_in_order(tmp_path: Path) -> None:
    n = 2 * BATCH_ROWS + 5
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"y": i, "t": "x" * 150}) + "\n" for i in range(n)))
    batches = list(Jsonl(path=str(path), partition="p", text="t", label="y").read("p"))
    rows = pa.Table.from_batches(batches)
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert rows["label"].to_pylist() == [str(i) for i in range(n)]
    assert rows["position"].to_pylist() == list(range(n))


def test_a_line_longer_than_a_block_is_one_row(tmp_path: Path) -> None:
    long = "x" * (3 * 2**20)
    rows = read(tmp_path / "a.jsonl", {"t": long}, {"t": "y"}, text="t")
    assert rows["text"].to_pylist() == [long, "y"]


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(b'{"t": "x"}'), text="t")["text"].to_pylist() == ["x"]


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"^a\.jsonl: is empty"):
        read(tmp_path / "a.jsonl", text="t")
