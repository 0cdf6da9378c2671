"""What is wrong with a store, and what to do about each thing.

`examine` looks and changes nothing. It reads every log once, lists every folder once, and opens the
footer of each file that a table's newest version or a release needs; `deep` reads their rows too, and
compares them with the content hash that was committed. `mend` removes what nobody can miss: files that
no version lists and whose partition nobody works on, unfinished files, leases of the dead. All else is
for a person, since it takes a run or a backup, and each finding says which.

Old versions' files that wait for vacuum are nothing wrong, and neither is a partition that was made
from inputs that changed since: it is stale, which is told as a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from storage.doctor import litter, records, shards
from storage.doctor.litter import mend
from storage.doctor.look import Finding, Look, look_at
from storage.store import Store

__all__ = ["Finding", "examine", "mend"]

CHECKS: list[Callable[[Look], Iterable[Finding]]] = [
    shards.logs,
    shards.links,
    shards.shards,
    records.fitted,
    records.parents,
    records.vocabularies,
    records.published,
    records.pages,
    litter.held_leases,
    litter.orphans,
    litter.unfinished,
]
"""What is broken first, what lies about last."""


def examine(store: Store, deep: bool = False) -> list[Finding]:
    """All that is wrong with a store, what is broken first; `deep` reads every needed row."""
    look = look_at(store)
    checks = [*CHECKS, shards.contents] if deep else CHECKS
    return [finding for check in checks for finding in check(look)]
