"""Files of labels for pictures. Run: python -m pytest tests/tasks/ingest/test_labels_file.py"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ingest import BadSource
from tasks.ingest.files import File
from tasks.ingest.labels_file import labelled

COLUMNS = {"file": ["b.png", "a.png"], "label": ["7", "cat"], "truth": ["8", None], "split": [None, "test"]}


def found(*names: str) -> pl.DataFrame:
    schema = {"file": pl.String, "path": pl.String}
    return pl.DataFrame({"file": names, "path": [f"/x/{name}" for name in names]}, schema=schema)


def read(path: Path, *names: str) -> pl.DataFrame:
    return labelled(File(path, f"in/{path.name}"), found(*names), "in/")


def written(folder: Path, form: str) -> Path:
    path = folder / f"y.{form}"
    if form == "parquet":
        pq.write_table(pa.table(COLUMNS), path)
    elif form == "csv":
        pl.DataFrame(COLUMNS).write_csv(path)
    else:
        rows = pl.DataFrame(COLUMNS).to_dicts()
        path.write_text("".join(json.dumps({k: v for k, v in row.items() if v}) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_form_says_the_same(tmp_path: Path, form: str) -> None:
    rows = read(written(tmp_path, form), "a.png", "b.png", "c.png")
    assert rows["source"].to_list() == ["in/a.png", "in/b.png", "in/c.png"]
    assert rows["path"].to_list() == ["/x/a.png", "/x/b.png", "/x/c.png"]
    assert rows["label"].to_list() == ["cat", "7", None]
    assert rows["truth"].to_list() == [None, "8", None]
    assert rows["split"].to_list()[0] == "test"
    assert rows["defect"].null_count() == rows["text"].null_count() == 3


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_split_and_truth_are_optional(tmp_path: Path, form: str) -> None:
    lines = pl.DataFrame({"file": ["a.png"], "label": [3]})
    path = tmp_path / f"y.{form}"
    lines.write_csv(path) if form == "csv" else lines.write_parquet(path)
    (row,) = read(path, "a.png").to_dicts()
    assert (row["label"], row["truth"]) == ("3", None)


def test_a_picture_listed_twice_is_two_rows_in_the_order_of_the_lines(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("file,label\nb.png,2\na.png,x\nb.png,1\n")
    rows = read(tmp_path / "y.csv", "a.png", "b.png")
    assert rows["label"].to_list() == ["x", "2", "1"]
    assert rows["path"].to_list() == ["/x/a.png", "/x/b.png", "/x/b.png"]


def test_lines_that_name_no_picture_come_last_with_what_they_held(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("file,label\nbroken\n,cat\na.png,1\n")
    rows = read(tmp_path / "y.csv", "a.png")
    assert rows["source"].to_list() == ["in/a.png", "in/y.csv", "in/y.csv"]
    assert rows["defect"].to_list() == [None, "broken_line", "missing_payload"]
    assert rows["text"].to_list() == [None, "broken", None]
    assert rows["detail"].to_list() == [None, "has 1 fields, not 2", "file is empty"]


def test_a_label_that_is_none_spoils_its_picture_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "y.jsonl").write_text('{"file": "a.png", "label": [1]}\n{"file": "b.png", "label": 1}\n')
    rows = read(tmp_path / "y.jsonl", "a.png", "b.png")
    assert rows["path"].to_list() == ["/x/a.png", "/x/b.png"]
    assert rows["defect"].to_list() == ["wrong_type", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("y.csv", b"picture,label\na.png,1\n", "has no column file; it has picture, label"),
        ("y.csv", b"file,class\na.png,1\n", "has no column label"),
        ("y.csv", b"", "is empty"),
        ("y.jsonl", b"", "is empty"),
        ("y.parquet", b"PAR1", "cannot be read as Parquet"),
        ("y.csv", None, "the labels file is not there"),
    ],
)
def test_a_file_that_says_nothing_says_why(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSource, match=f"^in/{name}: {message}"):
        read(tmp_path / name, "a.png")


def test_a_header_alone_labels_nothing(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("file,label\n")
    assert read(tmp_path / "y.csv", "a.png")["label"].to_list() == [None]


@settings(max_examples=50)
@given(
    there=st.sets(st.sampled_from("abcdef")),
    listed=st.lists(st.tuples(st.sampled_from("defghi"), st.text("xy"))),
)
def test_every_line_and_every_picture_is_in_exactly_one_row_or_more_if_listed_more(
    tmp_path_factory: pytest.TempPathFactory, there: set[str], listed: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("labels") / "y.csv"
    path.write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in listed))
    rows = read(path, *sorted(there))
    unlisted: list[tuple[str, str | None]] = [(name, None) for name in there - {name for name, _ in listed}]
    lines = [(name, label or None) for name, label in listed]
    wanted = sorted(lines + unlisted, key=lambda pair: pair[0])
    assert list(zip(rows["source"], rows["label"], strict=True)) == [(f"in/{n}", y) for n, y in wanted]
    lost = [name not in there for name, _ in wanted]
    assert (rows["defect"] == "missing_payload").fill_null(False).to_list() == lost
    assert rows["path"].is_null().to_list() == lost
