"""Releases: consistent sets of table versions, and which of them readers see.

A release is one row of the table `releases`, in its own file named by its number, so the newest is
found by file names and read from one small file. Publishing writes that row and nothing else;
rolling back publishes an older release's versions under a new number. Publishers take turns by a
lease, and one that slept through its turn is fenced by the commit, so no number is given twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from storage import parquet
from storage.errors import StoreError
from storage.leases import lease
from storage.store import Store
from storage.tables import TABLES, file_schema

PUBLISHED, HELD, ROLLED_BACK = "published", "held", "rolled_back_to_"
FINGERPRINT = "release"
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Release:
    """One row of `releases`. versions: the version of each table; checks: name, value, bound, passed."""

    number: int
    partition: str
    created_at: datetime
    flow_run: str | None
    checks: tuple[dict[str, Any], ...]
    status: str
    versions: dict[str, int]

    @property
    def readable(self) -> bool:
        """Whether readers may get it: everything but a release that its gates hold back."""
        return self.status != HELD


def publish(
    store: Store,
    partition: str,
    flow_run: str | None,
    checks: Sequence[Mapping[str, Any]],
    tables: Mapping[str, int],
    status: str = PUBLISHED,
) -> int:
    """Appends a release and returns its number.

    `tables` maps table names to versions; `checks` have name, value, bound and passed; `status` is
    "published" or "held" (kept for inspection, never given to readers). Waits a minute for others
    who publish, then raises Busy.
    """
    if status not in (PUBLISHED, HELD) and not status.startswith(ROLLED_BACK):
        raise StoreError(f"{status!r} is no status of a release; it is {PUBLISHED!r} or {HELD!r}")
    with lease(store, "releases", WAIT_SECONDS, f"publishing {partition}"):
        base = store.version("releases")
        number = max(_files(store), default=0) + 1
        while store.has_shard("releases", partition, FINGERPRINT, number, number + 1):
            number += 1  # left by a publisher that died before its commit
        row = {
            "id": str(number),
            "release": number,
            "created_at": datetime.now(UTC),
            "flow_run": flow_run,
            "checks": [dict(check) for check in checks],
            "status": status,
            "versions": sorted(tables.items()),
        }
        data = pa.Table.from_pylist([row], schema=file_schema("releases"))
        store.write_shard("releases", partition, FINGERPRINT, number, number + 1, data)
        before = store.ref("releases", partition)
        spans = [(start, stop) for start, stop, _ in store.shards(before)] if before else []
        spans.append((number, number + 1))
        store.commit("releases", partition, FINGERPRINT, spans, [], {}, base, alone=True)
        return number


def published(store: Store) -> Release | None:
    """The newest release that readers may get; None if there is none."""
    found = _files(store)
    for number in sorted(found, reverse=True):
        release = _read(store, found[number])
        if release.readable:
            return release
    return None


def versions(store: Store) -> dict[str, int]:
    """The newest version of every table but `releases` itself: what a release made now would hold."""
    found = {table: store.version(table) for table in TABLES if table != "releases"}
    return {table: version for table, version in found.items() if version is not None}


def standing(store: Store) -> Release | None:
    """The newest release, held or not, of the tables exactly as they stand; None if they changed since."""
    current = versions(store)
    return next((release for release in reversed(listing(store)) if release.versions == current), None)


def get(store: Store, number: int) -> Release:
    """That release, held or not. Raises StoreError if there is none of that number."""
    found = _files(store)
    if number not in found:
        known = f"the newest is {max(found)}" if found else "nothing was published yet"
        raise StoreError(f"{store.dataset} has no release {number}; {known}")
    return _read(store, found[number])


def listing(store: Store) -> list[Release]:
    """Every release, oldest first."""
    return [_read(store, path) for _, path in sorted(_files(store).items())]


def rollback(store: Store, number: int, flow_run: str | None = None) -> int:
    """Publishes an older release's versions again; returns the new release's number.

    Nothing is rewritten: the tables keep their newer versions, and readers get the older ones.
    """
    old = get(store, number)
    if not old.readable:
        raise StoreError(
            f"release {number} of {store.dataset} was held back by its gates; choose one that was published"
        )
    status = f"{ROLLED_BACK}{number}"
    return publish(store, old.partition, flow_run, old.checks, old.versions, status)


def diff(store: Store, a: int, b: int) -> pa.Table:
    """What changed between two releases; see `storage.diff`."""
    from storage.diff import changes

    return changes(store, get(store, a), get(store, b))


def _files(store: Store) -> dict[int, str]:
    """The file of each release, by number."""
    return {int(path.rpartition("/")[2].split("-")[1]): path for path in store.file_uris("releases")}


def _read(store: Store, path: str) -> Release:
    schema = file_schema("releases")
    row = pa.concat_tables(parquet.pieces(path, store.filesystem, schema)).to_pylist()[0]
    return Release(
        row["release"],
        path.split("/")[-2].removeprefix("partition="),
        row["created_at"],
        row["flow_run"],
        tuple(row["checks"]),
        row["status"],
        dict(row["versions"]),
    )
