"""A month of nights: late rows, an outage, a broken and an empty night, clock changes. Is all in place?

Thirty nights of digits, 30 rows each, around the two nights of 2026 on which Berlin changes its clocks.
Every row has a moment, in UTC, and its night is the day in Berlin that the moment lies in: the first and the
last second of each day have a row. Before each night the rows that have come by then are put into the
source's folder, as a real one would fill; then `winnow nightly` runs, but for five nights on which it does
not. Some rows come 1 to 10 nights late, in files of their own. One night's file is cut short, and is
delivered again, whole, two nights later; one night's file has no rows, which come a night later. What was
curated and has changed is made again, as `restate: always` says.

In the end the store is compared with what arrived, row by row, and with a store that is filled from the
same folder by a single backfill.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from rich.progress import Progress

from benchmarks._prefect import prefect_server
from benchmarks._scenes import CURATION, Scene, contents, digits, images_given, images_kept, nights
from benchmarks.figures import Figure
from storage import releases

ZONE = ZoneInfo("Europe/Berlin")
NIGHTS = nights("2026-03-16", 15) + nights("2026-10-12", 15)
SHORT, LONG = "2026-03-29", "2026-10-25"
"""The nights with 23 and with 25 hours."""
BROKEN, EMPTY = "2026-03-19", "2026-10-22"
MENDED_AFTER = 2
OUTAGE = NIGHTS[14:19]
ROWS_A_NIGHT, LATE, LATEST = 30, 24, 10
"""LATE rows come 1 to LATEST nights late."""
SOURCE = {
    **{role: CURATION["source"][role] for role in ("kind", "label", "truth", "image", "image_shape")},
    "path": "incoming",
    "partition_column": "at",
    "time_zone": "Europe/Berlin",
}
CHANGES = {"source": SOURCE, "window": 2, "restate": "always"}


@dataclass(frozen=True)
class Told:
    """What a night said of itself. code: its exit code; run: what `winnow status` tells of it, None where
    there was nothing to do."""

    night: str
    code: int
    run: dict[str, Any] | None

    @property
    def curated(self) -> int:
        return int(self.run["counts"].get("done", 0)) if self.run else 0

    @property
    def failures(self) -> list[str]:
        return [str(failure["error"]) for failure in self.run["failed"]] if self.run else []


def run(progress: Progress) -> list[Figure]:
    rows = digits(ROWS_A_NIGHT * len(NIGHTS), "winnow month")
    happened = {
        night: dated(rows.slice(ROWS_A_NIGHT * number, ROWS_A_NIGHT), night)
        for number, night in enumerate(NIGHTS)
    }
    deliveries = delivered(happened)
    late = sum(table.num_rows for files in deliveries for name, table in files.items() if "late" in name)
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        scene = Scene(Path(name) / "scene", environment, CHANGES)
        told = lived(scene, deliveries, progress)
        task = progress.add_task("one backfill", total=None)
        scene.run("backfill", store="at-once")
        progress.remove_task(task)
        store = scene.store()
        kept, given = images_kept(store), images_given(happened)
        found, at_once = contents(store), contents(scene.store("at-once"))
        rows_of = {ref.partition: ref.rows for ref in store.refs("rows")}
        published = releases.published(store)
        readable = store.refs("metrics", version=published.versions["metrics"]) if published else []
    failed = [one for one in told if one.code]
    after_outage = next(one for one in told if one.night > OUTAGE[-1])
    differing = sum(found.get(name) != at_once.get(name) for name in found.keys() | at_once.keys())
    return [
        Figure("nights", len(rows_of), "", f"= {len(NIGHTS)}"),
        Figure("nights that readers have", len(readable), "", f"= {len(NIGHTS)}"),
        Figure("rows lost", (by_image(given) - by_image(kept)).total(), "", "= 0"),
        Figure("rows doubled", (by_image(kept) - by_image(given)).total(), "", "= 0"),
        Figure("rows in another night than theirs", (kept - given).total(), "", "= 0"),
        Figure("rows of the night with 23 hours", rows_of[SHORT], "", f"= {ROWS_A_NIGHT}"),
        Figure("rows of the night with 25 hours", rows_of[LONG], "", f"= {ROWS_A_NIGHT}"),
        Figure("rows that came 1 to 10 nights late", late, "", f"= {LATE}"),
        Figure(
            "nights curated by the one run after the outage", after_outage.curated, "", f"≥ {len(OUTAGE) + 1}"
        ),
        Figure("nights that ended as failed", len(failed), "", f"= {MENDED_AFTER}"),
        Figure(
            "of them, that named the broken file and nothing else",
            naming_the_file(failed),
            "",
            f"= {MENDED_AFTER}",
        ),
        Figure("nights curated on the night without rows", of_night(told, EMPTY).curated, "", "= 0"),
        Figure("receipts of curated nights", sum(one.curated for one in told)),
        Figure("tables of a night that differ from one backfill", differing, f"of {len(at_once)}", "= 0"),
    ]


def dated(rows: pa.Table, night: str) -> pa.Table:
    """The rows at moments spread evenly over a day in Berlin, its first and its last second included."""
    start = midnight(date.fromisoformat(night))
    last = midnight(date.fromisoformat(night) + timedelta(days=1)) - timedelta(seconds=1)
    seconds = np.linspace(0, (last - start).total_seconds(), rows.num_rows).round()
    moments = [start + timedelta(seconds=float(second)) for second in seconds]
    return rows.append_column("at", pa.array(moments, pa.timestamp("us", "UTC")))


def midnight(day: date) -> datetime:
    """When the day begins in Berlin, in UTC: differences of local times know nothing of clock changes."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


def delivered(happened: dict[str, pa.Table]) -> list[dict[str, pa.Table]]:
    """The files that come before each night, by name: its own rows, and late ones of earlier nights.

    No row of the last night is late, since nothing comes after it.
    """
    draws = random.Random("winnow month")
    files: list[dict[str, pa.Table]] = [{} for _ in NIGHTS]
    places = draws.sample([(n, row) for n in range(len(NIGHTS) - 1) for row in range(ROWS_A_NIGHT)], LATE)
    late: dict[int, list[pa.Table]] = {}
    for number, night in enumerate(NIGHTS):
        behind = sorted(row for n, row in places if n == number)
        on_time = np.setdiff1d(np.arange(ROWS_A_NIGHT), behind)
        rows = happened[night].take(on_time)
        if night == EMPTY:
            files[number][f"{night}.parquet"] = rows.slice(0, 0)
            files[number + 1][f"{night}-again.parquet"] = rows
        else:
            files[number][f"{night}.parquet"] = rows
        for row in behind:
            arrival = min(number + draws.randint(1, LATEST), len(NIGHTS) - 1)
            arrival += NIGHTS[arrival] == EMPTY
            late.setdefault(arrival, []).append(happened[night].slice(row, 1))
    for arrival, rows_late in late.items():
        files[arrival][f"{NIGHTS[arrival]}-late.parquet"] = pa.concat_tables(rows_late)
    return files


def lived(scene: Scene, deliveries: list[dict[str, pa.Table]], progress: Progress) -> list[Told]:
    """The nights, one after the other; what each said."""
    told: list[Told] = []
    known: str | None = None
    for number, night in progress.track(list(enumerate(NIGHTS)), description="nights"):
        for name, rows in deliveries[number].items():
            scene.arrives(name.removesuffix(".parquet"), rows)
        broken = scene.incoming / f"{BROKEN}.parquet"
        if night == BROKEN:
            broken.write_bytes(broken.read_bytes()[:-100])
        if number == NIGHTS.index(BROKEN) + MENDED_AFTER:
            scene.arrives(BROKEN, deliveries[NIGHTS.index(BROKEN)][f"{BROKEN}.parquet"])
        if night in OUTAGE:
            continue
        ended = scene.run("nightly", code=None)
        found = json.loads(scene.run("status", "--format", "json").out)["run"]
        is_new = found is not None and found["run"] != known
        known = found["run"] if found else known
        told.append(Told(night, ended.code, found if is_new else None))
    return told


def naming_the_file(failed: list[Told]) -> int:
    """How many of the nights failed for the broken file alone, and said so."""
    return sum(len(one.failures) == 1 and f"{BROKEN}.parquet" in one.failures[0] for one in failed)


def of_night(told: list[Told], night: str) -> Told:
    return next(one for one in told if one.night == night)


def by_image(counted: Counter[tuple[str, bytes]]) -> Counter[bytes]:
    """Counts of images whatever the night."""
    found: Counter[bytes] = Counter()
    for (_, image), times in counted.items():
        found[image] += times
    return found
