"""What lies in a data set's folders, whether or not a table lists it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pyarrow.fs import FileInfo, FileType

from storage.errors import StoreError
from storage.store import Store

NAMED = re.compile(r"[A-Za-z0-9][^/]*")
"""What the store calls its folders; Delta's log and hidden folders are not its own."""


def children(store: Store, folder: str) -> list[FileInfo]:
    """What a folder of the data set holds, in name order; nothing if there is none. Raises StoreError
    if a link leads out of the store."""
    found = store.disk.listing(store.inside(folder))
    return sorted(found, key=lambda info: str(info.base_name))


def folders(store: Store, folder: str, prefix: str = "") -> list[str]:
    """The names of the folders in a folder that a partition, or a lease, could have."""
    names = [info.base_name for info in children(store, folder) if info.type == FileType.Directory]
    return [name for name in names if name.startswith(prefix) and NAMED.fullmatch(name.removeprefix(prefix))]


def files(
    store: Store, folder: str, prefix: str = "", only: Iterable[str] | None = None
) -> Iterator[tuple[str, FileInfo]]:
    """Every file one folder below `folder` (`only`: in those folders), with that folder's name less the
    prefix; never beyond a link. Raises StoreError if a link leads out of the store."""
    found, links = look(store, folder, prefix, only)
    for error in links.values():
        raise error
    yield from found


def look(
    store: Store, folder: str, prefix: str = "", only: Iterable[str] | None = None
) -> tuple[list[tuple[str, FileInfo]], dict[str, StoreError]]:
    """Like `files`, and the links that lead out of the store, by the path of the folder."""

    def listed(name: str) -> list[FileInfo] | StoreError:
        try:
            return children(store, f"{folder}/{name}")
        except StoreError as error:
            return error

    found: list[tuple[str, FileInfo]] = []
    links: dict[str, StoreError] = {}
    names = folders(store, folder, prefix) if only is None else [f"{prefix}{name}" for name in only]
    for name, infos in zip(names, store.disk.each(listed, names), strict=True):
        if isinstance(infos, StoreError):
            links[f"{store.path}/{folder}/{name}"] = infos
            continue
        found += [(name.removeprefix(prefix), i) for i in infos if i.type != FileType.Directory]
    return found, links
