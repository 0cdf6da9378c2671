"""Data sets that `save_to_disk` wrote. Run: python -m pytest tests/tasks/ingest/test_huggingface.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tasks.ingest import RAW, BadSource
from tasks.ingest.huggingface import HuggingFace

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    datasets.disable_progress_bars()


def pictures(n: int = 4) -> Any:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "vector": datasets.Sequence(datasets.Value("float64"), length=2),
            "words": datasets.Value("string"),
        }
    )
    columns = {
        "image": [Image.fromarray(np.full((3, 3), i, np.uint8)) for i in range(n)],
        "label": [i % 2 for i in range(n)],
        "vector": [[float(i), 0.5] for i in range(n)],
        "words": [f"w{i}" for i in range(n)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def read(source: HuggingFace, partition: str = "p") -> pa.Table:
    return pa.Table.from_batches(source.read(partition), schema=RAW)


def test_class_names_and_pictures_are_understood(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path / "pets")
    source = HuggingFace(
        path=str(tmp_path / "pets"), partition="p", image="image", label="label", image_shape=(3, 3, 1)
    )
    rows = read(source)
    assert source.classes == ("cat", "dog")
    assert rows["label"].to_pylist() == ["cat", "dog", "cat", "dog"]
    assert all(data.startswith(b"\x89PNG") for data in rows["image"].to_pylist())
    assert rows["split"].to_pylist() == ["train"] * 4
    assert rows["defect"].null_count == 4
    assert set(rows["source"].to_pylist()) == {"data-00000-of-00001.arrow"}


def test_lists_and_text_are_payloads(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path)
    lists = HuggingFace(path=str(tmp_path), partition="p", features="vector", feature_length=2)
    assert read(lists)["features"].to_pylist()[3] == [3.0, 0.5]
    assert lists.classes is None
    assert read(HuggingFace(path=str(tmp_path), partition="p", text="words"))["text"][2].as_py() == "w2"


def test_the_splits_of_a_data_set_dict_are_the_rows_splits(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": pictures(3), "test": pictures(2)}).save_to_disk(tmp_path)
    rows = read(HuggingFace(path=str(tmp_path), partition="p", text="words", label="label"))
    assert rows["split"].to_pylist() == ["test"] * 2 + ["train"] * 3
    assert rows["position"].to_pylist() == [0, 1, 2, 3, 4]


def test_no_label_and_a_label_beyond_the_names(tmp_path: Path) -> None:
    pictures().save_to_disk(tmp_path)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    info["features"]["label"]["names"] = ["cat"]
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    rows = read(HuggingFace(path=str(tmp_path), partition="p", text="words", label="label"))
    assert rows["defect"].to_pylist() == [None, "wrong_type", None, "wrong_type"]
    assert rows["detail"][1].as_py() == "label is 1, of 1 classes"
    unlabelled = pictures().remove_columns("label").add_column("label", [-1] * 4)
    unlabelled.cast_column("label", datasets.ClassLabel(names=["cat"])).save_to_disk(tmp_path / "none")
    rows = read(HuggingFace(path=str(tmp_path / "none"), partition="p", text="words", label="label"))
    assert rows["label"].null_count == 4
    assert rows["defect"].null_count == 4


def test_only_listed_shards_are_read_and_in_order(tmp_path: Path) -> None:
    pictures(6).save_to_disk(tmp_path, num_shards=3)
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"left over")
    rows = read(HuggingFace(path=str(tmp_path), partition="p", text="words"))
    assert rows["text"].to_pylist() == [f"w{i}" for i in range(6)]


def test_a_large_batch_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.ingest.files.BATCH_ROWS", 4)
    pictures(10).save_to_disk(tmp_path)
    batches = list(HuggingFace(path=str(tmp_path), partition="p", text="words").read("p"))
    assert [batch.num_rows for batch in batches] == [4, 4, 2]


def test_a_folder_a_partition(tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        pictures(2).save_to_disk(tmp_path / day)
    source = HuggingFace(path=f"{tmp_path}/{{partition}}", text="words", label="label")
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    assert source.classes == ("cat", "dog")
    assert len(read(source, "2026-01-02")) == 2


def test_a_fingerprint_changes_when_the_data_set_does(tmp_path: Path) -> None:
    pictures(2).save_to_disk(tmp_path)
    source = HuggingFace(path=str(tmp_path), partition="p", text="words")
    before = source.fingerprint("p")
    pictures(3).save_to_disk(tmp_path)
    assert source.fingerprint("p") != before


def test_what_is_no_data_set_says_so(tmp_path: Path) -> None:
    source = HuggingFace(path=str(tmp_path), partition="p", text="words")
    (tmp_path / "a.arrow").write_bytes(b"")
    with pytest.raises(BadSource, match=r"holds no state\.json"):
        list(source.read("p"))
    pictures(2).save_to_disk(tmp_path)
    shard = next(tmp_path.glob("data-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(BadSource, match="cannot be read as Hugging Face data set"):
        list(source.read("p"))
    pictures(2).save_to_disk(tmp_path)
    with pytest.raises(BadSource, match="has no column nothing"):
        list(HuggingFace(path=str(tmp_path), partition="p", text="nothing").read("p"))
