"""Files that arrive: where they lie, which partition they belong to, and what is read of each.

Every file source derives from `FileSource`, which knows paths, partition rules and fingerprints and
nothing of formats. A partition is found by exactly one rule:

- a `{partition}` in `path` (`incoming/{partition}/*.parquet`): one folder or file name a partition;
- `partition_column`: the column's value names it (sources with columns only);
- `days` and `start`: the rows of all files, in order, dealt in contiguous runs of equal length
  (to within one row) over so many consecutive dates;
- `partition`: everything belongs to this one.

Cost: a `{partition}` reads the files of one partition. `partition_column` reads every file once per
partition; `days` reads its own rows, and counts all of them first where the format does not store that.
Reading from a row on skips what comes before as far as the format can, but under `partition_column`,
where only the column says which rows count, everything before is read and dropped.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
import sys
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import duckdb
import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from tasks.ingest import RAW, BadSource, Source

UNKNOWN = "unknown"
"""The partition of rows whose own partition cannot be read: they are rejects, and must lie somewhere."""

PARTITION_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""What may name a partition: such names are safe in paths, in SQL and on the command line."""

Batch = TypeVar("Batch", pl.DataFrame, pa.RecordBatch)

BATCH_ROWS = 4096
BATCH_BYTES = 2**26

_BROKEN = (
    *(pa.ArrowException, pl.exceptions.PolarsError, duckdb.Error, zipfile.BadZipFile, zlib.error),
    *(OSError, EOFError, ValueError, KeyError),
)
"""What the readers of damaged files raise."""

WILDCARD = re.compile(r"[*?\[{]")
"""What makes a part of a path a pattern."""


@dataclass(frozen=True)
class File:
    """A file of a partition: where it is, and its path relative to the source's root."""

    path: Path
    name: str


@contextmanager
def reading(name: str, form: str) -> Iterator[None]:
    """Turn whatever a broken file raises into one sentence that names it."""
    try:
        yield
    except _BROKEN as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadSource(f"{name}: cannot be read as {form} ({lines[0]}); replace or mend the file") from error


class FileSource(Source):
    """A source whose rows lie in files; says which files and rows make up a partition."""

    form: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    path: str = Field(
        min_length=1,
        description="a file, a folder or a glob, in which {partition} may stand for the partition's name; "
        "relative to the curation's YAML file",
    )
    partition: str | None = Field(
        default=None, pattern=PARTITION_NAME, description="the one partition that everything belongs to"
    )
    days: int | None = Field(default=None, gt=0, description="deal the rows over so many consecutive dates")
    start: date | None = Field(default=None, description="the first of these dates")

    def identity(self) -> dict[str, Any]:
        """Without `path`: moving a data set changes no row of it, and `fingerprint` covers the files."""
        return {key: value for key, value in super().identity().items() if key != "path"}

    @model_validator(mode="after")
    def _check_rule(self) -> FileSource:
        if (self.days is None) != (self.start is None):
            raise ValueError("days and start go together; give both or neither")
        if len(self._rules()) != 1:
            given = " and ".join(self._rules()) or "none"
            raise ValueError(
                "give exactly one of partition, partition_column, days with start, or a {partition} in path; "
                f"got {given}"
            )
        parts = [part for part in Path(self.path).parts if "{partition}" in part]
        if len(parts) > 1 or any(WILDCARD.search(part.replace("{partition}", "", 1)) for part in parts):
            raise ValueError(
                f"path {self.path} must have {{partition}} once, in a part that has no other wildcard"
            )
        return self

    def _rules(self) -> list[str]:
        """The partition rules that were given, by name."""
        rules = {
            "partition": self.partition is not None,
            "days": self.days is not None,
            "{partition} in path": "{partition}" in self.path,
        }
        return [name for name, given in rules.items() if given]

    @property
    def _rule(self) -> str:
        return self._rules()[0]

    @property
    def batch_rows(self) -> int:
        """Rows read at a time: few enough that a batch of decoded images stays near 64 MiB."""
        if self.shape is None:
            return BATCH_ROWS
        height, width, channels = self.shape
        return max(16, min(BATCH_ROWS, BATCH_BYTES // (height * width * channels)))

    @abstractmethod
    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        """The files' rows from row `start` on as found, bad ones too, at most `batch_rows` at a time.

        Their order is fixed; batches may be empty. Raises BadSource.
        """

    @abstractmethod
    def _map(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows as found to the columns of RAW (without position), defects marked."""

    def _count(self, files: list[File]) -> int:
        """How many rows `_frames` yields."""
        return sum(frame.height for frame in self._frames(files))

    def _names(self, frame: pl.DataFrame) -> pl.Series:
        """The partition that each row names; without columns, none does."""
        return pl.repeat(UNKNOWN, frame.height, eager=True)

    def partitions(self) -> list[str]:
        rule = self._rule
        if rule == "{partition} in path":
            return self._partitions_in_path()
        files = self._files(None)
        if rule == "partition":
            return [str(self.partition)]
        if rule == "days":
            return self._dates()
        names: set[str] = set()
        for frame in self._frames(files):
            names.update(self._names(frame).unique())
        return sorted(names)

    def fingerprint(self, partition: str) -> str:
        """From names, sizes and modification times; of all files where the rule shares them."""
        stats = [(file.name, file.path.stat()) for file in self._inputs(partition)]
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def read(self, partition: str, start: int = 0) -> Iterator[pa.RecordBatch]:
        files = self._files(partition)
        position = start
        for found in self._rows(files, partition, start):
            rows = self._map(found).with_columns(
                position=pl.int_range(position, position + found.height, dtype=pl.Int64)
            )
            position += found.height
            yield to_raw(rows)
        if not position and self._rule == "partition_column":
            raise BadSource(
                f"{self.path}: no row belongs to partition {partition}; see the partitions it has"
            )

    def rows_of(self, files: list[File]) -> Iterator[pl.DataFrame]:
        """All rows of `files` as columns of RAW, without positions. Raises BadSource."""
        return (self._map(frame) for frame in self._frames(files) if frame.height)

    def _rows(self, files: list[File], partition: str, start: int) -> Iterator[pl.DataFrame]:
        """The rows of `files` that belong to the partition, from its row `start` on, as found."""
        if self._rule == "partition_column":
            frames = (frame.filter(self._names(frame) == partition) for frame in self._frames(files))
            yield from (mine for mine in drop_first(frames, start) if mine.height)
            return
        row, last = start, sys.maxsize
        if self._rule == "days":
            dates = self._dates()
            day, n = dates.index(partition), self._count(files)
            row, last = day * n // len(dates) + start, (day + 1) * n // len(dates)
        if row >= last:
            return
        for frame in self._frames(files, row):
            mine = frame.head(last - row)
            row += frame.height
            if mine.height:
                yield mine
            if row >= last:
                return

    def _dates(self) -> list[str]:
        assert self.days is not None  # `_check_rule` made sure of both
        assert self.start is not None
        return [(self.start + timedelta(days=day)).isoformat() for day in range(self.days)]

    def _partitions_in_path(self) -> list[str]:
        root, rest = self._split()
        parts = Path(rest).parts
        at = next(i for i, part in enumerate(parts) if "{partition}" in part)
        before, after = parts[at].split("{partition}")
        pattern = "/".join([glob.escape(str(root)), *parts[:at], f"{before}*{after}"])
        found = {Path(match).name for match in glob.glob(pattern, recursive=True)}
        names = {name[len(before) : len(name) - len(after)] for name in found}
        names = {name for name in names if re.fullmatch(PARTITION_NAME, name)}
        names = {name for name in names if self._matches(root, rest, name)}
        # A folder that is there and empty is a source to which nothing has come yet.
        if not names and (found or at):
            raise BadSource(f"{self.path}: nothing has arrived there; check path and the name of its files")
        return sorted(names)

    def _split(self) -> tuple[Path, str]:
        """The folder that file names are relative to, which is what of `path` exists; and the rest, a glob.

        A folder that exists is taken literally, so that one named `[old] data` is no pattern.
        """
        path = Path(self.path)
        if not path.is_absolute():
            raise BadSource(f"{self.path}: is relative; load the curation from its file, or make it absolute")
        root = next(folder for folder in (path, *path.parents) if folder.is_dir())
        return root, path.relative_to(root).as_posix()

    def _matches(self, root: Path, rest: str, partition: str | None) -> list[Path]:
        """Every file that the glob `rest` below `root` leads to; a folder stands for the files of this form
        below it."""
        pattern = rest.replace("{partition}", "*" if partition is None else partition)
        if not glob.has_magic(pattern):  # one place to look at, of perhaps ten thousand
            found = [path] if (path := root / pattern).exists() else []
        else:
            matches = glob.glob(f"{glob.escape(str(root))}/{pattern}", recursive=True)
            found = [Path(match) for match in matches]
        return [file for match in found for file in ([match] if match.is_file() else self._expand(match))]

    def _expand(self, folder: Path) -> list[Path]:
        """The folder's files of this form; names that begin with `.` or `_` are unfinished or notes."""
        return [
            file
            for file in folder.rglob("*")
            if file.name.lower().endswith(self.suffixes)
            and file.is_file()
            and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
        ]

    def _inputs(self, partition: str) -> list[File]:
        """The files whose change is the partition's."""
        return self._files(partition)

    def _files(self, partition: str | None) -> list[File]:
        """The partition's files in name order. Raises BadSource if there is no such partition."""
        rule = self._rule
        known = self._dates() if rule == "days" else [self.partition] if rule == "partition" else []
        if partition is not None and known and partition not in known:
            raise BadSource(
                f"{self.path}: there is no partition {partition}; it has {known[0]} to {known[-1]}"
            )
        if partition is not None and not re.fullmatch(PARTITION_NAME, partition):
            raise BadSource(
                f"{self.path}: {partition!r} is no name of a partition; use letters, digits and ._-"
            )
        root, rest = self._split()
        found = {path.relative_to(root).as_posix(): path for path in self._matches(root, rest, partition)}
        if not found:
            what = f"no partition {partition}" if rule == "{partition} in path" else f"no {self.form} file"
            raise BadSource(f"{self.path}: {what} has arrived there; check path and the name of its files")
        return [File(found[name], name) for name in sorted(found)]


def drop_first(batches: Iterable[Batch], n: int) -> Iterator[Batch]:
    """The batches without their first `n` rows."""
    for batch in batches:
        yield batch.slice(n)
        n = max(n - len(batch), 0)


def to_raw(rows: pl.DataFrame) -> pa.RecordBatch:
    """A frame with some of RAW's columns as a batch of RAW; the others are null."""
    present = [name for name in RAW.names if name in rows.columns]
    table = rows.select(present).to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [
        table[field.name].combine_chunks().cast(field.type)
        if field.name in present
        else pa.nulls(rows.height, field.type)
        for field in RAW
    ]
    return pa.record_batch(columns, schema=RAW)
