"""One look at a store: what every partition holds, and what any run of partitions comes to.

Whoever plans ten thousand partitions asks ten thousand times for "all of this table up to here". A
window answers from prefix sums: its rows and its digest are differences of two of them, and its
references are listed only for the few partitions that then run. The digest of a window is the sum,
modulo 2**128, of a hash of each (partition, content) in it: a set has one digest, whatever the
order in which its members arrived.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from storage.classes import first_names, vocabulary
from storage.store import Store, TableRef

MODULUS = 1 << 128


class Snapshot:
    """The newest committed state of the tables, each read once, when first asked for.

    `given` are references that take the place of what the log says, such as those a flow hands over.
    """

    def __init__(self, store: Store, given: Sequence[TableRef] = ()) -> None:
        self.store = store
        self._given = given
        self._tables: dict[str, dict[str, TableRef]] = {}
        self._lineups: dict[tuple[str, ...], Lineup] = {}

    def refs(self, table: str) -> Mapping[str, TableRef]:
        """Every partition's reference, in name order."""
        if table not in self._tables:
            found = {ref.partition: ref for ref in self.store.refs(table)}
            found |= {ref.partition: ref for ref in self._given if ref.table == table}
            self._tables[table] = dict(sorted(found.items()))
        return self._tables[table]

    def ref(self, table: str, partition: str) -> TableRef | None:
        return self.refs(table).get(partition)

    def lineup(self, *tables: str) -> Lineup:
        """The partitions that have every one of `tables`."""
        if tables not in self._lineups:
            self._lineups[tables] = Lineup({table: self.refs(table) for table in tables})
        return self._lineups[tables]

    def own(self, table: str, partition: str) -> Window | None:
        """One partition of a table as a window; None where it is not there."""
        lineup = self.lineup(table)
        place = lineup.places.get(partition)
        return None if place is None else Window(lineup, table, place, place + 1)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class vocabulary."""
        return vocabulary(self.store)

    @cached_property
    def first_classes(self) -> tuple[str, ...]:
        """The class vocabulary as fingerprints know it: another name for a class makes nothing stale."""
        return first_names(self.store)


class Lineup:
    """The partitions that all of some tables have, in name order."""

    def __init__(self, tables: Mapping[str, Mapping[str, TableRef]]) -> None:
        first, *others = tables.values()
        self.names = [name for name in first if all(name in other for other in others)]
        self.refs = {table: [refs[name] for name in self.names] for table, refs in tables.items()}
        self.sums = {
            table: list(accumulate(map(_hash, refs), lambda a, b: (a + b) % MODULUS, initial=0))
            for table, refs in self.refs.items()
        }
        self.rows = {
            table: list(accumulate((ref.rows for ref in refs), initial=0))
            for table, refs in self.refs.items()
        }

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each partition."""
        return {name: number for number, name in enumerate(self.names)}

    def up_to(self, partition: str, last: int | None = None) -> dict[str, Window]:
        """The partitions up to and with `partition`, the `last` of those; a window a table."""
        stop = bisect_right(self.names, partition)
        return self.run(max(stop - last, 0) if last else 0, stop)

    def before(self, partition: str, last: int | None = None) -> dict[str, Window]:
        """The partitions earlier by name, the `last` of those; a window a table."""
        stop = bisect_left(self.names, partition)
        return self.run(max(stop - last, 0) if last else 0, stop)

    def between(self, first: str, last: str) -> dict[str, Window]:
        """The partitions from `first` to `last`, both with; a window a table."""
        return self.run(bisect_left(self.names, first), bisect_right(self.names, last))

    def run(self, start: int, stop: int) -> dict[str, Window]:
        """The partitions from number `start` to `stop` in name order; a window a table."""
        return {table: Window(self, table, start, stop) for table in self.refs}


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring partitions of a table, in name order; may be empty."""

    lineup: Lineup
    table: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def partitions(self) -> list[str]:
        return self.lineup.names[self.start : self.stop]

    @property
    def first(self) -> str:
        """The earliest of at least one partition, by name."""
        return self.lineup.names[self.start]

    @property
    def refs(self) -> tuple[TableRef, ...]:
        return tuple(self.lineup.refs[self.table][self.start : self.stop])

    @property
    def rows(self) -> int:
        sums = self.lineup.rows[self.table]
        return sums[self.stop] - sums[self.start]

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of what the partitions are called and contain."""
        sums = self.lineup.sums[self.table]
        return f"{(sums[self.stop] - sums[self.start]) % MODULUS:032x}"

    @property
    def summary(self) -> list[dict[str, Any]]:
        """What a commit notes of it: its newest partition, and the window's extent where there are more."""
        if not len(self):
            return []
        newest = asdict(self.lineup.refs[self.table][self.stop - 1])
        if len(self) == 1:
            return [newest]
        extent = {"from": self.lineup.names[self.start], "partitions": len(self), "rows": self.rows}
        return [{**newest, "window": {**extent, "digest": self.digest}}]


def _hash(ref: TableRef) -> int:
    text = f"{ref.partition}\n{ref.content}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")
