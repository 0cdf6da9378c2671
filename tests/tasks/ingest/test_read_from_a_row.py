"""Reading from a row on, any source. Run: python -m pytest tests/tasks/ingest/test_read_from_a_row.py"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.ingest import RAW, BadSource, Source
from tasks.ingest.csv import Csv
from tasks.ingest.huggingface import HuggingFace
from tasks.ingest.image_folder import ImageFolder
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.numpy import Numpy, StoredArray
from tasks.ingest.parquet import Parquet
from tasks.ingest.sklearn_digits import SklearnDigits
from tasks.stages.ingest import slice_of

DAYS: dict[str, Any] = {"days": 3, "start": "2026-01-01"}
RULES: tuple[dict[str, Any], ...] = ({"partition": "p"}, DAYS, {"partition_column": "day"})


def table(first: int, n: int) -> pa.Table:
    numbers = range(first, first + n)
    columns = {"t": [f"t{i}" for i in numbers], "y": [str(i % 3) for i in numbers]}
    return pa.table({**columns, "day": ["a" if i % 3 else "b" for i in numbers]})


def parquets(folder: Path) -> list[Source]:
    """Three files of 30, 0 and 17 rows, in row groups of 7."""
    for name, first, n in (("1", 0, 30), ("2", 30, 0), ("3", 30, 17)):
        pq.write_table(table(first, n), folder / f"{name}.parquet", row_group_size=7)
    plain = [Parquet(path=str(folder), text="t", label="y", **rule) for rule in RULES]
    noise: Any = {"share": 0.5, "classes": ["0", "1", "2"]}
    return [*plain, Parquet(path=str(folder), partition="p", text="t", label="y", planted_noise=noise)]


def csvs(folder: Path) -> list[Source]:
    """Blank lines, which are no rows, and broken ones, which are; a file of no rows, and a packed one."""
    lines = [f"t{i},{i % 3},{'a' if i % 2 else 'b'}" for i in range(20)]
    lines[4], lines[9], lines[12] = "", "broken", '"open,1,a'
    (folder / "1.csv").write_text("\n\nt,y,day\n" + "\n".join(lines) + "\n\n")
    (folder / "2.csv").write_text("t,y,day\r\n\r\n")
    (folder / "3.csv.gz").write_bytes(gzip.compress("\r\n".join(["day,t,y", *("b,z,1",) * 13]).encode()))
    return [Csv(path=str(folder), text="t", label="y", **rule) for rule in RULES]


def csvs_whose_rows_span_lines(folder: Path) -> list[Source]:
    for name in ("1", "2"):
        rows = [f'"t\n\n{name} {i}",{i % 3}' for i in range(15)]
        (folder / f"{name}.csv").write_text("t,y\n" + "\n\n".join(rows))
    return [Csv(path=str(folder), newlines_in_values=True, text="t", **rule) for rule in RULES[:2]]


def jsonls(folder: Path) -> list[Source]:
    for name, n in (("1", 11), ("2", 1), ("3", 20)):
        lines = [json.dumps({"t": f"{name} {i}", "day": "ab"[i % 2]}) for i in range(n)]
        (folder / f"{name}.jsonl").write_text("\n".join(["{broken", "", *lines, "\r", ""]))
    return [Jsonl(path=str(folder), text="t", **rule) for rule in RULES]


def arrays(folder: Path) -> list[Source]:
    """A stored archive, a packed one, and a folder of arrays."""
    for name, save in (("1", np.savez), ("2", np.savez_compressed)):
        columns = {"f": np.arange(40).reshape(20, 2), "day": np.array(["a", "b"] * 10)}
        save(folder / f"{name}.npz", **columns)  # type: ignore[arg-type]
    (folder / "3").mkdir()
    np.save(folder / "3" / "f.npy", np.arange(100, 124.0).reshape(12, 2))
    np.save(folder / "3" / "day.npy", np.array(["b"] * 12))
    return [Numpy(path=str(folder), features="f", feature_length=2, **rule) for rule in RULES]


def hugging_faces(folder: Path) -> list[Source]:
    """Two splits of two Arrow files each, in batches of 5 rows, as `save_to_disk` lays them out."""
    (folder / "dataset_dict.json").write_text("{}")
    for split in ("test", "train"):
        files = [f"data-0000{i}-of-00002.arrow" for i in range(2)]
        (folder / split).mkdir()
        (folder / split / "dataset_info.json").write_text("{}")
        (folder / split / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": name} for name in files]})
        )
        for number, name in enumerate(files):
            rows = table(20 * number, 13)
            with pa.ipc.new_stream(folder / split / name, rows.schema) as stream:
                stream.write_table(rows, max_chunksize=5)
    return [HuggingFace(path=str(folder), text="t", label="y", **rule) for rule in RULES]


def pictures(folder: Path) -> list[Source]:
    for number in range(40):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), number).save(path)
    lines = [f"{'ab'[i % 2]}/{i}.png,c{i % 3}" for i in range(5, 45)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines, lines[3], "broken", ",x"]))
    fields: dict[str, Any] = {"path": str(folder), "image_shape": (2, 2, 1)}
    rules = RULES[:2]
    by_folder: list[Source] = [ImageFolder(**fields, **rule) for rule in rules]
    return by_folder + [ImageFolder(**fields, labels="labels.csv", **rule) for rule in rules]


def digits(folder: Path) -> list[Source]:
    return [SklearnDigits(days=30, planted_noise=0.3)]


MAKERS = (*(parquets, csvs, csvs_whose_rows_span_lines, jsonls, arrays, hugging_faces, pictures, digits),)


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: make.__name__)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Source, str, pa.Table]]]:
    """Every partition of every source with all its rows, read a few at a time so that batches abound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.ingest.files.BATCH_ROWS", 4)
        sources: list[Source] = request.param(tmp_path_factory.mktemp("source"))
        yield [(s, p, pa.Table.from_batches(s.read(p), RAW)) for s in sources for p in s.partitions()]


def test_there_are_rows_and_their_positions_count_up(whole: list[tuple[Source, str, pa.Table]]) -> None:
    for _, _, rows in whole:
        assert rows.num_rows
        assert rows["position"].to_pylist() == list(range(rows.num_rows))


@settings(max_examples=30)
@given(data=st.data())
def test_reading_from_a_row_on_gives_the_tail_of_reading_all(
    whole: list[tuple[Source, str, pa.Table]], data: st.DataObject
) -> None:
    source, partition, rows = data.draw(st.sampled_from(whole))
    start = data.draw(st.integers(0, rows.num_rows + 2))
    assert pa.Table.from_batches(source.read(partition, start), RAW).equals(rows.slice(start))


@settings(max_examples=10)
@given(data=st.data())
def test_a_shard_is_its_slice(whole: list[tuple[Source, str, pa.Table]], data: st.DataObject) -> None:
    source, partition, rows = data.draw(st.sampled_from(whole))
    start = data.draw(st.integers(0, rows.num_rows))
    stop = data.draw(st.integers(start, rows.num_rows))
    found = pa.Table.from_batches([slice_of(source, partition, start, stop)])
    assert found.equals(rows.slice(start, stop - start))


def test_a_shard_of_parquet_decodes_the_row_groups_it_needs_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquets(tmp_path)
    asked: list[list[int]] = []
    real = pq.ParquetFile.iter_batches

    def spy(self: pq.ParquetFile, rows: int, groups: list[int], *rest: Any, **named: Any) -> Any:
        asked.append(groups)
        return real(self, rows, groups, *rest, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    source = Parquet(path=str(tmp_path), partition="p", text="t")
    for start, wanted in ((0, [0, 1, 2, 3, 4]), (13, [1, 2, 3, 4]), (14, [2, 3, 4]), (29, [4])):
        asked.clear()
        assert next(source.read("p", start))["text"][0].as_py() == f"t{start}"
        assert asked == [wanted]
    asked.clear()
    assert next(source.read("p", 37))["text"][0].as_py() == "t37"
    assert asked == [[1, 2]]  # of the third file; nothing of the first two


def test_a_shard_of_arrays_reads_the_bytes_of_its_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays(tmp_path)
    taken: list[int] = []
    real = StoredArray.take

    def spy(self: StoredArray, n: int) -> np.ndarray:
        taken.append(n)
        return real(self, n)

    monkeypatch.setattr(StoredArray, "take", spy)
    source = Numpy(path=str(tmp_path), partition="p", features="f", feature_length=2)
    assert slice_of(source, "p", 45, 52)["features"][0].as_py() == [110.0, 111.0]
    assert sum(taken) == 7


def test_no_picture_before_a_shard_is_opened(tmp_path: Path) -> None:
    by_folder, *_, by_labels, _ = pictures(tmp_path)
    for source in (by_folder, by_labels):
        before = pa.Table.from_batches(source.read("p"), RAW)
        (tmp_path / "a" / "0.png").write_bytes(b"")
        assert pa.Table.from_batches(source.read("p", 1), RAW).equals(before.slice(1))
        pictures(tmp_path)


def test_a_partition_that_a_column_names_may_end_before_the_start_but_must_exist(tmp_path: Path) -> None:
    source = parquets(tmp_path)[2]
    assert list(source.read("a", 1000)) == []
    with pytest.raises(BadSource, match="no row belongs to partition c"):
        list(source.read("c"))
