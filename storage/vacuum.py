"""Removes what nothing needs any more.

Needed are the files of every table's newest version and of every version that a release names
(published, held or rolled back to) unless that release expired; the states whose name holds the
fingerprint of a needed file; and those that a needed file's commit names as `states` in its info, each
"{partition}/{name}" or the start of that, in whichever partition's folder. A run that is under way
has files that no version lists yet; it holds the lease named like its partition, so a partition is
swept only while its lease is held here. Who publishes looks at the tables first, so what is needed
is worked out again, and removed, while nobody else may publish. `releases` itself is never swept:
its rows are tiny, and tell what was decided long after the data is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from storage import leases, releases, tree
from storage.errors import Busy
from storage.files import TEMPORARY
from storage.history import History
from storage.releases import HELD, Release
from storage.store import Store
from storage.tables import TABLES

AT_A_TIME = 64
"""Leases held at once: each has a thread."""
HELD_DAYS = 30
"""For so long a held release waits for somebody to approve it, whatever number of newer ones there are."""


@dataclass(frozen=True)
class Keep:
    """How much of the past is kept: a release is if it is one of the newest `releases`, or no more than
    `days` old. With neither, all are."""

    releases: int | None = None
    days: float | None = None

    def expiring(self, made: list[Release], seen: Release | None, now: datetime) -> set[int]:
        """The numbers of those of `made` (oldest first) to be kept no longer; `seen` is what readers get."""
        if self.releases is None and self.days is None:
            return set()
        kept = {release.number for release in made[max(len(made) - (self.releases or 0), 0) :]}
        if self.days is not None:
            kept |= {release.number for release in made if now - release.created_at <= _days(self.days)}
        if seen is not None:
            kept.add(seen.number)
        waiting = _days(HELD_DAYS if self.days is None else self.days)
        kept |= {
            release.number
            for release in made
            if release.status == HELD
            and (seen is None or release.number > seen.number)
            and now - release.created_at <= waiting
        }
        return {release.number for release in made if not release.expired} - kept


def vacuum(store: Store, dry_run: bool, keep: Keep | None = None) -> list[str]:
    """Removes, or with `dry_run` only finds, what is not needed; returns the paths in name order.

    With `keep`, releases that it lets go expire first.
    """
    needs = Needs(store)
    if dry_run:
        found = needs.unneeded(let_go(store, keep or Keep()))
        return sorted(path for name, paths in found.items() if not leases.live(store, name) for path in paths)
    with releases.turn(store, "vacuum"):
        going = let_go(store, keep or Keep())
        if going:
            releases.expire(store, going)
    removed: list[str] = []
    names = sorted(needs.unneeded(set()))
    for first in range(0, len(names), AT_A_TIME):
        with ExitStack() as stack:
            held = [name for name in names[first : first + AT_A_TIME] if _held(stack, store, name)]
            stack.enter_context(releases.turn(store, "vacuum"))
            removed += remove(store, needs.unneeded(set(), held))
    return sorted(removed)


def let_go(store: Store, keep: Keep) -> set[int]:
    """The numbers of the releases that `keep` lets go now."""
    return keep.expiring(releases.listing(store), releases.published(store), datetime.now(UTC))


def remove(store: Store, found: dict[str, list[str]]) -> list[str]:
    """Removes files, side by side; returns their paths."""
    paths = [path for some in found.values() for path in some]

    def delete(path: str) -> None:
        with store.disk.explained(path), suppress(FileNotFoundError):
            store.disk.remove(path)

    list(store.disk.each(delete, paths))
    return paths


def _held(stack: ExitStack, store: Store, partition: str) -> bool:
    """Takes a partition's lease until `stack` closes; says whether it was free."""
    try:
        stack.enter_context(leases.lease(store, partition, 0, "vacuum"))
    except Busy:
        return False
    return True


def _days(number: float) -> timedelta:
    return timedelta(days=number)


@dataclass
class Needs:
    """What a store needs, worked out again at each look from the commits that came since."""

    store: Store
    histories: dict[str, History] = field(default_factory=dict)

    def unneeded(self, expiring: set[int], partitions: Iterable[str] | None = None) -> dict[str, list[str]]:
        """The paths that are not needed, by partition; `expiring` are releases not to be kept for.

        Raises StoreError if a commit is missing, or a link leads out of the store.
        """
        kept = [r for r in releases.listing(self.store) if not r.expired and r.number not in expiring]
        found: dict[str, list[str]] = {}
        fingerprints: dict[str, set[str]] = {}
        named: set[str] = set()
        for table in TABLES.keys() - {"releases"}:
            history = self._history(table)
            versions = {r.versions[table] for r in kept if table in r.versions} | {history.version}
            stay = [each for r in kept for each in r.kept if each.table == table]
            versions |= {each.version for each in stay if each.version is not None}
            lives = history.whole().needed(versions)
            named |= {start for life in lives for start in life.info().get("states", [])}
            needed = {life.path for life in lives}
            for partition, info in tree.files(self.store, table, "partition=", partitions):
                if f"partition={partition}/{info.base_name}" in needed:
                    fingerprints.setdefault(partition, set()).add(info.base_name.rsplit("-", 2)[0])
                else:
                    found.setdefault(partition, []).append(info.path)
        starts = tuple(named)
        for partition, info in tree.files(self.store, "_states", "", partitions):
            used = any(fingerprint in info.base_name for fingerprint in fingerprints.get(partition, ()))
            used = used or f"{partition}/{info.base_name}".startswith(starts)
            if not used or info.base_name.startswith(TEMPORARY):
                found.setdefault(partition, []).append(info.path)
        for partition, info in tree.files(self.store, "_reports", "", partitions):
            if info.base_name.startswith(TEMPORARY):
                found.setdefault(partition, []).append(info.path)
        return found

    def _history(self, table: str) -> History:
        """All that was committed to a table until now."""
        if table in self.histories:
            self.histories[table].refresh()
        else:
            self.histories[table] = History(self.store, table)
        return self.histories[table]
