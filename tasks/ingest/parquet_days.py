"""Which days a Parquet file can have rows of, from its footer.

Parquet keeps the least and the greatest value of a column for every row group. Of a column of times that
bounds the days: local days never run backwards as moments go on, whatever daylight saving does, except
within one day. Cost: a read of the footer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.days import day_of


@dataclass(frozen=True)
class Days:
    """The first and the last day, and whether some cell is empty. Days are None where all cells are."""

    first: str | None
    last: str | None
    has_empty: bool


def days_in(path: Path, column: str, zone: str | None) -> Days | None:
    """The days that a file can have rows of; None where its footer does not say, as for columns of text.

    Raises OSError, ArrowException or KeyError if the footer cannot be read or has no such column.
    """
    with pq.ParquetFile(path) as parquet:
        kind, metadata = parquet.schema_arrow.field(column).type, parquet.metadata
        leaves = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return None
    at = leaves.index(column)
    groups = [metadata.row_group(number).column(at) for number in range(metadata.num_row_groups)]
    found = [group.statistics for group in groups if group.num_values]
    if not all(one and one.has_null_count and (one.has_min_max or not one.num_values) for one in found):
        return None
    ends = [end for one in found if one.has_min_max for end in (one.min, one.max)]
    if not ends:
        return Days(None, None, bool(found))
    times = pl.DataFrame({"at": pa.array(ends, kind)})
    days = times.select(day_of(times.schema["at"], "at", zone)).to_series()
    return Days(str(days.min()), str(days.max()), any(one.null_count for one in found))
