"""The class vocabulary of a data set: name to index, append-only.

Every growth is one more numbered file `_classes/{n}.json` that holds the whole vocabulary, put
where none was. Two processes that grow it at once make one file; the other reads that one and puts
the next. So a name never moves, and reading is one file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyarrow.fs import FileSelector

from storage import files
from storage.errors import StoreError
from storage.store import Store


def vocabulary(store: Store) -> tuple[str, ...]:
    """The class names; a name's place is its index."""
    return _newest(store)[1]


def extend(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """Adds the names that are not there yet, in their order, and returns the whole vocabulary."""
    if "" in names:
        raise StoreError(f"a class of {store.dataset} has an empty name; give it one in the source")
    while True:
        number, known = _newest(store)
        grown = tuple(dict.fromkeys([*known, *names]))
        if grown == known:
            return known
        data = json.dumps(grown, ensure_ascii=False).encode()
        if files.put_if_absent(_file(store, number + 1), files.writer(store.filesystem, data)):
            return grown


def _newest(store: Store) -> tuple[int, tuple[str, ...]]:
    """The newest file's number and its names; -1 and none before the first."""
    folder = store.inside("_classes")
    found = store.filesystem.get_file_info(FileSelector(folder, allow_not_found=True))
    numbers = [int(info.base_name[:6]) for info in found if info.base_name[:1].isdigit()]
    if not numbers:
        return -1, ()
    number = max(numbers)
    return number, tuple(json.loads(files.read_bytes(store.filesystem, _file(store, number))))


def _file(store: Store, number: int) -> str:
    return store.inside(f"_classes/{number:06d}.json")
