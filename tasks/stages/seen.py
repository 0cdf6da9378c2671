"""Whether a content or an id occurred in an earlier partition, without reading all of history every night.

Sixteen neighbouring partitions are merged into a block: the sorted 128-bit keys of what they hold, 16
bytes a row. Sixteen neighbouring blocks merge into a larger one, and so on, so that a night after
10,000 others opens 24 files instead of 10,000 (`python -m benchmarks seen`). A block is a state named by
the digest of the partitions it covers: it is made by whoever first misses it, is right for ever, and
may be deleted. Where an earlier partition changes, the few blocks above it are made again; one that
comes in between moves its successors' places, and their blocks with them.

A key is the first half of a SHA-256. That two different values share one is as unlikely as two rows
getting the same id, which is such a half too: no run will see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.snapshot import Lineup, Window
from storage.store import Store, TableRef
from tasks.stages.hashing import hashed

FAN = 16
"""Partitions in the smallest block, and blocks in a larger one."""

BLOCK_ROWS = 1 << 22
"""The most rows a block holds, 64 MiB of keys; partitions too large to be merged are read themselves."""

STRINGS_AT_ONCE = 1 << 16
"""Python's strings take several times what Arrow's do."""


def seen_before(store: Store, earlier: Sequence[TableRef], values: pa.Array, column: str) -> np.ndarray:
    """Which of some strings occur in `column` of earlier partitions of `rows`; bool (n,). Nulls never do."""
    found = np.zeros(len(values), bool)
    if not len(values) or not earlier:
        return found
    lineup = lineup_of(earlier)
    wanted = keys_of_strings(values, column)
    for window in blocks(lineup):
        if len(window) < FAN:
            found |= occurs_in_files(store, window.refs, values, column)
        else:
            found |= occurs_in(wanted, block(store, window, column))
    return np.asarray(found & values.is_valid().to_numpy(zero_copy_only=False))


def lineup_of(earlier: Sequence[TableRef]) -> Lineup:
    return Lineup({"rows": {ref.partition: ref for ref in earlier}})


def blocks(lineup: Lineup) -> Iterator[Window]:
    """All partitions, as the largest blocks there can be; those that no block takes follow one by one."""
    at, count = 0, len(lineup.names)
    while at < count:
        size, larger = 1, FAN
        while at % larger == 0 and at + larger <= count and window_at(lineup, at, larger).rows <= BLOCK_ROWS:
            size, larger = larger, larger * FAN
        yield window_at(lineup, at, size)
        at += size


def window_at(lineup: Lineup, start: int, size: int) -> Window:
    return lineup.run(start, start + size)["rows"]


def place_of(window: Window, column: str) -> tuple[str, str]:
    """Where a block lies: below its last partition."""
    return window.partitions[-1], f"seen-{column}-{window.digest}"


def block(store: Store, window: Window, column: str) -> np.ndarray:
    """The keys of a block, uint64 (n, 2) in ascending order: as they were saved, else from the blocks that
    it consists of, else from the rows themselves."""
    place = place_of(window, column)
    saved = store.load_state(*place)
    if saved is not None:
        return np.asarray(saved[0]["keys"])
    size = len(window) // FAN
    inner = [window_at(window.lineup, start, size) for start in range(window.start, window.stop, size)]
    if size > 1 and store.has_state(*place_of(inner[0], column)):
        keys = np.concatenate([block(store, part, column) for part in inner])
    else:
        columns = [batch[column] for batch in store.batches(window.refs, [column])]
        keys = keys_of_strings(pa.chunked_array(columns, pa.string()).combine_chunks(), column)
    keys = np.unique(keys, axis=0)
    store.save_state(*place, {"keys": keys}, {"rows": window.rows})
    return keys


def keys_of_strings(values: pa.Array, column: str) -> np.ndarray:
    """The 128-bit key of each string, uint64 (n, 2), the more significant half first; zeros for null."""
    if column != "content_hash":  # which is a SHA-256 already
        values = hashed(pa.table({"value": values}), "sha256(value)")
    digits = pc.utf8_slice_codeunits(values.fill_null("0" * 32), 0, 32)
    halves = np.empty((len(digits), 2), np.uint64)
    for start in range(0, len(digits), STRINGS_AT_ONCE):
        some = "".join(digits.slice(start, STRINGS_AT_ONCE).to_pylist())
        halves[start : start + STRINGS_AT_ONCE] = np.frombuffer(bytes.fromhex(some), ">u8").reshape(-1, 2)
    return halves


def occurs_in(wanted: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which keys, uint64 (n, 2), are among others in ascending order; bool (n,)."""
    first = np.searchsorted(keys[:, 0], wanted[:, 0], side="left")
    last = np.searchsorted(keys[:, 0], wanted[:, 0], side="right")
    found = np.zeros(len(wanted), bool)
    for step in range(int((last - first).max(initial=0))):  # once, but for keys that share a half
        at = np.minimum(first + step, len(keys) - 1)
        found |= (first + step < last) & (keys[at, 1] == wanted[:, 1])
    return found


def occurs_in_files(store: Store, refs: Sequence[TableRef], values: pa.Array, column: str) -> np.ndarray:
    """Which strings occur in the rows themselves; bool (n,)."""
    hits = [
        batch[column].filter(pc.is_in(batch[column], value_set=values))
        for batch in store.batches(refs, [column])
    ]
    together = pa.chunked_array(hits, pa.string())
    return np.asarray(pc.is_in(values, value_set=together).to_numpy(zero_copy_only=False))
