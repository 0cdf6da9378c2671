"""The verbs that look and run nothing: `sql`, `releases`, `rollback`, `diff`, `report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, get_args

from flows import show
from flows.verdicts import in_short, show_verdicts
from storage import releases
from storage.releases import Release
from storage.store import Store
from tasks.errors import BadInput
from tasks.report.page import formatted


def show_sql(store: Store, sql: str, release: int | None, form: show.Format, output: Path | None) -> None:
    """Run one SELECT on the published tables, or those of `release`, and write what it gives."""
    form = form_of(form, output)
    if release is not None:
        require_release(store, release)
    from storage import query  # DuckDB, which the other verbs do without

    with query.connect(store, release) as connection:
        result = query.select(connection, sql)
    if form == "table":
        head = result.slice(0, show.TABLE_ROWS)
        show.table(result.column_names, zip(*(column.to_pylist() for column in head.columns), strict=True))
        if result.num_rows > show.TABLE_ROWS:
            print(
                f"the first {show.TABLE_ROWS:,} of {result.num_rows:,} rows; --format csv gives all",
                file=sys.stderr,
            )
    elif output is None:
        show.write(result, form, sys.stdout.buffer)
    else:
        with opened(output) as file:
            show.write(result, form, file)


def form_of(form: show.Format, output: Path | None) -> show.Format:
    """The format asked for; of a file, its name's ending where no --format is given."""
    if output is not None and form == "table":
        ending = output.suffix.removeprefix(".")
        for known in get_args(show.Format):
            if ending == known != "table":
                return known  # type: ignore[no-any-return]
        raise BadInput(f"{output}: add --format csv, json or parquet, or give the file such an ending")
    if output is None and form == "parquet" and sys.stdout.isatty():
        raise BadInput("parquet is not for a terminal; add --output FILE or pipe it on")
    return form


def opened(path: Path) -> IO[bytes]:
    """A file to write. Raises BadInput."""
    try:
        return path.open("wb")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); choose another file") from None


def show_releases(store: Store) -> None:
    """Every release, the newest first, and which one readers get."""
    made = releases.listing(store)[::-1]
    seen = next((release.number for release in made if release.readable), None)
    rows = [
        (
            release.number,
            status(release),
            "yes" if release.number == seen else "",
            release.partition,
            f"{release.created_at:%Y-%m-%d %H:%M:%S} UTC",
            in_short(release.checks),
            release.note,
        )
        for release in made
    ]
    if rows:
        show.table(("release", "status", "readers get it", "partition", "created", "gates", "note"), rows)
    else:
        show.line(f"{store.dataset} has no release yet; `winnow run` makes the first")


def status(release: Release) -> str:
    """A release's status, and whether its data is still there."""
    return f"{release.status}, expired" if release.expired else release.status


def roll_back(store: Store, number: int) -> None:
    """Give readers an earlier release again, under a new number."""
    require_release(store, number)
    made = releases.rollback(store, number)
    show.line(f"readers of {store.dataset} get release {number} again, as release {made}")


def show_diff(store: Store, older: int, newer: int) -> None:
    """What differs between two releases."""
    for number in (older, newer):
        require_release(store, number)
    changes = releases.diff(store, older, newer)
    if changes.num_rows:
        columns = (column.to_pylist() for column in changes.columns)
        show.table(changes.column_names, zip(*columns, strict=True))
    else:
        show.line(f"releases {older} and {newer} of {store.dataset} hold the same")


def require_release(store: Store, number: int) -> None:
    """Raises BadInput where there is no such release, or its data is gone."""
    require_number(store, number)
    if number in releases.expired(store):
        raise BadInput(f"release {number} of {store.dataset} has expired; `winnow releases` lists the others")


def require_number(store: Store, number: int) -> None:
    """Raises BadInput where no release ever had that number."""
    known = releases.numbers(store)
    if number not in known:
        which = f"they are {known[0]} to {known[-1]}" if known else "there is none yet"
        raise BadInput(f"{store.dataset} has no release {number}; {which}")


def show_report(store: Store, partition: str | None) -> None:
    """A partition's figures, and where its page lies."""
    known = store.partitions("metrics")
    if not known:
        raise BadInput(f"{store.dataset} has no report yet; `winnow run` makes one")
    if partition is not None and partition not in known:
        raise BadInput(f"{store.dataset} has no report of {partition}; there are {known[0]} to {known[-1]}")
    chosen = partition or known[-1]
    show_metrics(store, chosen)
    show_verdicts(store, chosen)
    if page := store.report_path(chosen):
        show.line(f"report: {store.address(page)}")


def show_metrics(store: Store, partition: str) -> None:
    found = store.read([ref] if (ref := store.ref("metrics", partition)) else []).to_pylist()
    rows = [
        (row["stage"], row["name"], "" if row["value"] is None else formatted(row["value"], row["unit"]))
        for row in found
    ]
    show.table(("stage", "metric", "value"), rows, title=f"{store.dataset} {partition}")
