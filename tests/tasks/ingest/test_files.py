"""Partition rules and fingerprints. Run: python -m pytest tests/tasks/ingest/test_files.py"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.files import BATCH_ROWS
from tasks.ingest.parquet import Parquet


def write(path: Path, texts: list[str], **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"t": texts, **columns}), path)
    return path


def texts(source: Parquet, partition: str) -> list[str]:
    table = pa.Table.from_batches(source.read(partition), schema=RAW)
    assert table["position"].to_pylist() == list(range(len(table)))
    return list(table["text"].to_pylist())


def test_a_folder_a_partition(tmp_path: Path) -> None:
    write(tmp_path / "in" / "2026-01-02" / "a.parquet", ["b1"])
    write(tmp_path / "in" / "2026-01-01" / "z.parquet", ["a2"])
    write(tmp_path / "in" / "2026-01-01" / "b.parquet", ["a1"])
    for end in ("", "/*.parquet"):
        source = Parquet(path=f"{tmp_path}/in/{{partition}}{end}", text="t")
        assert source.partitions() == ["2026-01-01", "2026-01-02"]
        assert texts(source, "2026-01-01") == ["a1", "a2"]  # in file name order
        (first, *_) = source.read("2026-01-01")
        assert first["source"].to_pylist() == ["2026-01-01/b.parquet"]


def test_a_file_a_partition(tmp_path: Path) -> None:
    write(tmp_path / "rows-2026-01-01.parquet", ["a"])
    write(tmp_path / "rows-2026-01-02.parquet", ["b"])
    write(tmp_path / "other.parquet", ["c"])
    source = Parquet(path=f"{tmp_path}/rows-{{partition}}.parquet", text="t")
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    assert texts(source, "2026-01-02") == ["b"]


def test_a_partition_whose_folder_has_no_file_yet_has_not_arrived(tmp_path: Path) -> None:
    write(tmp_path / "2026-01-01" / "a.parquet", ["a"])
    (tmp_path / "2026-01-02").mkdir()
    assert Parquet(path=f"{tmp_path}/{{partition}}", text="t").partitions() == ["2026-01-01"]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "[old] *" / "in" / "p" / "a.parquet", ["x"])
    assert texts(Parquet(path=f"{tmp_path}/[old] */in/{{partition}}/*.parquet", text="t"), "p") == ["x"]
    assert texts(Parquet(path=f"{tmp_path}/[old] *", partition="q", text="t"), "q") == ["x"]


def test_unfinished_files_are_not_read(tmp_path: Path) -> None:
    for name in ("a.parquet", "_b.parquet", ".c.parquet", "_tmp/d.parquet", "deeper/e.parquet"):
        write(tmp_path / name, [name])
    (tmp_path / "notes.txt").write_text("not rows")
    assert texts(Parquet(path=str(tmp_path), partition="p", text="t"), "p") == [
        "a.parquet",
        "deeper/e.parquet",
    ]


def test_a_column_names_the_partition(tmp_path: Path) -> None:
    days = [datetime.date(2026, 1, 2), datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)]
    write(tmp_path / "a.parquet", ["x", "y", "z"], day=days)
    source = Parquet(path=str(tmp_path), partition_column="day", text="t")
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    assert texts(source, "2026-01-02") == ["x", "z"]


def test_a_time_names_the_partition_by_its_day_and_a_number_by_its_digits(tmp_path: Path) -> None:
    times = [datetime.datetime(2026, 1, 2, 3, 4), datetime.datetime(2026, 1, 2, 5, 6)]
    write(tmp_path / "a.parquet", ["x", "y"], at=times, year=[2025, 2026])
    assert Parquet(path=str(tmp_path), partition_column="at", text="t").partitions() == ["2026-01-02"]
    assert Parquet(path=str(tmp_path), partition_column="year", text="t").partitions() == ["2025", "2026"]


def test_everything_is_one_partition(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ["x", "y"])
    source = Parquet(path=str(path), partition="train", text="t")
    assert source.partitions() == ["train"]
    assert texts(source, "train") == ["x", "y"]


def test_rows_are_dealt_over_days_in_even_runs_across_files(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", list("abcd"))
    write(tmp_path / "b.parquet", list("efgh"))
    source = Parquet(path=str(tmp_path), days=3, start=datetime.date(2026, 1, 31), text="t")
    assert source.partitions() == ["2026-01-31", "2026-02-01", "2026-02-02"]
    assert [texts(source, p) for p in source.partitions()] == [list("ab"), list("cde"), list("fgh")]


def test_more_days_than_rows_leave_days_empty(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["x"])
    source = Parquet(path=str(tmp_path), days=2, start=datetime.date(2026, 1, 1), text="t")
    assert [texts(source, p) for p in source.partitions()] == [[], ["x"]]


def test_a_file_larger_than_a_batch_is_streamed_in_order(tmp_path: Path) -> None:
    n = 2 * BATCH_ROWS + 7
    path = write(
        tmp_path / "a.parquet", [str(i) for i in range(n)], day=["a", "b", "a"] * (n // 3) + ["a"] * (n % 3)
    )
    batches = list(Parquet(path=str(path), partition="p", text="t").read("p"))
    assert [batch.num_rows for batch in batches] == [BATCH_ROWS, BATCH_ROWS, 7]
    assert all(batch.schema == RAW for batch in batches)
    assert texts(Parquet(path=str(path), partition="p", text="t"), "p") == [str(i) for i in range(n)]
    dealt = Parquet(path=str(path), days=2, start=datetime.date(2026, 1, 1), text="t")
    assert [i for p in dealt.partitions() for i in texts(dealt, p)] == [str(i) for i in range(n)]
    column = Parquet(path=str(path), partition_column="day", text="t")
    assert len(texts(column, "a")) + len(texts(column, "b")) == n


def test_batches_of_large_images_are_small() -> None:
    small = Parquet(path="x", partition="p", image="i", image_shape=(28, 28, 1))
    large = Parquet(path="x", partition="p", image="i", image_shape=(1024, 1024, 3))
    assert small.batch_rows == BATCH_ROWS
    assert large.batch_rows == 21


def test_a_fingerprint_changes_when_a_file_does(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "p" / "a.parquet", ["x"])
    other = write(tmp_path / "in" / "q" / "a.parquet", ["x"])
    source = Parquet(path=f"{tmp_path}/in/{{partition}}", text="t")
    seen = [source.fingerprint("p")]
    assert source.fingerprint("p") == seen[0]
    os.utime(other, ns=(1, 1))
    assert source.fingerprint("p") == seen[0]  # another partition's file
    os.utime(path, ns=(1, 1))
    seen.append(source.fingerprint("p"))
    write(path, ["longer"] * 9)
    os.utime(path, ns=(1, 1))
    seen.append(source.fingerprint("p"))
    path.rename(path.with_name("b.parquet"))
    seen.append(source.fingerprint("p"))
    write(tmp_path / "in" / "p" / "c.parquet", ["y"])
    seen.append(source.fingerprint("p"))
    assert len(set(seen)) == 5


def test_moving_the_whole_data_set_changes_neither_fingerprint_nor_identity(tmp_path: Path) -> None:
    write(tmp_path / "here" / "a.parquet", ["x"])
    before = Parquet(path=str(tmp_path / "here"), partition="p", text="t")
    old = before.fingerprint("p")
    (tmp_path / "here").rename(tmp_path / "there")
    after = Parquet(path=str(tmp_path / "there"), partition="p", text="t")
    assert after.fingerprint("p") == old
    assert after.identity() == before.identity()
    assert Parquet(path="x", partition="p", label="t").identity() != before.identity()


@pytest.mark.parametrize("partition", ["2026-01-09", "2026-01-01\n", "../secret", "*", ""])
@pytest.mark.parametrize("rule", ["path", "partition", "days", "partition_column"])
def test_there_is_no_such_partition(tmp_path: Path, partition: str, rule: str) -> None:
    write(tmp_path / "2026-01-01" / "a.parquet", ["x"], day=["2026-01-01"])
    fields: dict[str, Any] = {
        "path": {"path": f"{tmp_path}/{{partition}}"},
        "partition": {"path": str(tmp_path), "partition": "p"},
        "days": {"path": str(tmp_path), "days": 2, "start": "2026-01-01"},
        "partition_column": {"path": str(tmp_path), "partition_column": "day"},
    }[rule]
    with pytest.raises(BadSource):
        list(Parquet(text="t", **fields).read(partition))


def test_an_empty_folder_is_a_source_to_which_nothing_has_come_yet(tmp_path: Path) -> None:
    source = Parquet(path=f"{tmp_path}/{{partition}}/*.parquet", text="t")
    assert source.partitions() == []
    (tmp_path / "2026-01-01").mkdir()
    with pytest.raises(BadSource, match="nothing has arrived there; check path and the name of its files"):
        source.partitions()


def test_a_path_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    for path in (f"{tmp_path}/none", f"{tmp_path}/*.parquet", f"{tmp_path}/none/{{partition}}"):
        fields = {} if "{partition}" in path else {"partition": "p"}
        with pytest.raises(BadSource, match=r"arrived there; check path"):
            Parquet(path=path, text="t", **fields).partitions()  # type: ignore[arg-type]


def test_a_relative_path_is_never_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.parquet", ["x"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSource, match="relative"):
        Parquet(path="a.parquet", partition="p", text="t").partitions()


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "x"},
        {"path": "x", "partition": "p", "partition_column": "c"},
        {"path": "{partition}", "partition": "p"},
        {"path": "x", "days": 2},
        {"path": "x", "start": "2026-01-01"},
        {"path": "{partition}/{partition}"},
        {"path": "in/{partition}*.parquet"},
        {"path": "x", "partition": "a/b"},
        {"path": "x", "days": 0, "start": "2026-01-01"},
        {"path": "", "partition": "p"},
    ],
)
def test_anything_but_one_partition_rule_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parquet(text="t", **fields)
