"""Parquet, and noise planted in it. Run: python -m pytest tests/tasks/ingest/test_parquet.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.parquet import Parquet


def write(path: Path, n: int = 5000) -> Path:
    pq.write_table(pa.table({"t": [str(i * 7919) for i in range(n)], "y": [i % 10 for i in range(n)]}), path)
    return path


def test_a_truncated_file_fails_its_partition(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadSource, match=r"^a\.parquet: cannot be read as Parquet"):
        list(Parquet(path=str(path), partition="p", text="t").read("p"))


def test_a_damaged_page_fails_its_partition(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(BadSource, match=r"^a\.parquet: cannot be read as Parquet"):
        list(Parquet(path=str(path), partition="p", text="t").read("p"))


def test_an_empty_file_fails_its_partition(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    with pytest.raises(BadSource, match=r"^a\.parquet: cannot be read as Parquet"):
        list(Parquet(path=str(tmp_path), partition="p", text="t").read("p"))


def test_a_missing_column_fails_its_partition(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(BadSource, match=r"^a\.parquet: has no column words; it has t, y"):
        list(Parquet(path=str(tmp_path), partition="p", text="words").read("p"))


def test_a_file_without_rows_is_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", n=0)
    assert list(Parquet(path=str(tmp_path), partition="p", text="t").read("p")) == []


def noisy(path: Path, **noise: Any) -> pa.Table:
    fields = {"share": 0.2, "classes": list(range(10)), **noise}
    source = Parquet(path=str(path), partition="p", text="t", label="y", planted_noise=fields)  # type: ignore[arg-type]
    return pa.Table.from_batches(source.read("p"), schema=RAW)


def test_uniform_noise_flips_its_share_to_every_other_class(tmp_path: Path) -> None:
    rows = noisy(write(tmp_path / "a.parquet"))
    label, truth = rows["label"].to_numpy().astype(int), rows["truth"].to_numpy().astype(int)
    wrong = label != truth
    assert truth.tolist() == [i % 10 for i in range(5000)]
    assert abs(wrong.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5000)
    steps = np.bincount((label - truth)[wrong] % 10, minlength=10)
    assert steps[0] == 0
    assert steps[1:].min() > 70  # 111 expected


def test_asymmetric_noise_mistakes_a_class_for_one_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    for to, wanted in (({3: 5}, {("3", "5")}), ({}, {(str(i), str((i + 1) % 10)) for i in range(10)})):
        rows = noisy(path, flips="asymmetric", to=to)
        pairs = set(zip(rows["truth"].to_pylist(), rows["label"].to_pylist(), strict=True))
        assert {(truth, label) for truth, label in pairs if truth != label} == wanted


def test_noise_does_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet")
    before = noisy(path)
    monkeypatch.setattr("tasks.ingest.files.BATCH_ROWS", 100)
    assert noisy(path).equals(before)


def test_no_noise_and_no_label_are_left_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": ["x", "y"], "y": ["1", None]}), tmp_path / "a.parquet")
    rows = noisy(tmp_path / "a.parquet", share=0)
    assert rows["label"].to_pylist() == rows["truth"].to_pylist() == ["1", None]
    assert noisy(tmp_path / "a.parquet", share=0.99)["truth"].to_pylist() == ["1", None]


def test_a_label_outside_the_classes_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"label 4 is not in planted_noise\.classes"):
        noisy(write(tmp_path / "a.parquet"), classes=["0", "1", "2", "3"])


@pytest.mark.parametrize(
    "noise",
    [
        {"share": 1.0},
        {"classes": ["0"]},
        {"classes": ["0", "1", "0"]},
        {"to": {3: 11}, "flips": "asymmetric"},
        {"to": {3: 5}},
        {"shares": 0.1},
    ],
)
def test_impossible_noise_is_refused(tmp_path: Path, noise: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        noisy(tmp_path, **noise)


def test_noise_fills_truth_so_truth_is_not_mapped() -> None:
    noise: Any = {"share": 0.1, "classes": ["a", "b"]}
    with pytest.raises(ValidationError, match="leave truth out"):
        Parquet(path="x", partition="p", label="y", truth="z", planted_noise=noise)


def delivery(folder: Path, name: str, times: list[str | None]) -> None:
    """A file of rows that happened at these moments, UTC."""
    moments = pl.Series("at", times, dtype=pl.String).str.to_datetime("%+", time_zone="UTC")
    pl.DataFrame({"at": moments, "t": ["x"] * len(times)}).write_parquet(folder / name)


def timed(folder: Path) -> Parquet:
    return Parquet(path=str(folder), partition_column="at", time_zone="Europe/Berlin", text="t")


def test_a_delivery_changes_only_the_days_that_it_may_have_rows_of(tmp_path: Path) -> None:
    """Also at the end of a day: 22:30 UTC is 00:30 of the next day in Berlin."""
    delivery(tmp_path, "a.parquet", ["2026-03-29T22:30:00Z", "2026-03-30T12:00:00Z"])
    before = {day: timed(tmp_path).fingerprint(day) for day in ("2026-03-30",)}
    delivery(tmp_path, "b.parquet", ["2026-03-30T22:00:00Z"])
    source = timed(tmp_path)
    assert source.partitions() == ["2026-03-30", "2026-03-31"]
    assert {day: source.fingerprint(day) for day in before} == before
    delivery(tmp_path, "c.parquet", ["2026-03-30T21:59:59Z"])
    assert timed(tmp_path).fingerprint("2026-03-30") != before["2026-03-30"]
    assert sum(batch.num_rows for batch in timed(tmp_path).read("2026-03-30")) == 3


def test_rows_without_a_time_are_of_the_unknown_partition(tmp_path: Path) -> None:
    delivery(tmp_path, "a.parquet", ["2026-03-30T12:00:00Z", None])
    delivery(tmp_path, "b.parquet", [None])
    source = timed(tmp_path)
    assert source.partitions() == ["2026-03-30", "unknown"]
    assert [b["defect"].to_pylist() for b in source.read("unknown")] == [["missing_partition"]] * 2


@pytest.mark.parametrize("broken", ["cut short", "without the column"])
def test_a_file_that_names_no_days_fails_the_unknown_partition_alone(tmp_path: Path, broken: str) -> None:
    delivery(tmp_path, "a.parquet", ["2026-03-30T12:00:00Z"])
    file = tmp_path / "b.parquet"
    if broken == "cut short":
        delivery(tmp_path, "b.parquet", ["2026-03-30T13:00:00Z"])
        file.write_bytes(file.read_bytes()[:-10])
    else:
        pl.DataFrame({"t": ["x"]}).write_parquet(file)
    source = timed(tmp_path)
    assert source.partitions() == ["2026-03-30", "unknown"]
    assert sum(batch.num_rows for batch in source.read("2026-03-30")) == 1
    with pytest.raises(BadSource, match=r"b\.parquet: (cannot be read as Parquet|has no column at)"):
        list(source.read("unknown"))
    delivery(tmp_path, "b.parquet", ["2026-03-30T13:00:00Z"])
    assert timed(tmp_path).partitions() == ["2026-03-30"]
    assert sum(batch.num_rows for batch in timed(tmp_path).read("2026-03-30")) == 2
