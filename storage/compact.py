"""Merges the small files of a partition into few, without changing a value.

A stage deals a partition into shards so that workers share it, and every shard leaves a file: cheap to
make, dear to read a year later. Neighbouring shards are written again as one file of the same
fingerprint, and a commit puts it in their place. The content hash is compared on the way, so that what
was damaged is not made good; nothing becomes stale, since plans go by fingerprint and content. The
small files stay for the releases that name them, until vacuum.

Readers get the merged files by one more release: what they see, with every table moved over the merges
that directly follow. `releases` itself is left as it is: a release is a file of about three kilobytes,
found by its name and never read with the others but to list them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from storage import releases
from storage.content import content_of
from storage.errors import Busy, StoreError
from storage.history import History, Life
from storage.leases import lease
from storage.store import Store
from storage.tables import GROWN, TABLES, file_schema

TARGET_BYTES = 64 << 20
"""Files are merged up to this size; one is held in memory at a time."""


@dataclass(frozen=True)
class Merge:
    """A partition of a table, its files before and after."""

    table: str
    partition: str
    before: int
    after: int


def compact(store: Store, dry_run: bool) -> list[Merge]:
    """Merges what is in many small files, or with `dry_run` only finds it. A partition that somebody
    works on is left for the next time. Raises StoreError if files do not hold what was committed."""
    histories = {table: History(store, table) for table in TABLES if table != "releases"}
    partitions = sorted({life.partition for history in histories.values() for life in history.newest()})
    done: list[Merge] = []
    for partition in partitions:
        found = {table: wanted for table, h in histories.items() if (wanted := _wanted(h, partition))}
        if not found or dry_run:
            done += found.values()
            continue
        try:
            with lease(store, partition, 0, "compact") as held:
                for table in found:
                    held.check()
                    if merged := _merge(histories[table], partition):
                        done.append(merged)
        except Busy:
            continue
    if done and not dry_run:
        _give_to_readers(store)
    return done


def _wanted(history: History, partition: str) -> Merge | None:
    """What merging would make of a partition; None if nothing."""
    lives = _shards(history, partition)
    groups = _groups(lives)
    return Merge(history.table, partition, len(lives), len(groups)) if len(groups) < len(lives) else None


def _merge(history: History, partition: str) -> Merge | None:
    """Merges one partition of one table; None if there is nothing to merge. Wants the partition's lease."""
    store, table = history.store, history.table
    base = store.version(table)
    ref = store.ref(table, partition)
    history.refresh()
    found = _wanted(history, partition)
    if ref is None or found is None:
        return None
    if content_of(file_schema(table), store.batches(ref), GROWN.get(table, ())) != ref.content:
        raise StoreError(
            f"{table} of {store.dataset}: the files of {partition} do not hold what was committed; "
            "run the partition again with --force"
        )
    lives = _shards(history, partition)
    groups = _groups(lives)
    first = 0
    for group in groups:
        rows = sum(life.rows for life in group)
        if len(group) > 1:
            data = store.read(ref, span=(first, first + rows))
            store.write_shard(table, partition, ref.fingerprint, *_span(group), data)
        first += rows
    info = {**lives[0].info(), "merged": found.before}
    spans = [_span(group) for group in groups]
    store.commit(table, partition, ref.fingerprint, spans, lives[0].parents(), info, base, merge=True)
    return found


def _shards(history: History, partition: str) -> list[Life]:
    """A partition's files in the order of their rows."""
    return sorted(history.newest(partition), key=Life.place)


def _span(group: list[Life]) -> tuple[int, int]:
    """Where neighbouring shards start and stop together."""
    return group[0].place()[0], group[-1].place()[1]


def _groups(lives: list[Life]) -> list[list[Life]]:
    """Neighbouring shards, up to TARGET_BYTES together."""
    groups: list[list[Life]] = []
    for life in lives:
        if groups and sum(other.size for other in groups[-1]) + life.size <= TARGET_BYTES:
            groups[-1].append(life)
        else:
            groups.append([life])
    return groups


def _give_to_readers(store: Store) -> None:
    """Publishes what readers have once more, from the merged files, as far as only merges followed."""
    with releases.turn(store, "publishing merged files"):
        seen = releases.published(store)
        if seen is None:
            return
        moved = {table: _after_merges(store, table, version) for table, version in seen.versions.items()}
        if moved != seen.versions:
            note = f"release {seen.number} with its files merged"
            releases.append(store, seen.partition, None, seen.checks, moved, seen.status, note, seen.kept)


def _after_merges(store: Store, table: str, version: int) -> int:
    """The last version that holds the same as `version`, as far as only merges came after it."""
    newest = store.version(table) or version
    later = store.history(table, newest - version)[::-1] if newest > version else []
    return version + len(list(takewhile(releases.is_merge, later)))
