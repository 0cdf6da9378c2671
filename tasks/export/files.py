"""An export's files, written beside the folder they are for, and moved there when all are whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import BadInput
from tasks.export.features import Column, schema_of
from tasks.export.tables import split_name

FILE_BYTES = 256 << 20
"""A file is ended once its rows take as much in memory."""
GROUP_ROWS = 1 << 10
"""Rows a row group at most: who streams from a web page reads one at a time."""


@dataclass(frozen=True)
class Split:
    """What was written of a split. rows, and bytes of its files."""

    name: str
    rows: int
    bytes: int


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when the block ends well, and is gone otherwise.

    Raises BadInput where something is there already, or the place cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already, and is not overwritten; choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror}); choose another folder") from None
    try:
        yield made
        made.chmod(0o777 & ~umask())
        os.replace(made, folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def umask() -> int:
    """What this process takes away from the rights of what it makes; mkdtemp takes away all of others'."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write(folder: Path, columns: Sequence[Column], tables: Iterable[tuple[str, pa.Table]]) -> list[Split]:
    """Writes (split, rows) as `folder`/SPLIT-00000.parquet and so on; what each split holds, by name."""
    schema = schema_of(columns)
    folder.mkdir()
    writers: dict[str, Writer] = {}
    try:
        for split, table in tables:
            name = split_name(split)
            if name not in writers:
                writers[name] = Writer(folder, name, schema)
            writers[name].add(table.select(schema.names).cast(schema))
    finally:
        for writer in writers.values():
            writer.close()
    return [
        Split(name, writer.rows, sum(path.stat().st_size for path in writer.paths))
        for name, writer in sorted(writers.items(), key=lambda item: (item[0] != "train", item[0]))
    ]


class Writer:
    """The files of one split."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self.folder, self.name, self.schema = folder, name, schema
        self.paths: list[Path] = []
        self.rows = 0
        self._bytes = 0
        self._open: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Appends rows."""
        if not table.num_rows:
            return
        if self._open is None:
            self.paths.append(self.folder / f"{self.name}-{len(self.paths):05d}.parquet")
            self._open = pq.ParquetWriter(self.paths[-1], self.schema, compression="zstd")
        self._open.write_table(table, row_group_size=GROUP_ROWS)
        self.rows += table.num_rows
        self._bytes += table.nbytes
        if self._bytes >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        """Ends the file that is being written."""
        if self._open is not None:
            self._open.close()
        self._open, self._bytes = None, 0
