"""Every commit of a table, read once: which files each version listed, how long, and what was noted.

Delta goes from a checkpoint to one version, which for each of two hundred releases takes seconds.
Reading all commits is one small file a commit, side by side, and answers for every version at once: a
file's life is the run of versions that list it. The log is kept whole for this: a night adds about
two kilobytes a table to it, and opening a table starts at the newest checkpoint however long it is.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from storage.errors import StoreError
from storage.store import Store

COMMIT = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True, slots=True)
class Life:
    """A file while a run of versions listed it: those from `since` up to, without, `until`.

    path: below the table's folder. content: of the whole partition. noted: the commit's metadata.
    """

    path: str
    size: int
    rows: int
    partition: str
    content: str
    since: int
    until: int | None
    noted: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """How it was made, as its name says."""
        return self.path.rpartition("/")[2].rsplit("-", 2)[0]

    def place(self) -> tuple[int, int]:
        """Where it starts and stops among the partition's shards, as its name says."""
        start, stop = self.path.removesuffix(".parquet").split("-")[-2:]
        return int(start), int(stop)

    def needed(self, versions: list[int]) -> list[int]:
        """Those of `versions` (in order) that list it."""
        stop = len(versions) if self.until is None else bisect_left(versions, self.until)
        return versions[bisect_left(versions, self.since) : stop]

    def info(self) -> dict[str, Any]:
        """What the run that committed it noted."""
        found: dict[str, Any] = json.loads(self.noted.get("info", "{}"))
        return found

    def parents(self) -> list[dict[str, Any]]:
        """What it was made from, as the run that committed it noted."""
        found: list[dict[str, Any]] = json.loads(self.noted.get("parents", "[]"))
        return found


class History:
    """A table's lives so far. lost: commits that are missing; damaged: commits that cannot be read."""

    def __init__(self, store: Store, table: str) -> None:
        self.store, self.table = store, table
        self.folder = store.inside(f"{table}/_delta_log")
        self.version = -1
        self.lost: list[str] = []
        self.damaged: list[str] = []
        self._over: list[Life] = []
        self._alive: dict[str, dict[str, Life]] = {}
        self._noted: dict[str, dict[str, Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the commits that were made since the last look."""
        found = self.store.disk.listing(self.folder)
        numbers = {int(match[1]) for info in found if (match := COMMIT.fullmatch(info.base_name))}
        new = range(self.version + 1, max(numbers, default=-1) + 1)
        paths = [f"{self.folder}/{number:020d}.json" for number in new]
        self.lost += [path for number, path in zip(new, paths, strict=True) if number not in numbers]
        for number, path, actions in zip(new, paths, self.store.disk.each(self._read, paths), strict=True):
            if actions is not None:
                self._replay(number, actions)
            elif path not in self.lost:
                self.damaged.append(path)
        self.version = max(numbers, default=self.version)

    def whole(self) -> History:
        """Itself. Raises StoreError if a commit is missing or damaged: then it is not known what old
        versions need."""
        for path in (*self.lost, *self.damaged):
            raise StoreError(
                f"{path} is {'missing' if path in self.lost else 'damaged'}, so what old versions need is "
                "unknown; nothing was removed, bring it back from a backup"
            )
        return self

    def all(self) -> list[Life]:
        """Every life, those of the newest version included."""
        return [*self._over, *self.newest()]

    def needed(self, versions: Iterable[int]) -> list[Life]:
        """The lives of the files that any of these versions lists; a path may come twice."""
        ordered = sorted(versions)
        return [life for life in self.all() if life.needed(ordered)]

    def newest(self, partition: str | None = None) -> list[Life]:
        """The files of the newest version, of one partition if it is given."""
        names = self._alive if partition is None else [f"partition={partition}"]
        return [life for name in names for life in self._alive.get(name, {}).values()]

    def _read(self, path: str) -> list[dict[str, Any]] | None:
        try:
            lines = self.store.disk.read(path).decode().splitlines()
            return [json.loads(line) for line in lines if line]
        except (FileNotFoundError, ValueError):
            return None

    def _replay(self, version: int, actions: list[dict[str, Any]]) -> None:
        noted: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        adds = [action["add"] for action in actions if "add" in action]
        removes = [action["remove"] for action in actions if "remove" in action]
        for path in (unquote(action["path"]) for action in (*removes, *adds)):
            if (old := self._folder(path).pop(path, None)) is not None:
                self._over.append(replace(old, until=version))
        for add in adds:
            path, values = unquote(add["path"]), add["partitionValues"]
            if "fingerprint" in noted:
                self._noted[path] = noted
            self._folder(path)[path] = Life(
                path=path,
                size=add["size"],
                rows=json.loads(add.get("stats") or "{}").get("numRecords", -1),
                partition=values["partition"],
                content=values["content"],
                since=version,
                until=None,
                noted=self._noted.get(path, {}),  # `restore` lists files again, and notes nothing of them
            )

    def _folder(self, path: str) -> dict[str, Life]:
        """The files alive in the folder of `path`."""
        return self._alive.setdefault(path.rpartition("/")[0], {})
