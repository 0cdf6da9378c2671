"""Which day a moment belongs to: pytest tests/tasks/ingest/test_days.py"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest import BadSource
from tasks.ingest.csv import Csv
from tasks.ingest.days import day_of
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.parquet import Parquet

CHANGES = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("America/New_York", "2026-07-04", 24),
    ("UTC", "2026-10-25", 24),
]


def half_hours(day: str) -> list[datetime]:
    """Every half hour of three days around noon of `day`, in UTC."""
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    return [noon + timedelta(minutes=30 * step) for step in range(-72, 73)]


def found(values: pl.Series, zone: str | None) -> list[str | None]:
    days = values.to_frame("at").select(day_of(values.dtype, "at", zone)).to_series()
    return list(days)


@pytest.mark.parametrize(("zone", "day", "hours"), CHANGES)
def test_a_day_has_the_hours_that_its_zone_gives_it(zone: str, day: str, hours: int) -> None:
    days = found(pl.Series(half_hours(day), dtype=pl.Datetime("us", "UTC")), zone)
    assert days.count(day) == 2 * hours


@pytest.mark.parametrize(("zone", "day", "hours"), CHANGES)
@pytest.mark.parametrize("kind", ["aware", "offset", "local", "written"])
def test_a_row_at_half_past_eleven_in_the_evening_is_of_that_day(
    zone: str, day: str, hours: int, kind: str
) -> None:
    """And one an hour later of the next, however the time is stored."""
    late = datetime.fromisoformat(day).replace(hour=23, minute=30, tzinfo=ZoneInfo(zone))
    later = (late.astimezone(UTC) + timedelta(hours=1)).astimezone(ZoneInfo(zone))
    stored = {
        "aware": pl.Series([late, later], dtype=pl.Datetime("us", "UTC")),
        "offset": pl.Series([late.isoformat(), later.astimezone(UTC).isoformat().replace("+00:00", "Z")]),
        "local": pl.Series([late.replace(tzinfo=None), later.replace(tzinfo=None)]),
        "written": pl.Series([f"{t:%Y-%m-%d %H:%M}" for t in (late, later)]),
    }
    assert found(stored[kind], zone) == [day, str(later.date())]
    assert hours in (23, 24, 25)
    assert later.date() == late.date() + timedelta(days=1)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)), st.sampled_from([z for z, _, _ in CHANGES]))
def test_days_agree_with_zoneinfo(moment: datetime, zone: str) -> None:
    aware = moment.replace(tzinfo=UTC)
    expected = [str(aware.astimezone(ZoneInfo(zone)).date())]
    assert found(pl.Series([aware], dtype=pl.Datetime("us", "UTC")), zone) == expected
    assert found(pl.Series([aware.isoformat()]), zone) == expected


def test_what_is_no_time_has_no_day() -> None:
    values = pl.Series(["2026-03-29", "2026-3-29", "soon", "", None, "2026-03-29T25", "20260329"])
    assert found(values, "Europe/Berlin") == ["2026-03-29"] + [None] * 6


def test_without_a_zone_the_day_is_the_one_that_is_written() -> None:
    moment = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    assert found(pl.Series([moment]).dt.convert_time_zone("Europe/Berlin"), None) == ["2026-03-29"]
    assert found(pl.Series([moment]), None) == ["2026-03-28"]


TIMES = ["2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z", "?"]
"""Of Berlin's 25-hour day: its first moment, the hour that occurs twice, its last second; then the next."""


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_sources_deal_their_rows_by_the_local_day(form: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"at": TIMES, "id": list("abcde"), "t": ["x"] * 5})
    mapping = {"partition_column": "at", "time_zone": "Europe/Berlin", "id": "id", "text": "t"}
    file = tmp_path / f"in.{form}"
    source: Csv | Jsonl | Parquet
    if form == "csv":
        frame.write_csv(file)
        source = Csv(path=str(file), **mapping)
    elif form == "jsonl":
        frame.write_ndjson(file)
        source = Jsonl(path=str(file), **mapping)
    else:
        frame.with_columns(pl.col("at").str.to_datetime("%+", time_zone="UTC", strict=False)).write_parquet(
            file
        )
        source = Parquet(path=str(file), **mapping)
    assert source.partitions() == ["2026-10-25", "2026-10-26", "unknown"]
    ids = {
        day: [id for batch in source.read(day) for id in batch["id"].to_pylist()]
        for day in source.partitions()
    }
    assert ids == {"2026-10-25": ["a", "b", "c"], "2026-10-26": ["d"], "unknown": ["e"]}


def test_a_zone_needs_a_column_of_times_and_a_name_that_exists(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give both"):
        Parquet(path="x", partition="p", time_zone="Europe/Berlin", text="t")
    with pytest.raises(ValueError, match="no zone of the IANA database"):
        Parquet(path="x", partition_column="at", time_zone="Europe/Berlln", text="t")
    pl.DataFrame({"at": [20261025], "t": ["x"]}).write_parquet(tmp_path / "in.parquet")
    source = Parquet(path=str(tmp_path), partition_column="at", time_zone="Europe/Berlin", text="t")
    with pytest.raises(BadSource, match=r"in\.parquet: column at is Int64, must hold times"):
        source.partitions()


def test_a_source_without_a_zone_is_known_by_what_it_was_before_there_were_zones() -> None:
    assert "time_zone" not in Parquet(path="x", partition_column="at", text="t").identity()
    assert (
        Parquet(path="x", partition_column="at", time_zone="UTC", text="t").identity()["time_zone"] == "UTC"
    )
