"""A store as one look finds it: every log read, every folder listed, no data file opened yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pyarrow.fs import FileInfo, FileType

from storage import releases, tree
from storage.errors import StoreError, Unreachable
from storage.history import History
from storage.releases import Release
from storage.store import Store
from storage.tables import TABLES

NOTICES = {"stale"}
SHOWN = 3
"""Names that a sentence lists before it counts."""
BACKUP = "bring it back from a backup of the store"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. code: its kind; safe_to_fix: whether `mend` does what `remedy` says.

    lease: the name of the lease under which it may be mended.
    """

    code: str
    sentence: str
    remedy: str
    table: str | None = None
    partition: str | None = None
    path: str | None = None
    safe_to_fix: bool = False
    lease: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether something is broken or lies about, and not only worth knowing."""
        return self.code not in NOTICES


@dataclass
class Look:
    """What checks go by. there: the files below each folder, with the partition or lease; kept: the
    releases that can be read; broken: by table, why its log tells nothing."""

    store: Store
    histories: dict[str, History] = field(default_factory=dict)
    there: dict[str, list[tuple[str, FileInfo]]] = field(default_factory=dict)
    outside: dict[str, StoreError] = field(default_factory=dict)
    kept: list[Release] = field(default_factory=list)
    broken: dict[str, Finding] = field(default_factory=dict)

    def sound(self) -> Iterator[tuple[str, History]]:
        """The tables whose logs tell all."""
        return ((table, history) for table, history in self.histories.items() if table not in self.broken)

    def versions(self, table: str) -> dict[int, list[int]]:
        """The versions of a table that are needed, each with the releases that name it."""
        newest = self.histories[table].version
        found: dict[int, list[int]] = {newest: []}
        for release in self.kept:
            stay = (each.version for each in release.kept if each.table == table)
            for version in {release.versions.get(table), *stay} - {None}:
                if version is not None and 0 <= version <= newest:
                    found.setdefault(version, []).append(release.number)
        return found


def look_at(store: Store) -> Look:
    """Reads logs and lists folders."""
    look = Look(store)
    for info in tree.children(store, ""):
        if info.type == FileType.Directory:
            _look_into(look, info.base_name)
    for history in look.histories.values():
        if (problem := _log_problem(store, history)) is not None:
            look.broken[history.table] = problem
    if "releases" not in look.broken:
        try:
            look.kept = [release for release in releases.listing(store) if not release.expired]
        except Unreachable:
            raise
        except (StoreError, ValueError) as error:
            words = f"the releases of {store.dataset} cannot be read: {error}"
            look.broken["releases"] = Finding("unreadable_releases", words, BACKUP, "releases")
    return look


def _look_into(look: Look, folder: str) -> None:
    try:
        look.store.inside(folder)
    except StoreError as error:
        look.outside[f"{look.store.path}/{folder}"] = error
        return
    if folder in TABLES:
        look.histories[folder] = History(look.store, folder)
    look.there[folder], outside = tree.look(look.store, folder, "partition=" if folder in TABLES else "")
    look.outside |= outside


def _log_problem(store: Store, history: History) -> Finding | None:
    """Why a table's log tells nothing; None if it does."""
    table = history.table
    for path in history.lost:
        words = f"{path} is missing, so it is not known what versions of {table} hold"
        return Finding("missing_commit", words, BACKUP, table, path=path)
    for path in history.damaged:
        words = f"{path} is damaged, so it is not known what versions of {table} hold"
        return Finding("damaged_commit", words, BACKUP, table, path=path)
    try:
        listed = {(ref.partition, ref.fingerprint, ref.content, ref.rows) for ref in store.refs(table)}
    except Unreachable:
        raise
    except StoreError as error:
        return Finding("unreadable_log", str(error), BACKUP, table, path=history.folder)
    if listed != _held(history):
        words = f"{history.folder}: the newest checkpoint and the commits do not list the same files"
        remedy = "delete the checkpoints and _last_checkpoint: the commits are enough to read the table"
        return Finding("unreadable_log", words, remedy, table, path=history.folder)
    return None


def _held(history: History) -> set[tuple[str, str, str, int]]:
    """Every partition's name, fingerprint, content hash and rows by the commits alone."""
    rows: dict[tuple[str, str, str], int] = {}
    for life in history.newest():
        key = (life.partition, life.fingerprint, life.content)
        rows[key] = rows.get(key, 0) + life.rows
    return {(*key, count) for key, count in rows.items()}
