"""Where the data of the benchmarks lies, and Fashion-MNIST as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks._chain import CURATIONS

DATA = (CURATIONS / "../../shared/data").resolve()
"""Unless WINNOW_DATA says otherwise, as in the curations."""


def existing(name: str) -> Path:
    """A file of the folder that WINNOW_DATA names. Exits where it is not there."""
    path = Path(os.environ.get("WINNOW_DATA", DATA)).resolve() / name
    if not path.exists():
        raise SystemExit(f"{path} is not there; set WINNOW_DATA to the folder that holds {name}")
    return path


class Pictures(NamedTuple):
    """ids: (n,) object, str. images: (n, 28, 28, 1) uint8, which may be written to. labels: (n,) int32."""

    ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray


def fashion_mnist(split: str) -> Pictures:
    """The rows of `train`, 60,000, or of `test`, 10,000, in the file's order."""
    table = pq.read_table(existing(f"fashion_mnist/{split}.parquet"), columns=["id", "image", "label"])
    pixels = np.frombuffer(bytearray().join(table["image"].to_pylist()), np.uint8)
    ids = np.array(table["id"].to_pylist(), object)
    return Pictures(ids, pixels.reshape(-1, 28, 28, 1), table["label"].to_numpy().astype(np.int32))
