"""What lies about: leases of the dead, files that were never committed, files that were never finished.

Nobody can miss these, so `mend` removes them: each under the lease of its place, and only what is still
so once the lease is held.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import groupby

from pyarrow.fs import FileInfo

from storage import files, leases
from storage.doctor.look import Finding, Look
from storage.errors import Busy
from storage.history import History
from storage.store import Store
from storage.tables import TABLES

HOUR = 3600.0
"""An unfinished file outside of the partitions' folders is taken for one of a dead process after this."""
UNLEASED = {"_leases", "_runs"}
"""Folders that processes write to without holding a lease of that name."""


def held_leases(look: Look) -> Iterator[Finding]:
    """Leases whose holder is gone, and files that are no lease."""
    newest = {name: info for name, info in look.there.get("_leases", []) if info.base_name[:1].isdigit()}
    for name, info in sorted(newest.items()):
        try:
            facts = json.loads(look.store.disk.read(info.path))
            if facts.get("released") or leases.live(look.store, name) is not None:
                continue
            words = f"{info.path} is the lease of {facts['holder']}, which is gone"
        except FileNotFoundError:  # taken over since the look
            continue
        except (ValueError, KeyError, AttributeError):
            yield _damaged(look, name, info)
            continue
        remedy = "free it with --fix; the next run of it does so too"
        yield Finding("dead_lease", words, remedy, path=info.path, safe_to_fix=True, lease=name)


def _damaged(look: Look, name: str, info: FileInfo) -> Finding:
    words = f"{info.path} is no lease, and keeps everybody from working on {name}"
    idle = _age(look, info) > leases.EXPIRES_SECONDS
    remedy = "remove it with --fix" if idle else "somebody touched it just now: look again in a minute"
    return Finding("damaged_lease", words, remedy, path=info.path, safe_to_fix=idle)


def orphans(look: Look) -> Iterator[Finding]:
    """Data files that no version lists, of partitions that nobody works on."""
    for table, history in look.sound():
        known = {f"{look.store.path}/{table}/{life.path}" for life in history.all()}
        for partition, info in look.there.get(table, []):
            name = _lease(table, partition)
            if info.path in known or info.base_name.startswith(files.TEMPORARY) or _live(look, name):
                continue
            words = f"{info.path} was never committed"
            remedy = "remove it with --fix, or run its partition: what can be used is used"
            yield Finding("orphan_file", words, remedy, table, partition, info.path, True, name)


def unfinished(look: Look) -> Iterator[Finding]:
    """Unfinished files of processes that are gone."""
    for folder, found in look.there.items():
        for name, info in found:
            lease = None if folder in UNLEASED else _lease(folder, name)
            if not info.base_name.startswith(files.TEMPORARY):
                continue
            if _live(look, lease) if lease else _age(look, info) < HOUR:
                continue
            words = f"{info.path} was never finished, and who wrote it is gone"
            table = folder if folder in TABLES else None
            yield Finding(
                "unfinished_file", words, "remove it with --fix", table, name, info.path, True, lease
            )


def mend(store: Store, findings: Iterable[Finding]) -> list[Finding]:
    """Does what is safe, and returns what was mended. What somebody works on is left for the next time."""
    mended = []
    safe = sorted((finding for finding in findings if finding.safe_to_fix), key=lambda f: f.lease or "")
    for name, group in groupby(safe, key=lambda finding: finding.lease):
        with ExitStack() as stack:
            try:
                if name is not None:
                    # a dead lease is mended by taking it, and giving it back
                    stack.enter_context(leases.lease(store, name, 0, "doctor"))
            except Busy:
                continue
            mended += [
                finding for finding in group if finding.code == "dead_lease" or _removed(store, finding)
            ]
    return mended


def _removed(store: Store, finding: Finding) -> bool:
    """Removes the file of a finding, unless it was committed since; says whether it did."""
    assert finding.path is not None
    if finding.code == "orphan_file":
        assert finding.table is not None
        history = History(store, finding.table)
        if finding.path in {f"{store.path}/{finding.table}/{life.path}" for life in history.all()}:
            return False
    with store.disk.explained(finding.path), suppress(FileNotFoundError):
        store.disk.remove(finding.path)
    return True


def _lease(folder: str, name: str) -> str:
    """The lease of those who write to `name` of a folder."""
    return "releases" if folder == "releases" else name


def _live(look: Look, name: str) -> bool:
    return leases.live(look.store, name) is not None


def _age(look: Look, info: FileInfo) -> float:
    """Seconds since the file was touched, by the clock of the disk it is on."""
    return float(look.store.disk.now(info.path.rpartition("/")[0]) - info.mtime_ns / 1e9)
