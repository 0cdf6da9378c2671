"""What is kept beside the data: states, parents, class names, releases, pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pyarrow.fs import FileInfo

from storage import states, tree
from storage.doctor.look import BACKUP, SHOWN, Finding, Look
from storage.history import Life
from storage.store import Store


def fitted(look: Look) -> Iterator[Finding]:
    """States that a needed version needs and that are gone, and states that are damaged."""
    there = look.there.get("_states", [])
    names = [f"{partition}/{info.base_name}" for partition, info in there]
    for start, (table, partition) in sorted(_wanted(look).items()):
        if not any(name.startswith(start) for name in names):
            path = f"{look.store.path}/_states/{start}"
            words = f"no file's path starts with {path}, and {table} of {partition} needs it"
            remedy = f"run partition {partition} again with --force"
            yield Finding("missing_state", words, remedy, table, partition, path)
    finished = [(name, info) for name, info in there if info.base_name.endswith(".safetensors")]
    whole = look.store.disk.each(lambda item: _is_whole(look.store, item[1]), finished)
    for (name, info), good in zip(finished, whole, strict=True):
        if not good:
            remedy = f"delete it and run partition {name} again with --force"
            words = f"{info.path} is no whole state any more"
            yield Finding("damaged_state", words, remedy, partition=name, path=info.path)


def _wanted(look: Look) -> dict[str, tuple[str, str]]:
    """The starts of the paths of states that needed versions name, each with a table and a partition."""
    return {
        start: (table, life.partition)
        for table, history in look.sound()
        for life in history.needed(look.versions(table))
        for start in life.info().get("states", [])
    }


def _is_whole(store: Store, info: FileInfo) -> bool:
    with store.filesystem.open_input_file(info.path) as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        return length < info.size and states.is_whole(start + file.read(length), info.size)


def parents(look: Look) -> Iterator[Finding]:
    """Partitions made from something that the store does not hold, and the tables that are stale."""
    held: dict[tuple[str, str], list[Life]] = {}
    for table, history in look.sound():
        for life in history.all():
            held.setdefault((table, life.partition), []).append(life)
    for table, history in look.sound():
        stale = []
        for partition, life in sorted({life.partition: life for life in history.newest()}.items()):
            for parent in life.parents():
                known = held.get((parent["table"], parent["partition"]), [])
                then = {past.content for past in known if past.needed([parent["version"]])}
                now = {past.content for past in known if past.until is None}
                if parent["table"] in look.broken or parent["content"] in now & then:
                    continue
                if parent["content"] in then and now:
                    stale.append(partition)
                else:
                    yield _broken(table, partition, parent)
        if stale:
            yield _stale(table, list(dict.fromkeys(stale)))


def _broken(table: str, partition: str, parent: Mapping[str, Any]) -> Finding:
    source = f"{parent['table']} of {parent['partition']}"
    words = f"{table} of {partition} was made from {source} at version {parent['version']}"
    remedy = f"run partition {parent['partition']} again, then {partition}"
    return Finding("broken_parent", f"{words}, which the store does not hold", remedy, table, partition)


def _stale(table: str, partitions: list[str]) -> Finding:
    more = f" and {len(partitions) - SHOWN:,} more" if len(partitions) > SHOWN else ""
    words = f"{table} of {', '.join(partitions[:SHOWN])}{more} was made from inputs that changed since"
    return Finding("stale", words, "nothing is broken; `winnow plan` says what would run", table)


def vocabularies(look: Look) -> Iterator[Finding]:
    """The first vocabulary that is damaged, missing in between, or gives an index another meaning."""
    before: list[list[str]] = []
    found = [info for info in tree.children(look.store, "_classes") if info.base_name[:1].isdigit()]
    for number, info in enumerate(found):
        path = look.store.inside(f"_classes/{number:06d}.json")
        if info.path != path:
            yield Finding(
                "missing_classes", f"{path} is missing, and later ones are there", BACKUP, path=path
            )
            return
        names = _names(look.store, path)
        if names is None:
            yield Finding("damaged_classes", f"{path} is no list of class names", BACKUP, path=path)
            return
        for index, had in enumerate(before):
            has = names[index] if index < len(names) else []
            if has[: len(had)] != had:
                now = repr(has[-1]) if has else "nothing"
                words = f"{path} gives class {index}, which was {had[-1]!r}, to {now}"
                yield Finding("changed_classes", words, BACKUP, path=path)
                return
        before = names


def _names(store: Store, path: str) -> list[list[str]] | None:
    """The names that each class had, as `storage.classes` keeps them; None if that is no vocabulary."""
    try:
        entries = json.loads(store.disk.read(path))
    except ValueError:
        return None
    if not isinstance(entries, list):
        return None
    names = [entry if isinstance(entry, list) else [entry] for entry in entries]
    good = all(had and all(isinstance(name, str) and name for name in had) for had in names)
    return names if good else None


def published(look: Look) -> Iterator[Finding]:
    """Releases that name versions which do not exist."""
    for release in look.kept:
        for table, version in release.versions.items():
            history = look.histories.get(table)
            if table in look.broken or (history and 0 <= version <= history.version):
                continue
            why = f"the newest is {history.version}" if history else f"there is no {table}"
            words = f"release {release.number} names version {version} of {table}, but {why}"
            remedy = f"bring {table} back from a backup, or roll back to a release that can be read"
            yield Finding("broken_release", words, remedy, table, release.partition)


def pages(look: Look) -> Iterator[Finding]:
    """Partitions with figures and without a page."""
    have = {name for name, info in look.there.get("_reports", []) if info.base_name.endswith(".html")}
    for table, history in look.sound():
        if table == "metrics":
            for partition in sorted({life.partition for life in history.newest()} - have):
                path = f"{look.store.path}/_reports/{partition}"
                remedy = f"run stage report of partition {partition} again with --force"
                yield Finding("missing_report", f"{path} holds no page", remedy, table, partition, path)
