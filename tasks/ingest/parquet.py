"""Parquet: the columns that are mapped, read in batches, never the whole file.

A file that is cut short or whose pages do not decode fails its partition (`BadSource`); what single
cells can get wrong is in `tasks.ingest.mapping`. Cost: one pass over the mapped columns; reading from a
row on opens the files before it for their row counts, and of its own file decodes its row group and
those behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from tasks.ingest.files import File, drop_first, reading
from tasks.ingest.mapping import SOURCE, ColumnSource
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
                for batch in self._batches(parquet, start):
                    yield pl.DataFrame(batch).with_columns(pl.lit(file.name).alias(SOURCE))
                start = max(start - parquet.metadata.num_rows, 0)

    def _batches(self, parquet: pq.ParquetFile, start: int) -> Iterator[pa.RecordBatch]:
        """The file's rows from `start` on; whole row groups before it are not read."""
        groups = parquet.metadata.num_row_groups
        ends = np.cumsum([parquet.metadata.row_group(group).num_rows for group in range(groups)], dtype=int)
        first = int(np.searchsorted(ends, start, side="right"))
        if first < groups:
            within = start - int(ends[first - 1]) if first else start
            wanted = parquet.iter_batches(
                self.batch_rows, list(range(first, groups)), self.columns, use_threads=False
            )
            yield from drop_first(wanted, within)

    def _count(self, files: list[File]) -> int:
        return sum(self._count_file(file) for file in files)

    def _count_file(self, file: File) -> int:
        with reading(file.name, self.form):
            return int(pq.read_metadata(file.path).num_rows)
