"""NumPy archives and folders. Run: python -m pytest tests/tasks/ingest/test_numpy.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.ingest import RAW, BadSource
from tasks.ingest.files import BATCH_ROWS
from tasks.ingest.numpy import Numpy

IMAGES = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2)


def read(path: Path, **fields: Any) -> pa.Table:
    return pa.Table.from_batches(Numpy(path=str(path), partition="p", **fields).read("p"), schema=RAW)


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
def test_an_archive(tmp_path: Path, pack: Any) -> None:
    pack(tmp_path / "a.npz", x=IMAGES, y=np.array([1, 0, 2]), k=np.array(["a", "b", "ç"]))
    rows = read(tmp_path, image="x", label="y", id="k", image_shape=(2, 2, 1))
    assert rows["image"].to_pylist() == [image.tobytes() for image in IMAGES]
    assert rows["label"].to_pylist() == ["1", "0", "2"]
    assert rows["id"].to_pylist() == ["a", "b", "ç"]
    assert rows["source"].to_pylist() == ["a.npz"] * 3


def test_a_folder_of_arrays_is_one_data_set(tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        (tmp_path / day).mkdir()
        np.save(tmp_path / day / "x.npy", np.ones((2, 3)))
        np.save(tmp_path / day / "y.npy", np.array([day, "other"]))
    source = Numpy(path=f"{tmp_path}/{{partition}}", features="x", feature_length=3, label="y")
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    (batch,) = source.read("2026-01-02")
    assert batch["label"].to_pylist() == ["2026-01-02", "other"]
    assert batch["features"].to_pylist() == [[1.0] * 3] * 2


def test_an_array_names_the_partition(tmp_path: Path) -> None:
    days = np.array(["2026-01-02", "2026-01-01"], "datetime64[D]")
    np.savez(tmp_path / "a.npz", f=np.eye(2, dtype=np.float32), d=days)
    source = Numpy(path=str(tmp_path), partition_column="d", features="f", feature_length=2)
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    (batch,) = source.read("2026-01-01")
    assert batch["features"].to_pylist() == [[0.0, 1.0]]


@pytest.mark.parametrize("dtype", [">i4", "<f4", "f2", "b1", "S3", "u8"])
def test_columns_of_every_type(tmp_path: Path, dtype: str) -> None:
    np.savez(tmp_path / "a.npz", y=np.array([1, 0], dtype))
    wanted = ["true", "false"] if dtype == "b1" else ["1", "0"]
    assert read(tmp_path, label="y")["label"].to_pylist() == wanted


def test_features_as_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([1, 2]), b=np.array([0.5, np.nan]))
    rows = read(tmp_path, features=["b", "a"])
    assert rows["features"][0].as_py() == [0.5, 1.0]
    assert rows["defect"].to_pylist() == [None, "nan_features"]


def test_rows_of_another_size_are_marked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES, f=np.ones((3, 4)))
    assert set(read(tmp_path, image="x", image_shape=(3, 3, 1))["defect"].to_pylist()) == {"wrong_length"}
    assert set(read(tmp_path, features="f", feature_length=5)["defect"].to_pylist()) == {"wrong_length"}


def test_a_large_archive_is_streamed_in_order(tmp_path: Path) -> None:
    n = BATCH_ROWS + 3
    np.savez_compressed(tmp_path / "a.npz", f=np.arange(n, dtype=np.float32)[:, None])
    source = Numpy(path=str(tmp_path), days=2, start="2026-01-01", features="f", feature_length=1)  # type: ignore[arg-type]
    days = [pa.Table.from_batches(source.read(p)) for p in source.partitions()]
    assert [x for day in days for (x,) in day["features"].to_pylist()] == list(range(n))
    assert [
        b.num_rows for b in Numpy(path=str(tmp_path), partition="p", features="f", feature_length=1).read("p")
    ] == [
        BATCH_ROWS,
        3,
    ]


def test_no_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES[:0])
    assert len(read(tmp_path, image="x", image_shape=(2, 2, 1))) == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "y": np.array([1, 2])}, r"arrays differ in length \(y 2, x 3\)"),
        ({"x": IMAGES}, "has no column y"),
        ({"x": IMAGES.astype(float), "y": np.arange(3)}, "is float64, must be uint8"),
        ({"x": IMAGES, "y": np.array([{}, [], None], object)}, "Python objects"),
        ({"x": IMAGES, "y": np.ones((3, 2))}, "one value a row"),
        ({"x": np.asfortranarray(IMAGES), "y": np.arange(3)}, "not laid out row by row"),
        ({"x": IMAGES, "y": np.array(1)}, "not laid out row by row"),
    ],
)
def test_arrays_that_are_no_columns_say_why(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadSource, match=rf"^a\.npz: .*{message}"):
        read(tmp_path, image="x", label="y", image_shape=(2, 2, 1))


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(BadSource, match=r"^a\.npz: cannot be read as NumPy"):
        read(tmp_path, image="x", image_shape=(2, 2, 1))
    (tmp_path / "a.npz").unlink()
    np.save(tmp_path / "x.npy", IMAGES)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(BadSource, match="ends before its last row"):
        read(tmp_path, image="x", image_shape=(2, 2, 1))
