"""Removes what nothing needs any more.

Needed are the files of every table's newest version and of every version that a release names
(published, held or rolled back to), and the states whose fingerprint a needed file carries. A run
that is under way has files that no version lists yet; it holds the lease named like its partition,
so a partition is swept only while its lease is held here, and what is needed is worked out again
after the lease was taken. `releases` itself is never swept: its rows are tiny, and are published
under no lease.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from storage import leases, log, releases
from storage.errors import Busy
from storage.files import TEMPORARY, explained
from storage.store import Store
from storage.tables import TABLES

AT_A_TIME = 64
"""Leases held at once: each has a thread."""


def vacuum(store: Store, dry_run: bool) -> list[str]:
    """Removes, or with `dry_run` only finds, what is not needed; returns the paths in name order."""
    found = _unneeded(store)
    if dry_run:
        return sorted(path for name, paths in found.items() if not leases.live(store, name) for path in paths)
    removed = []
    names = sorted(found)
    for first in range(0, len(names), AT_A_TIME):
        with ExitStack() as stack:
            held = [name for name in names[first : first + AT_A_TIME] if _held(stack, store, name)]
            now = _unneeded(store)
            for path in (path for name in held for path in now.get(name, [])):
                with explained(path):
                    os.unlink(path)
                removed.append(path)
    return sorted(removed)


def _held(stack: ExitStack, store: Store, partition: str) -> bool:
    """Takes a partition's lease until `stack` closes; says whether it was free."""
    try:
        stack.enter_context(leases.lease(store, partition, 0, "vacuum"))
    except Busy:
        return False
    return True


def _unneeded(store: Store) -> dict[str, list[str]]:
    """The paths that are not needed, by partition."""
    found: dict[str, list[str]] = {}
    fingerprints: dict[str, set[str]] = {}
    published = releases.listing(store)
    for table in TABLES.keys() - {"releases"}:
        newest = store.version(table)
        kept = {release.versions[table] for release in published if table in release.versions}
        needed = log.needed(store.inside(table), kept | {newest}) if newest is not None else set()
        for partition, path in _files(store, table, "partition="):
            if f"partition={partition}/{path.name}" in needed:
                fingerprints.setdefault(partition, set()).add(path.name.rsplit("-", 2)[0])
            else:
                found.setdefault(partition, []).append(str(path))
    for partition, path in _files(store, "_states", ""):
        used = any(fingerprint in path.name for fingerprint in fingerprints.get(partition, ()))
        if not used or path.name.startswith(TEMPORARY):
            found.setdefault(partition, []).append(str(path))
    for partition, path in _files(store, "_reports", ""):
        if path.name.startswith(TEMPORARY):
            found.setdefault(partition, []).append(str(path))
    return found


def _files(store: Store, folder: str, prefix: str) -> Iterator[tuple[str, Path]]:
    """Every file in the partitions' folders below `folder`, with its partition; never beyond a link."""
    for inner in Path(store.inside(folder)).glob(f"{prefix}[A-Za-z0-9]*"):
        for path in Path(store.inside(f"{folder}/{inner.name}")).iterdir():
            yield inner.name.removeprefix(prefix), path
