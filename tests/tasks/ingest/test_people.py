"""Several people's labels come in. Run: .venv/bin/python -m pytest tests/tasks/ingest/test_people.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.ingest import ANNOTATIONS, RAW, BadSource, people
from tasks.ingest.csv import Csv
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.mapping import ColumnSource
from tasks.ingest.numpy import Numpy
from tasks.ingest.parquet import Parquet


def rows(source: ColumnSource) -> list[dict[str, Any]]:
    return list(pa.Table.from_batches(source.read("p"), schema=RAW).to_pylist())


def parquet(folder: Path, columns: dict[str, Any], **fields: Any) -> Parquet:
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return Parquet(path=str(folder / "a.parquet"), partition="p", text="t", **fields)


def entry(annotator: str | None, label: str | None) -> dict[str, str | None]:
    return {"annotator": annotator, "label": label}


def said(*lists: list[dict[str, str | None]] | None) -> pa.Array:
    return pa.array(lists, ANNOTATIONS)


def test_a_column_a_person_becomes_a_list_without_those_who_gave_no_label(tmp_path: Path) -> None:
    columns = {"t": ["x", "y", "z"], "a": [1.0, None, None], "b": ["cat", "dog", None]}
    found = rows(parquet(tmp_path, columns, annotators={"ann": "a", "bob": "b"}))
    assert [row["annotations"] for row in found] == [
        [entry("ann", "1"), entry("bob", "cat")],
        [entry("bob", "dog")],
        None,
    ]
    assert [row["defect"] for row in found] == [None] * 3


def test_a_column_of_lists_is_taken_as_it_is(tmp_path: Path) -> None:
    lists = [
        [{"annotator": "ann", "label": 3, "seconds": 1.5}, {"annotator": "bob", "label": None}],
        [],
        None,
    ]
    found = rows(parquet(tmp_path, {"t": ["x", "y", "z"], "l": lists}, annotations="l"))
    assert [row["annotations"] for row in found] == [[entry("ann", "3")], None, None]
    assert [row["defect"] for row in found] == [None] * 3


def test_csv_json_lines_and_arrays_agree(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,a,b\nx,cat,\ny,dog,cat\n")
    (tmp_path / "a.jsonl").write_text('{"t":"x","a":"cat"}\n{"t":"y","a":"dog","b":"cat"}\n')
    lists = '{"t":"x","l":[{"annotator":"ann","label":"cat"}]}\n'
    lists += '{"t":"y","l":[{"annotator":"ann","label":"dog"},{"annotator":"bob","label":"cat","at":{}}]}\n'
    (tmp_path / "b.jsonl").write_text(lists)
    everyone: dict[str, Any] = {"partition": "p", "text": "t", "annotators": {"ann": "a", "bob": "b"}}
    expected = [[entry("ann", "cat")], [entry("ann", "dog"), entry("bob", "cat")]]
    for source in (
        Csv(path=str(tmp_path / "a.csv"), **everyone),
        Jsonl(path=str(tmp_path / "a.jsonl"), **everyone),
        Jsonl(path=str(tmp_path / "b.jsonl"), partition="p", text="t", annotations="l"),
    ):
        assert [row["annotations"] for row in rows(source)] == expected
    np.savez(tmp_path / "a.npz", t=np.array(["x"]), a=np.array([4]), b=np.array([5]))
    assert rows(Numpy(path=str(tmp_path / "a.npz"), **everyone))[0]["annotations"] == [
        entry("ann", "4"),
        entry("bob", "5"),
    ]


@pytest.mark.parametrize(
    ("line", "defect", "detail"),
    [
        ('{"l": [{"label": "cat"}]}', "wrong_type", "l lacks an annotator"),
        ('{"l": [{"annotator": "", "label": "cat"}]}', "wrong_type", "l lacks an annotator"),
        ('{"l": ["cat"]}', "wrong_type", "l lacks an annotator"),
        ('{"l": {"ann": "cat"}}', "wrong_type", "l is no list"),
        (
            '{"l": [{"annotator": "a", "label": 1}, {"annotator": "a", "label": 2}]}',
            "repeated_annotator",
            "l has an annotator twice",
        ),
        ('{"l": []}', None, None),
        ("{}", None, None),
    ],
)
def test_what_is_no_annotation_is_marked(
    tmp_path: Path, line: str, defect: str | None, detail: str | None
) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    (row,) = rows(Jsonl(path=str(tmp_path / "a.jsonl"), partition="p", annotations="l"))
    assert (row["defect"], row["detail"]) == (defect, detail)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["cat"]]),
        pa.array(["cat"]),
        pa.array([[{"annotator": "a"}]]),
        pa.array([[{"annotator": "a", "label": [1]}]]),
        pa.array([{"annotator": "a", "label": "cat"}]),
    ],
)
def test_a_column_that_can_hold_none_fails_the_file(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(
        BadSource, match=r"^a\.parquet: column l is .*must hold lists of \{annotator, label\}"
    ):
        rows(parquet(tmp_path, {"t": ["x"], "l": column}, annotations="l"))


def test_a_person_whose_column_is_missing_fails_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="has no column b"):
        rows(parquet(tmp_path, {"t": ["x"], "a": ["cat"]}, annotators={"ann": "a", "bob": "b"}))


@pytest.mark.parametrize(
    ("kind", "fields", "complaint"),
    [
        (Parquet, {"annotators": {"a": "x"}, "annotations": "y"}, "give only one of them"),
        (Parquet, {"annotators": {}}, "annotators"),
        (Csv, {"annotations": "y"}, "give annotators, a column each"),
        (Numpy, {"annotations": "y"}, "give annotators, an array each"),
    ],
)
def test_an_impossible_mapping_is_refused(
    kind: type[ColumnSource], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        kind(path="x", partition="p", **fields)


def test_sources_without_annotations_are_what_they_were() -> None:
    assert not {"annotators", "annotations"} & Parquet(path="x", partition="p").identity().keys()
    assert Parquet(path="x", partition="p", annotations="l").identity()["annotations"] == "l"


def test_the_majority_is_the_label_and_the_first_named_of_equals() -> None:
    annotations = said(
        [entry("a", "dog"), entry("b", "cat"), entry("c", "cat")],
        [entry("a", "dog"), entry("b", "cat")],
        None,
        [entry("a", "owl"), entry("b", "cat"), entry("c", "dog"), entry("d", "dog"), entry("e", "cat")],
        [],
    )
    assert people.majority(annotations).to_pylist() == ["cat", "dog", None, "cat", None]
    assert people.majority(annotations.slice(1, 2)).to_pylist() == ["dog", None]
    assert people.majority(annotations.slice(0, 0)).to_pylist() == []


def test_names_and_indices_replace_labels_and_leave_the_rest() -> None:
    annotations = said([entry("a", "dog"), entry("b", "cat")], None, [entry("c", "dog")], [])
    new = people.renamed(annotations, {"dog": "hound"})
    assert new.to_pylist() == [[entry("a", "hound"), entry("b", "cat")], None, [entry("c", "hound")], []]
    index = people.indexed(new.slice(1), ["cat", "hound"])
    assert index.to_pylist() == [None, [{"annotator": "c", "label": 1}], []]
    assert people.labels(annotations).to_pylist() == ["dog", "cat", "dog"]


def test_the_first_label_that_is_strange_is_found() -> None:
    annotations = pl.Series(
        said([entry("a", "cat"), entry("b", "yak"), entry("c", "gnu")], None, [], [entry("a", "cat")])
    )
    assert people.first_beyond(annotations, ["cat"]).to_list() == ["yak", None, None, None]
    assert people.first_among(annotations, ["cat"]).to_list() == ["cat", None, None, "cat"]
    assert people.first_among(annotations, []).to_list() == [None] * 4
    assert people.first_beyond(annotations, []).to_list() == ["cat", None, None, "cat"]
