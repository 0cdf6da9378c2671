"""CSV, broken lines and all. Run: python -m pytest tests/tasks/ingest/test_csv.py"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.csv import Csv
from tasks.ingest.files import BATCH_ROWS


def read(path: Path, content: str | bytes, **fields: Any) -> pa.Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return pa.Table.from_batches(Csv(path=str(path), partition="p", **fields).read("p"), schema=RAW)


def test_columns_are_read_by_their_header(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", "x,y,z\n1,cat,2.5\n2,dog,3\n", features=["z", "x"], label="y")
    assert rows["label"].to_pylist() == ["cat", "dog"]
    assert rows["features"].to_pylist() == [[2.5, 1.0], [3.0, 2.0]]
    assert rows["position"].to_pylist() == [0, 1]
    assert rows["defect"].null_count == 2


def test_labels_keep_their_spelling(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", 't,y\na,007\nb,1.0\nc,\nd,true\ne,"x, ""y"""\n', text="t", label="y")
    assert rows["label"].to_pylist() == ["007", "1.0", None, "true", 'x, "y"']


def test_a_line_that_is_no_row_is_a_reject_in_its_place(tmp_path: Path) -> None:
    content = b't,y\na,1\nb\nc,2\n"d,3\ne,4,5\n\xff\xfe,6\nf,7\n'
    rows = read(tmp_path / "a.csv", content, text="t", label="y")
    assert rows["position"].to_pylist() == list(range(7))
    assert rows["defect"].to_pylist() == [None, "broken_line", None, *["broken_line"] * 3, None]
    assert rows["text"].to_pylist() == ["a", "b", "c", '"d,3', "e,4,5", "\\xFF\\xFE,6", "f"]
    assert rows["detail"].to_pylist() == [
        None,
        "has 1 fields, not 2",
        None,
        "has a quote that is not closed at the end of its field",
        "has 3 fields, not 2",
        "is not UTF-8",
        None,
    ]


def test_a_quote_swallows_no_other_line_and_within_a_field_it_is_a_character(tmp_path: Path) -> None:
    content = 't,y\n5" pipe,1\na"b,"c\n"d"e,3\n"",4\n"f\rg",5\nh\ri,6\nj,7\n'
    rows = read(tmp_path / "a.csv", content, text="t", label="y")
    assert rows["label"].to_pylist() == ["1", None, None, "4", "5", None, "7"]
    assert rows["text"].to_pylist() == ['5" pipe', 'a"b,"c', '"d"e,3', None, "f\rg", "h\ri,6", "j"]
    broken = [None, "broken_line", "broken_line", "missing_payload", None, "broken_line", None]
    assert rows["defect"].to_pylist() == broken


def test_a_file_of_broken_lines_alone_is_read(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", 't,y\n"a\nb\n', text="t", label="y")
    assert rows["defect"].to_pylist() == ["broken_line", "broken_line"]


def test_a_broken_line_has_no_partition(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,day\na,2026-01-01\nb\n")
    source = Csv(path=str(tmp_path), partition_column="day", text="t")
    assert source.partitions() == ["2026-01-01", "unknown"]
    (batch,) = source.read("unknown")
    assert batch["defect"].to_pylist() == ["broken_line"]


def test_features_that_are_no_numbers_are_marked(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", "x,z\n1,2\ntall,2\n,2\nnan,2\n", features=["x", "z"])
    assert rows["defect"].to_pylist() == [None, "wrong_type", "nan_features", "nan_features"]


def test_rows_may_span_lines_when_told_so(tmp_path: Path) -> None:
    content = 't,y\n"a\n\n""b""",1\nc,2\n"d\n,e",3\n'
    rows = read(tmp_path / "a.csv", content, text="t", label="y", newlines_in_values=True)
    assert rows["label"].to_pylist() == ["1", "2", "3"]
    assert rows["text"].to_pylist() == ['a\n\n"b"', "c", "d\n,e"]


def test_a_quote_left_open_fails_a_file_whose_rows_may_span_lines(tmp_path: Path) -> None:
    with pytest.raises(
        BadSource, match=r"^a\.csv: .*a quote is never closed, in the row that begins '\"b,2'"
    ):
        read(tmp_path / "a.csv", 't,y\na,1\n"b,2\nc,3\n', text="t", label="y", newlines_in_values=True)


HARD = st.text('\n" ,ax', min_size=1)


@given(
    st.lists(
        HARD | st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1),
        max_size=20,
    )
)
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    quoted = "".join('"' + text.replace('"', '""') + '",1\n' for text in texts)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    rows = read(path, "t,y\n" + quoted, text="t", label="y", newlines_in_values=True)
    assert rows["text"].to_pylist() == texts


@pytest.mark.parametrize("spans", [False, True])
def test_a_file_larger_than_a_batch_is_streamed_in_order(tmp_path: Path, spans: bool) -> None:
    n = 3 * BATCH_ROWS
    lines = [f"{i},{'x' * 200}" for i in range(n)]
    lines[BATCH_ROWS + 5] = "broken"
    path = tmp_path / "a.csv"
    path.write_text("y,t\n" + "\n".join(lines))
    batches = list(
        Csv(path=str(path), partition="p", text="t", label="y", newlines_in_values=spans).read("p")
    )
    rows = pa.Table.from_batches(batches)
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert rows["position"].to_pylist() == list(range(n))
    wanted = [str(i) for i in range(n)]
    wanted[BATCH_ROWS + 5] = None  # type: ignore[call-overload]
    assert rows["label"].to_pylist() == wanted
    assert rows["defect"].null_count == n - 1


def test_windows_line_ends_a_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", b"\xef\xbb\xbft,y\r\na,1\r\n\r\nb,2\r\n", text="t", label="y")
    assert rows["label"].to_pylist() == ["1", "2"]


def test_a_line_of_empty_fields_is_a_row(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.tsv", "t\ty\na\t1\n\t\n", text="t", label="y", delimiter="\t")
    assert rows["defect"].to_pylist() == [None, "missing_payload"]


def test_other_delimiters_and_packed_files(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.tsv.gz", gzip.compress(b"t\ty\na,b\t1\n"), text="t", label="y", delimiter="\t")
    assert rows["text"].to_pylist() == ["a,b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"t,z\na,1\n", "has no column y; it has t, z"),
        (b"t,y,y\na,1,2\n", "two columns named y"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadSource, match=rf"^a\.csv: .*{message}"):
        read(tmp_path / "a.csv", content, text="t", label="y")


def test_a_packed_file_cut_short_says_so(tmp_path: Path) -> None:
    content = gzip.compress(("t,y\n" + "".join(f"{i * 7919},1\n" for i in range(9999))).encode())
    with pytest.raises(BadSource, match=r"^a\.csv\.gz: cannot be read as CSV"):
        read(tmp_path / "a.csv.gz", content[: len(content) // 2], text="t", label="y")


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    assert len(read(tmp_path / "a.csv", "t,y\n", text="t", label="y")) == 0


@pytest.mark.parametrize("delimiter", ['"', "", "ab", "\n"])
def test_what_can_separate_no_fields_is_refused(delimiter: str) -> None:
    with pytest.raises(ValidationError, match="delimiter"):
        Csv(path="a.csv", partition="p", text="t", delimiter=delimiter)


@pytest.mark.parametrize("delimiter", ["\t", " ", ",", ";", ":", "|", "~", "^"])
def test_every_other_delimiter_separates_fields(tmp_path: Path, delimiter: str) -> None:
    content = f't{delimiter}y\n"a{delimiter}b"{delimiter}1\n'
    assert read(tmp_path / "a.csv", content, text="t", label="y", delimiter=delimiter)[
        "label"
    ].to_pylist() == ["1"]


def test_lists_do_not_fit_into_fields() -> None:
    with pytest.raises(ValidationError, match="list of columns"):
        Csv(path="a.csv", partition="p", features="f", feature_length=2)
