"""The class vocabulary of a data set: name to index, append-only.

Every growth is one more numbered file `_classes/{n}.json` that holds the whole vocabulary, put
where none was. Two processes that grow it at once make one file; the other reads that one and puts
the next. So an index never changes its meaning, and reading is one file.

A class may get a new name; its place then holds the names it had, today's last. Readers see today's,
rows that arrive under a former one are still of that class, and what was computed before stays up to
date, because fingerprints go by the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from storage import files
from storage.errors import StoreError
from storage.store import Store


def vocabulary(store: Store) -> tuple[str, ...]:
    """The class names of today; a name's place is its index."""
    return tuple(names[-1] for names in _newest(store)[1])


def first_names(store: Store) -> tuple[str, ...]:
    """The names that the classes came with: the same before and after a renaming."""
    return tuple(names[0] for names in _newest(store)[1])


def former_names(store: Store) -> dict[str, str]:
    """Every name that a class no longer has, to the one it has today."""
    return {old: names[-1] for names in _newest(store)[1] for old in names if old != names[-1]}


def extend(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """Adds the names that no class has or had, in their order, and returns the whole vocabulary."""
    if "" in names:
        raise StoreError(f"a class of {store.dataset} has an empty name; give it one in the source")

    def grown(known: list[list[str]]) -> list[list[str]]:
        taken = {name for names in known for name in names}
        return [*known, *([name] for name in dict.fromkeys(names) if name not in taken)]

    return _put(store, grown)


def rename(store: Store, names: Mapping[str, str]) -> tuple[str, ...]:
    """Gives classes other names, old to new, and returns the whole vocabulary.

    Only a class that is known under the old name gets the new one, and only one that no other class
    has or had: two classes never become one.
    """

    def renamed(known: list[list[str]]) -> list[list[str]]:
        for old, new in names.items():
            own = next((at for at, had in enumerate(known) if old in had), None)
            others = {name for at, had in enumerate(known) if at != own for name in had}
            if own is not None and new not in others and new != known[own][-1]:
                known = [*known[:own], [*known[own], new], *known[own + 1 :]]
        return known

    return _put(store, renamed)


def _put(store: Store, change: Callable[[list[list[str]]], list[list[str]]]) -> tuple[str, ...]:
    """Puts the next file with the changed vocabulary, unless the change changes nothing."""
    while True:
        number, known = _newest(store)
        changed = change(known)
        if changed == known:
            return tuple(names[-1] for names in known)
        entries = [names if len(names) > 1 else names[0] for names in changed]
        data = json.dumps(entries, ensure_ascii=False).encode()
        if store.disk.put_if_absent(_file(store, number + 1), files.writer(data)):
            return tuple(names[-1] for names in changed)


def _newest(store: Store) -> tuple[int, list[list[str]]]:
    """The newest file's number and each class's names; -1 and none before the first."""
    names = store.disk.names(store.inside("_classes"))
    numbers = [int(name[:6]) for name in names if name[:1].isdigit()]
    if not numbers:
        return -1, []
    number = max(numbers)
    entries = json.loads(store.disk.read(_file(store, number)))
    return number, [[entry] if isinstance(entry, str) else entry for entry in entries]


def _file(store: Store, number: int) -> str:
    return store.inside(f"_classes/{number:06d}.json")
