"""Folders of pictures. Run: python -m pytest tests/tasks/ingest/test_image_folder.py"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from tasks.ingest import RAW, BadSource
from tasks.ingest.image_folder import ImageFolder


def picture(path: Path, value: int = 7) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 3), value).save(path)
    return path.read_bytes()


def read(source: ImageFolder, partition: str) -> pa.Table:
    return pa.Table.from_batches(source.read(partition), schema=RAW)


def source(path: Path | str, **fields: Any) -> ImageFolder:
    return ImageFolder(path=str(path), image_shape=(3, 3, 1), **fields)


def test_the_folder_is_the_label(tmp_path: Path) -> None:
    data = picture(tmp_path / "cat" / "2.png")
    picture(tmp_path / "dog" / "1.PNG", 9)
    picture(tmp_path / "alone.png")
    picture(tmp_path / "cat" / "tabby" / "3.png")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    rows = read(source(tmp_path, partition="p"), "p")
    assert rows["source"].to_pylist() == ["alone.png", "cat/2.png", "cat/tabby/3.png", "dog/1.PNG"]
    assert rows["label"].to_pylist() == [None, "cat", "cat", "dog"]
    assert rows["image"][1].as_py() == data
    assert rows["split"].to_pylist() == ["train"] * 4
    assert rows["position"].to_pylist() == [0, 1, 2, 3]


def test_a_folder_a_partition_and_a_folder_a_split(tmp_path: Path) -> None:
    picture(tmp_path / "2026-01-01" / "test" / "cat" / "1.png")
    picture(tmp_path / "2026-01-02" / "train" / "dog" / "1.png")
    pictures = source(f"{tmp_path}/{{partition}}", folders=["split", "label"])
    assert pictures.partitions() == ["2026-01-01", "2026-01-02"]
    (row,) = read(pictures, "2026-01-01").to_pylist()
    assert (row["split"], row["label"]) == ("test", "cat")


def test_an_empty_picture_is_a_bad_row(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "2.png").touch()
    rows = read(source(tmp_path, partition="p"), "p")
    assert rows["defect"].to_pylist() == [None, "missing_payload"]
    assert rows["detail"].to_pylist() == [None, "the file is empty"]


def test_a_picture_that_goes_away_is_a_bad_row(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    batches = source(tmp_path, partition="p")._frames(source(tmp_path, partition="p")._files(None))
    (tmp_path / "cat" / "1.png").unlink()
    (frame,) = batches
    assert frame["detail"].to_list() == ["the file cannot be read (No such file or directory)"]


def test_dates_are_dealt_every_class(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        for i in range(20):
            picture(tmp_path / label / f"{i}.png", i)
    dealt = source(tmp_path, days=2, start=datetime.date(2026, 1, 1))
    days = [read(dealt, partition) for partition in dealt.partitions()]
    assert [len(day) for day in days] == [30, 30]
    assert all(set(day["label"].to_pylist()) == {"a", "b", "c"} for day in days)
    assert len({name for day in days for name in day["source"].to_pylist()}) == 60


def test_many_pictures_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.ingest.files.BATCH_ROWS", 16)
    for i in range(40):
        picture(tmp_path / "a" / f"{i:02}.png")
    batches = list(source(tmp_path, partition="p").read("p"))
    assert [batch.num_rows for batch in batches] == [16, 16, 8]
    assert [p for batch in batches for p in batch["position"].to_pylist()] == list(range(40))


def test_a_fingerprint_changes_when_a_picture_does(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    before = source(tmp_path, partition="p").fingerprint("p")
    picture(tmp_path / "a" / "2.png")
    assert source(tmp_path, partition="p").fingerprint("p") != before


def test_a_folder_without_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="no picture file has arrived there"):
        source(tmp_path, partition="p").partitions()


@pytest.mark.parametrize("fields", [{"path": "x/**"}, {"folders": ["label", "label"]}, {"folders": []}])
def test_an_unclear_layout_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageFolder(**{"path": "x", "partition": "p", "image_shape": (3, 3, 1), **fields})


def test_a_labels_file_says_what_each_picture_is(tmp_path: Path) -> None:
    data = [picture(tmp_path / name, value) for value, name in enumerate(("b/2.png", "a.png", "c.jpg"))]
    (tmp_path / "notes.txt").write_text("no picture")
    picture(tmp_path / "_hidden.png")
    (tmp_path / "labels.csv").write_text("label,file\ncat,b/2.png\n007,c.jpg\n")
    rows = read(source(tmp_path, partition="p", labels="labels.csv"), "p")
    assert rows["source"].to_pylist() == ["a.png", "b/2.png", "c.jpg"]
    assert rows["label"].to_pylist() == [None, "cat", "007"]
    assert rows["image"].to_pylist() == [data[1], data[0], data[2]]
    assert rows["split"].to_pylist() == ["train"] * 3
    assert rows["truth"].null_count == rows["defect"].null_count == rows["text"].null_count == 3
    assert rows["position"].to_pylist() == [0, 1, 2]


def test_a_folder_a_partition_has_a_labels_file_each(tmp_path: Path) -> None:
    for day, label in (("2026-01-01", "cat"), ("2026-01-02", "dog")):
        picture(tmp_path / day / "1.png")
        (tmp_path / day / "y.csv").write_text(f"file,label\n1.png,{label}\n")
    pictures = source(f"{tmp_path}/{{partition}}", labels="y.csv")
    assert pictures.partitions() == ["2026-01-01", "2026-01-02"]
    (row,) = read(pictures, "2026-01-02").to_pylist()
    assert (row["source"], row["label"]) == ("2026-01-02/1.png", "dog")


def test_a_line_without_a_picture_is_a_bad_row_where_the_picture_would_be(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        picture(tmp_path / "p" / name)
    picture(tmp_path / "secret.png")
    lines = ["file,label", "b.png,x", "c.png,y", "../secret.png,z", f"{tmp_path}/secret.png,z", "a.png,w"]
    (tmp_path / "p" / "y.csv").write_text("\n".join(lines))
    rows = read(source(f"{tmp_path}/{{partition}}", labels="y.csv"), "p")
    wanted = ["../secret.png", f"{tmp_path}/secret.png", "a.png", "b.png", "c.png"]
    assert rows["source"].to_pylist() == [f"p/{name}" for name in wanted]
    assert rows["defect"].to_pylist() == ["missing_payload", "missing_payload", None, "missing_payload", None]
    assert rows["detail"][3].as_py() == "p/y.csv lists it, but there is no such picture"
    assert rows["label"].to_pylist() == ["z", "z", "w", "x", "y"]
    assert [image is None for image in rows["image"].to_pylist()] == [True, True, False, True, False]


def test_dates_are_dealt_lines_and_pictures(tmp_path: Path) -> None:
    for i in range(20):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "y.csv").write_text("file,label\n" + "".join(f"{i}.png,x\n" for i in range(10, 30)))
    dealt = source(tmp_path, days=2, start=datetime.date(2026, 1, 1), labels="y.csv")
    days = [read(dealt, partition) for partition in dealt.partitions()]
    assert [len(day) for day in days] == [15, 15]
    assert len({name for day in days for name in day["source"].to_pylist()}) == 30
    assert sum(day["defect"].null_count for day in days) == 20


def test_the_labels_file_is_part_of_the_fingerprint_and_may_come_late(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.png")
    pictures = source(f"{tmp_path}/{{partition}}", labels="y.jsonl")
    prints = [pictures.fingerprint("p")]
    with pytest.raises(BadSource, match=r"^p/y\.jsonl: the labels file is not there; add it"):
        read(pictures, "p")
    for label in ("cat", "tiger"):
        (tmp_path / "p" / "y.jsonl").write_text(f'{{"file": "1.png", "label": "{label}"}}\n')
        prints.append(pictures.fingerprint("p"))
        assert read(pictures, "p")["label"].to_pylist() == [label]
    assert len(set(prints)) == 3
    (tmp_path / "p" / "other.csv").write_text("file,label")
    assert pictures.fingerprint("p") == prints[2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "labels.txt"}, "must end in .csv, .jsonl, .parquet"),
        ({"labels": "/labels.csv"}, "be relative to the folder"),
        ({"labels": "labels.csv", "folders": ["split"]}, "only one of labels and folders"),
        ({"labels": "labels.csv", "path": "in/*"}, "leave wildcards out"),
    ],
)
def test_an_unclear_labels_file_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageFolder(**{"path": "x", "partition": "p", "image_shape": (3, 3, 1), **fields})


def test_a_path_that_is_a_picture_has_no_labels_file(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(BadSource, match="the labels file is not there"):
        read(source(tmp_path / "1.png", partition="p", labels="y.csv"), "p")
