"""Bounds on what a file unpacks to: pytest tests/tasks/ingest/test_bombs.py

The bombs themselves are in tests/flows/test_hostile.py.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest import bombs
from tasks.ingest.bombs import Unpacked, in_pieces, longest_in_dictionary, refuse_repetition, rows_a_read


def written(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_a_file_may_unpack_to_a_thousand_times_its_size_or_to_what_any_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bombs, "FREE_BYTES", 5_000)
    small, large = Unpacked(2), Unpacked(100)
    small.count(5_000)
    large.count(100_000)
    for unpacked in (small, large):
        with pytest.raises(ValueError, match="unpacks to more than"):
            unpacked.count(1)


def test_values_that_a_dictionary_repeats_are_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x.parquet", text=["x" * 1_000, "y"] * 500, id=[str(n) for n in range(1_000)])
    metadata = pq.read_metadata(path)
    assert longest_in_dictionary(path, 0, "text") == 1_000
    assert rows_a_read(path, metadata, ["text"], 4_096) == 4_096  # 4 MB at worst
    monkeypatch.setattr(bombs, "READ_BYTES", 50_000)
    assert rows_a_read(path, metadata, ["text", "id"], 4_096) == 50
    assert rows_a_read(path, metadata, ["id"], 4_096) == 4_096  # at most three letters


def test_a_file_with_many_rows_a_byte_is_refused_and_data_is_not(tmp_path: Path) -> None:
    data = written(tmp_path / "x.parquet", label=[n % 10 for n in range(50_000)])
    refuse_repetition(pq.read_metadata(data), data.stat().st_size)
    same = written(tmp_path / "y.parquet", label=[0] * 1_000_001)
    with pytest.raises(ValueError, match="claims 1,000,001 rows in"):
        refuse_repetition(pq.read_metadata(same), same.stat().st_size)


@given(st.lists(st.integers(0, 7), max_size=30), st.integers(1, 20))
def test_pieces_hold_every_row_in_order_and_are_as_long_as_asked(lengths: list[int], rows: int) -> None:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    batches = [
        pa.record_batch({"n": list(range(end - length, end))}, pa.schema([("n", pa.int64())]))
        for end, length in zip(ends, lengths, strict=True)
    ]
    pieces = list(in_pieces(batches, rows))
    assert [n for piece in pieces for n in piece["n"].to_pylist()] == list(range(sum(lengths)))
    assert all(rows <= piece.num_rows < rows + 7 for piece in pieces[:-1])
