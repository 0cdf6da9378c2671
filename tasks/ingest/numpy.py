"""NumPy arrays: an .npz file, or a folder of .npy files, whose arrays are the columns.

Arrays are (n, ...) and all of one length. Images are uint8 of any shape whose rows have height * width *
channels values; features in one array are (n, feature_length). Headers are read by NumPy, data streamed
behind them, so that a compressed archive is never held whole; arrays of objects, which only unpickling
could read, are refused. Cost: one pass over the mapped arrays; rows before the one that reading starts
at are jumped over, in a compressed archive unpacked and dropped.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import model_validator

from tasks.data import array_to_lists
from tasks.ingest import BadSource
from tasks.ingest.bombs import Unpacked
from tasks.ingest.files import File, reading
from tasks.ingest.mapping import SOURCE, ColumnSource


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, of which only the header has been read."""

    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def open(cls, stream: IO[bytes], name: str, size: int) -> StoredArray:
        """Read the header. Raises BadSource for arrays that cannot be streamed row by row, or that claim
        more than the `size` bytes there are."""
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = header(stream)
        if dtype.hasobject or dtype.names:
            raise BadSource(f"{name}: holds Python objects or records; save plain numbers or text")
        if not shape or (is_fortran and len(shape) > 1):
            raise BadSource(f"{name}: is not laid out row by row; save np.ascontiguousarray of it")
        array = cls(stream, shape, dtype)
        if shape[0] * array.row_bytes > size:
            raise BadSource(f"{name}: claims {shape}, which is more than the file holds; replace it")
        return array

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize  # exact: a hostile shape would overflow

    def skip(self, n: int) -> None:
        """Leave out the next n rows."""
        self.stream.seek(n * self.row_bytes, os.SEEK_CUR)

    def take(self, n: int) -> np.ndarray:
        """The next n rows."""
        data = self.stream.read(n * self.row_bytes)
        if len(data) < n * self.row_bytes:
            raise EOFError("it ends before its last row")
        return np.frombuffer(data, self.dtype).reshape(n, *self.shape[1:])


class Numpy(ColumnSource):
    """Rows of .npz files or of folders of .npy files."""

    kind: Literal["numpy"] = "numpy"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "NumPy"
    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".npy")

    @model_validator(mode="after")
    def _check_annotations(self) -> Numpy:
        if self.set_lists:
            raise ValueError(
                "labels and truths of a numpy source are lists of arrays of 0 and 1, one a class"
            )
        if self.annotations:
            raise ValueError("annotations are lists, and an array holds none; give annotators, an array each")
        return self

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        for name, members in self._sets(files).items():
            with reading(name, self.form), ExitStack() as stack:
                arrays = self._open(name, members, stack)
                n = self._length(name, arrays)
                first, start = min(start, n), max(start - n, 0)
                if first < n:
                    for array in arrays.values():
                        array.skip(first)
                for row in range(first, n, self.batch_rows):
                    rows = min(self.batch_rows, n - row)
                    columns = [self._column(name, key, array.take(rows)) for key, array in arrays.items()]
                    yield pl.DataFrame(columns).with_columns(pl.lit(name).alias(SOURCE))

    def _count(self, files: list[File]) -> int:
        total = 0
        for name, members in self._sets(files).items():
            with reading(name, self.form), ExitStack() as stack:
                total += self._length(name, self._open(name, members, stack))
        return total

    def _sets(self, files: list[File]) -> dict[str, list[File]]:
        """Files that belong together: an .npz alone, the .npy of a folder with one another."""
        sets: dict[str, list[File]] = {}
        for file in files:
            is_archive = file.path.suffix.lower() == ".npz"
            folder = Path(file.name).parent.as_posix()
            name = file.name if is_archive else file.path.parent.name if folder == "." else folder
            sets.setdefault(name, []).append(file)
        return sets

    def _open(self, name: str, members: list[File], stack: ExitStack) -> dict[str, StoredArray]:
        if members[0].path.suffix.lower() == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(members[0].path))
            self.check_columns([member.removesuffix(".npy") for member in archive.namelist()], name)
            streams = {key: archive.open(f"{key}.npy") for key in self.columns}
            sizes = {key: archive.getinfo(f"{key}.npy").file_size for key in self.columns}
            Unpacked(members[0].path.stat().st_size).count(sum(sizes.values()))
        else:
            self.check_columns([member.path.stem for member in members], name)
            paths = {member.path.stem: member.path for member in members}
            streams = {key: paths[key].open("rb") for key in self.columns}
            sizes = {key: paths[key].stat().st_size for key in self.columns}
        return {
            key: StoredArray.open(stack.enter_context(stream), f"{name}: array {key}", sizes[key])
            for key, stream in streams.items()
        }

    def _length(self, name: str, arrays: dict[str, StoredArray]) -> int:
        lengths = {key: array.shape[0] for key, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{key} {n}" for key, n in lengths.items())
            raise BadSource(f"{name}: arrays differ in length ({found}); save them with one row per example")
        return next(iter(lengths.values()), 0)

    def _column(self, name: str, key: str, values: np.ndarray) -> pl.Series:
        n = len(values)
        if key == self.image:
            if values.dtype != np.uint8:
                raise BadSource(f"{name}: array {key} is {values.dtype}, must be uint8 in 0..255")
            size = values[0].size
            data = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(size), n, [None, pa.py_buffer(values.tobytes())]
            )
            return pl.Series(key, data.cast(pa.binary()))
        if key == self.features:
            if values.ndim != 2:
                raise BadSource(
                    f"{name}: array {key} has shape (n, {values.shape[1:]}), must be (n, feature_length)"
                )
            return pl.Series(key, array_to_lists(values.astype(np.float32)))
        if values.ndim != 1:
            raise BadSource(f"{name}: array {key} has {values.ndim} dimensions, must have one value a row")
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        return pl.Series(key, pa.array(values.astype(values.dtype.newbyteorder("="))))
