"""Releases: consistent sets of table versions, and which of them readers see.

A release is one row of the table `releases`, in its own file named by its number, so the newest is
found by file names and read from one small file; more of them are read side by side. Publishing
writes that row and nothing else. Rolling back, and approving what gates held back, publish an older
release's versions under a new number. Publishers take turns by a lease, and one that slept through
its turn is fenced by the commit, so no number is given twice.

A release that vacuum let go keeps its row. The file `_expired.json` names those, and is written
before anything is removed: a release is readable to its last file, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from storage import files, parquet
from storage.errors import StoreError
from storage.leases import Lease, lease
from storage.store import Store, TableRef
from storage.tables import TABLES, file_schema

PUBLISHED, HELD, ROLLED_BACK = "published", "held", "rolled_back_to_"
FINGERPRINT = "release"
WAIT_SECONDS = 60.0
OUT_OF_ORDER = 16
"""Releases of older versions in which `standing` looks: who publishes looks at the tables before waiting for
a turn, so neighbours may be out of order, but not that many of them."""

READ_AHEAD = 64
"""Most releases that `newest` reads before they are asked for."""


class Kept(NamedTuple):
    """A partition of a table that readers get as it was at another version; None: not at all."""

    table: str
    partition: str
    version: int | None


@dataclass(frozen=True)
class Release:
    """One row of `releases`. versions: the version of each table, but for the partitions `kept` as they
    were; checks: name, value, bound, passed.

    note: whose decision it was and why, where a person made it. expired: vacuum let it go.
    """

    number: int
    partition: str
    created_at: datetime
    flow_run: str | None
    checks: tuple[dict[str, Any], ...]
    status: str
    versions: dict[str, int]
    note: str | None = None
    expired: bool = False
    kept: tuple[Kept, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether readers may get it: neither held back by its gates, nor expired."""
        return self.status != HELD and not self.expired


def publish(
    store: Store,
    partition: str,
    flow_run: str | None,
    checks: Sequence[Mapping[str, Any]],
    tables: Mapping[str, int],
    status: str = PUBLISHED,
    kept: Sequence[Kept] = (),
) -> int:
    """Appends a release and returns its number.

    `tables` maps table names to versions, `kept` are exceptions from that; `checks` have name, value,
    bound and passed; `status` is "published" or "held" (kept for inspection, never given to readers).
    Waits a minute for others who publish, then raises Busy. Raises StoreError when vacuum removed what
    only an older version of a table needed, after the caller had looked.
    """
    if status not in (PUBLISHED, HELD) and not status.startswith(ROLLED_BACK):
        raise StoreError(f"{status!r} is no status of a release; it is {PUBLISHED!r} or {HELD!r}")
    with turn(store, f"publishing {partition}"):
        _require_files(store, tables)
        return append(store, partition, flow_run, checks, tables, status, kept=kept)


def rollback(store: Store, number: int, flow_run: str | None = None) -> int:
    """Publishes an older release's versions again; returns the new release's number.

    Nothing is rewritten: the tables keep their newer versions, and readers get the older ones.
    """
    with turn(store, f"rolling back to release {number}"):
        old = get(store, number)
        if not old.readable:
            raise StoreError(
                f"release {number} of {store.dataset} was held back by its gates; choose one that was "
                "published, or approve it"
            )
        status = f"{ROLLED_BACK}{number}"
        return append(store, old.partition, flow_run, old.checks, old.versions, status, kept=old.kept)


def approve(store: Store, number: int, why: str, by: str, flow_run: str | None = None) -> int:
    """Publishes what gates held back, by a person's decision; returns the new release's number.

    The new release has the old one's checks, failed as they are. Raises StoreError if the release is
    not held, or if readers were given all that it holds since: that would take them back.
    """
    if not why.strip() or not by.strip():
        raise StoreError("an approval needs a person and a reason; say why the release is good all the same")
    with turn(store, f"approving release {number}"):
        old = get(store, number)
        if old.status != HELD:
            raise StoreError(f"release {number} of {store.dataset} is not held, but {old.status}")
        for later in newest(store):
            if later.number <= number:
                break
            held = (later.versions.get(table, -1) >= version for table, version in old.versions.items())
            if later.status == PUBLISHED and all(held):
                raise StoreError(
                    f"release {later.number} of {store.dataset} already gave readers all that release "
                    f"{number} holds; there is nothing to approve"
                )
        note = f"release {number} approved by {by.strip()}: {why.strip()}"
        return append(store, old.partition, flow_run, old.checks, old.versions, PUBLISHED, note, old.kept)


def turn(store: Store, what: str) -> AbstractContextManager[Lease]:
    """The lease of those who append to `releases`, or remove what a release could name."""
    return lease(store, "releases", WAIT_SECONDS, what)


def append(
    store: Store,
    partition: str,
    flow_run: str | None,
    checks: Sequence[Mapping[str, Any]],
    tables: Mapping[str, int],
    status: str,
    note: str | None = None,
    kept: Sequence[Kept] = (),
) -> int:
    """Adds one row to `releases` and returns its number. Wants the caller's `turn`."""
    store.evolve("releases")
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
        "note": note,
        "kept": [each._asdict() for each in kept],
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
    return next((release for release in newest(store) if release.readable), None)


def versions(store: Store) -> dict[str, int]:
    """The newest version of every table but `releases` itself: what a release made now would hold."""
    found = {table: store.version(table) for table in TABLES if table != "releases"}
    return {table: version for table, version in found.items() if version is not None}


def refs_of(store: Store, release: Release, table: str) -> list[TableRef]:
    """A table's partitions as readers of a release get them; none where it does not have the table."""
    if table not in release.versions:
        return []
    kept = {each.partition: each.version for each in release.kept if each.table == table}
    found = [ref for ref in store.refs(table, version=release.versions[table]) if ref.partition not in kept]
    for partition, version in kept.items():
        if version is not None:
            found += [ref for ref in store.refs(table, version=version) if ref.partition == partition]
    return sorted(found, key=lambda ref: ref.partition)


def files_of(store: Store, release: Release, table: str) -> list[str]:
    """The data files of a table that readers of a release get; none where it does not have the table."""
    if table not in release.versions:
        return []
    if all(each.table != table for each in release.kept):
        return store.file_uris(table, release.versions[table])
    partitions: dict[int, list[str]] = {}
    for ref in refs_of(store, release, table):
        partitions.setdefault(ref.version, []).append(ref.partition)
    return [path for v, names in partitions.items() for path in store.file_uris(table, v, names)]


def standing(store: Store) -> Release | None:
    """The newest release, held or not, of the tables exactly as they stand; None if they changed since.

    Versions only grow, so that once enough releases were made of older versions, all before them
    were: those that a person chose prove nothing and are looked past. Merged files are no change.
    """
    current = versions(store)
    since = cache(lambda table: _unchanged_since(store, table, current[table]))
    older = 0
    for release in newest(store):
        if release.versions.keys() == current.keys() and all(
            version == current[table] or since(table) <= version < current[table]
            for table, version in release.versions.items()
        ):
            return release
        older += release.note is None and not release.status.startswith(ROLLED_BACK)
        if older == OUT_OF_ORDER:
            return None
    return None


def get(store: Store, number: int) -> Release:
    """That release, held or not. Raises StoreError if there is none of that number, or no more."""
    found = _files(store)
    if number not in found:
        known = f"the newest is {max(found)}" if found else "nothing was published yet"
        raise StoreError(f"{store.dataset} has no release {number}; {known}")
    [release] = _read(store, [found[number]])
    if release.expired:
        raise StoreError(
            f"release {number} of {store.dataset} has expired, vacuum removed what only it needed; "
            "choose a newer one"
        )
    return release


def listing(store: Store) -> list[Release]:
    """Every release, oldest first."""
    return _read(store, [path for _, path in sorted(_files(store).items())])


def newest(store: Store) -> Iterator[Release]:
    """Every release, newest first, read as far as they are asked for: one, then two, then four, …"""
    paths = [path for _, path in sorted(_files(store).items(), reverse=True)]
    first, count = 0, 1
    while first < len(paths):
        yield from _read(store, paths[first : first + count])
        first, count = first + count, min(2 * count, READ_AHEAD)


def numbers(store: Store) -> list[int]:
    """The numbers of all releases, the oldest first; none of them is read."""
    return sorted(_files(store))


def expired(store: Store) -> set[int]:
    """The numbers of the releases that vacuum let go."""
    try:
        found = json.loads(store.disk.read(_expiry(store)))
    except FileNotFoundError:
        return set()
    return set(found["releases"])


def expire(store: Store, numbers: set[int]) -> None:
    """Says of releases that they can be read no more. Wants the caller's `turn`."""
    data = json.dumps({"releases": sorted(expired(store) | numbers)}).encode()
    store.disk.write_whole(_expiry(store), files.writer(data))


def diff(store: Store, a: int, b: int) -> pa.Table:
    """What changed between two releases; see `storage.diff`."""
    from storage.diff import changes

    return changes(store, get(store, a), get(store, b))


def is_merge(commit: Mapping[str, Any]) -> bool:
    """Whether a commit of a table's history only put merged files in the place of small ones."""
    return "merged" in json.loads(commit.get("info", "{}"))


def _unchanged_since(store: Store, table: str, version: int) -> int:
    """The oldest version from which on there were only commits that merged files."""
    limit = 1
    while True:
        made = store.history(table, limit)
        since = next((n for n, commit in enumerate(made) if not is_merge(commit)), None)
        if since is not None or len(made) < limit:
            return version - (len(made) if since is None else since)
        limit *= 8


def _require_files(store: Store, tables: Mapping[str, int]) -> None:
    """Raises StoreError if a file is gone that only an older version of a table lists."""
    for table, version in tables.items():
        if store.version(table) not in (None, version):
            for path in set(store.file_uris(table, version)) - set(store.file_uris(table)):
                if not store.disk.exists(path):
                    raise StoreError(
                        f"{path} was removed while {table} of {store.dataset} changed; run the partition "
                        "again"
                    )


def _expiry(store: Store) -> str:
    return store.inside("_expired.json")


def _files(store: Store) -> dict[int, str]:
    """The file of each release, by number."""
    return {int(path.rpartition("/")[2].split("-")[1]): path for path in store.file_uris("releases")}


def _read(store: Store, paths: Sequence[str]) -> list[Release]:
    """The releases in these files."""
    schema = file_schema("releases")
    gone = expired(store) if paths else set()

    def read(path: str) -> Release:
        table = pa.concat_tables(parquet.pieces(path, store.filesystem, schema))
        # as a number: for a timestamp's to_pylist pyarrow imports pandas, 0.2 s of every command
        microseconds = table["created_at"].cast(pa.int64())[0].as_py()
        row = table.drop_columns(["created_at"]).to_pylist()[0]
        return Release(
            row["release"],
            path.split("/")[-2].removeprefix("partition="),
            datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds),
            row["flow_run"],
            tuple(row["checks"]),
            row["status"],
            dict(row["versions"]),
            row["note"],
            row["release"] in gone,
            tuple(Kept(**each) for each in row["kept"] or ()),
        )

    return list(store.disk.each(read, paths))
