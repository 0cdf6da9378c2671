"""Parquet: the columns that are mapped, read in batches, never the whole file.

A file that is cut short or whose pages do not decode fails its partition (`BadSource`); what single
cells can get wrong is in `tasks.ingest.mapping`. Cost: one pass over the mapped columns; reading from a
row on opens the files before it for their row counts, and of its own file decodes its row group and
those behind.

Under `partition_column`, partitions are listed from that column alone. Where it holds times, only files
whose statistics leave room for a day belong to it: a delivery makes those days stale that it may have rows
of, and no others. A file whose partitions cannot be told, since its footer is broken or the column is not
there, belongs to `unknown` alone, which fails and names it; the others go on without it, and take its
rows in as late ones once it is mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from tasks.ingest.bombs import Unpacked, in_pieces, refuse_repetition, rows_a_read
from tasks.ingest.files import UNKNOWN, File, drop_first, reading
from tasks.ingest.mapping import SOURCE, ColumnSource
from tasks.ingest.parquet_days import days_in
from tasks.ingest.planted_noise import PlantedNoise
from tasks.seeds import seed_of


class Parquet(ColumnSource):
    """Rows of Parquet files: a file, a folder, a glob, or one of these a partition."""

    kind: Literal["parquet"] = "parquet"
    revision: ClassVar[int] = 1
    form: ClassVar[str] = "Parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    planted_noise: PlantedNoise | None = Field(
        default=None,
        description="wrong labels put in on purpose, the right ones kept in truth, to measure with",
    )

    @model_validator(mode="after")
    def _check_noise(self) -> Parquet:
        if self.planted_noise and (self.truth or not self.label):
            raise ValueError("planted_noise needs label and fills truth, so give label and leave truth out")
        return self

    def partitions(self) -> list[str]:
        if self._rule != "partition_column":
            return super().partitions()
        return sorted({name for file in self._files(None) for name in self._names_in(file)})

    def _names_in(self, file: File) -> set[str]:
        """The partitions that a file has rows of."""
        names: set[str] = set()
        if not self._may_hold(file, None):
            return {UNKNOWN}
        column = str(self.partition_column)
        with reading(file.name, self.form), pq.ParquetFile(file.path) as parquet:
            refuse_repetition(parquet.metadata, file.path.stat().st_size)
            rows = rows_a_read(file.path, parquet.metadata, [column], 2**16)
            for batch in parquet.iter_batches(rows, columns=[column], use_threads=False):
                names.update(self._names(pl.DataFrame(batch).with_columns(pl.lit(file.name).alias(SOURCE))))
        return names

    def _files(self, partition: str | None) -> list[File]:
        files = super()._files(partition)
        if partition is None or self._rule != "partition_column":
            return files
        return [file for file in files if self._may_hold(file, partition)]

    def _may_hold(self, file: File, partition: str | None) -> bool:
        """Whether a file can have rows of a partition; None: of any that it names itself."""
        try:
            days = days_in(file.path, str(self.partition_column), self.time_zone)
        except (OSError, pa.ArrowException, KeyError):
            return partition == UNKNOWN
        if days is None or partition is None:
            return True
        if partition == UNKNOWN:
            return days.has_empty
        return days.first is not None and days.last is not None and days.first <= partition <= days.last

    def read(self, partition: str, start: int = 0) -> Iterator[pa.RecordBatch]:
        for batch in super().read(partition, start):
            if self.planted_noise is None:
                yield batch
            else:
                yield self.planted_noise.plant(batch, seed_of(self.kind, "planted_noise", partition))

    def _frames(self, files: list[File], start: int = 0) -> Iterator[pl.DataFrame]:
        for file in files:
            with reading(file.name, self.form), pq.ParquetFile(file.path) as parquet:
                self.check_columns(parquet.schema_arrow.names, file.name)
                size = file.path.stat().st_size
                refuse_repetition(parquet.metadata, size)
                rows = rows_a_read(file.path, parquet.metadata, self.columns, self.batch_rows)
                for batch in self._batches(parquet, start, rows, Unpacked(size)):
                    yield pl.DataFrame(batch).with_columns(pl.lit(file.name).alias(SOURCE))
                start = max(start - parquet.metadata.num_rows, 0)

    def _batches(
        self, parquet: pq.ParquetFile, start: int, rows: int, unpacked: Unpacked
    ) -> Iterator[pa.RecordBatch]:
        """The file's rows from `start` on; whole row groups before it are not read."""
        groups = parquet.metadata.num_row_groups
        ends = np.cumsum([parquet.metadata.row_group(group).num_rows for group in range(groups)], dtype=int)
        first = int(np.searchsorted(ends, start, side="right"))
        if first < groups:
            within = start - int(ends[first - 1]) if first else start
            read = parquet.iter_batches(rows, list(range(first, groups)), self.columns, use_threads=False)
            yield from drop_first(in_pieces(unpacked.counted(read), self.batch_rows), within)

    def _count(self, files: list[File]) -> int:
        return sum(self._count_file(file) for file in files)

    def _count_file(self, file: File) -> int:
        with reading(file.name, self.form):
            return int(pq.read_metadata(file.path).num_rows)
