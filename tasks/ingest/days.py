"""Which day a moment belongs to, in a time zone with daylight saving.

A day of such a zone has 23, 24 or 25 hours, so its day is what the zone's own rules say of the moment
(the IANA database, by way of Polars), never a count of hours. A time without an offset names no moment:
it is taken as what a clock of the zone showed, and its day is the one written in it. That holds for the
hour that occurs twice in autumn too, since both lie in one day.
"""

from __future__ import annotations

import polars as pl

LOCAL = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?$"
"""A date, or a time of ISO 8601 without an offset."""


def is_zone(name: str) -> bool:
    """Whether Polars knows the time zone."""
    try:
        pl.select(pl.lit(0, pl.Datetime("us", "UTC")).dt.convert_time_zone(name))
    except pl.exceptions.ComputeError:
        return False
    return True


def holds_times(dtype: pl.DataType) -> bool:
    """Whether `day_of` reads a column of the type."""
    return isinstance(dtype, pl.Datetime) or dtype in (pl.Date, pl.String, pl.Null)


def day_of(dtype: pl.DataType, column: str, zone: str | None) -> pl.Expr:
    """The ISO date of every cell, as text; null for what is no time.

    dtype: one that `holds_times`. zone: where days begin and end; None: the day as it is written.
    """
    cell = pl.col(column)
    if dtype == pl.String and zone:
        moment = cell.str.to_datetime("%+", time_zone="UTC", strict=False).dt.convert_time_zone(zone)
        return pl.coalesce(
            moment.dt.date().cast(pl.String), pl.when(cell.str.contains(LOCAL)).then(cell.str.head(10))
        )
    if isinstance(dtype, pl.Datetime):
        cell = (cell.dt.convert_time_zone(zone) if zone and dtype.time_zone else cell).dt.date()
    return cell.cast(pl.String)
