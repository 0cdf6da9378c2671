"""Who may work on a partition: leases with generations.

    with lease(store, "2026-11-22", wait_seconds=0, holder_text="nightly run abc") as held:
        ...
        held.check()        # before anything that others would see

A lease is a file `_leases/{name}/{generation}.json`. Taking it means putting the next generation's
file where none is: one process can, whatever the clocks say. The holder touches its file every two
seconds; a holder that has not for thirty is taken for gone, one whose process has ended on this
machine is known to be gone at once (a process is its number and its start time, as numbers are
used again). Ages are measured against the file server's clock, by comparing two of its files.

A lease saves work; it does not protect data. A holder that slept through a take-over finds a later
generation in `check`, and if it never looks, the store's commit refuses it all the same. A holder
that was merely slow, and was not taken over, goes on.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from storage import files
from storage.errors import Busy, Fenced, StoreError
from storage.store import Store

BEAT_SECONDS = 2.0
EXPIRES_SECONDS = 30.0
POLL_SECONDS = 0.2


class Lease:
    """A lease that is held. Made by `lease`, not by hand."""

    def __init__(self, store: Store, name: str, generation: int, facts: dict[str, Any]) -> None:
        self.store, self.name, self.generation = store, name, generation
        self._facts = facts
        self._path = _file(store, name, generation)
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raises Fenced if somebody else took the lease since."""
        if _generations(self.store, self.name)[-1:] != [self.generation]:
            raise Fenced(
                f"the lease on {self.name} of {self.store.dataset} was taken over while this process was "
                "away; its work is left to the new holder"
            )

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            # A file that is gone, or that cannot be touched just now, is for `check` and the expiry to judge.
            with suppress(OSError, StoreError):
                self.store.disk.touch(self._path, _written(self._facts))

    def _release(self) -> None:
        """Stops the heart, and says in the file that the lease is free."""
        self._over.set()
        self._heart.join()
        if _generations(self.store, self.name)[-1:] == [self.generation]:
            data = _written({**self._facts, "released": True})
            # On a full disk the lease runs out by itself; what filled the disk is the error to hear of.
            with suppress(StoreError):
                self.store.disk.write_whole(self._path, files.writer(data))


@contextmanager
def lease(store: Store, name: str, wait_seconds: float, holder_text: str) -> Iterator[Lease]:
    """Holds the lease `name` for the length of a `with` block.

    Waits up to `wait_seconds` for another holder to end, then raises Busy, which says who it is.
    `holder_text` is what others are told about this one.
    """
    held = _take(store, files.checked(name, "lease"), wait_seconds, holder_text)
    try:
        yield held
    finally:
        held._release()


def live(store: Store, name: str) -> str | None:
    """Who holds the lease `name` now, in words; None if nobody does."""
    generations = _generations(store, files.checked(name, "lease"))
    return _holder(store, name, generations[-1]) if generations else None


def _take(store: Store, name: str, wait_seconds: float, holder_text: str) -> Lease:
    deadline = time.monotonic() + wait_seconds
    facts = {
        "holder": holder_text,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "place": _place(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    while True:
        generations = _generations(store, name)
        holder = _holder(store, name, generations[-1]) if generations else None
        if holder is None:
            generation = generations[-1] + 1 if generations else 1
            path = _file(store, name, generation)
            if store.disk.put_if_absent(path, files.writer(_written(facts))):
                now = _generations(store, name)
                if now[-1:] == [generation]:
                    for older in now[:-1]:
                        with suppress(FileNotFoundError):
                            store.disk.remove(_file(store, name, older))
                    return Lease(store, name, generation, facts)
                store.disk.remove(path)  # later ones came and went between our look and our put
            continue
        if time.monotonic() >= deadline:
            raise Busy(
                f"{name} of {store.dataset} is being worked on by {holder}; wait for it to end", holder
            )
        time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0.01)))


def _holder(store: Store, name: str, generation: int) -> str | None:
    """Who holds that generation, in words; None if it was released, its holder is gone, or it expired."""
    path = _file(store, name, generation)
    try:
        facts = json.loads(store.disk.read(path))
    except FileNotFoundError:  # a later generation exists and its holder cleaned up
        return f"somebody who took over from generation {generation}"
    here = facts["place"] is not None and facts["place"] == _place()
    if facts.get("released") or (here and _started(facts["pid"]) != facts["started"]):
        return None
    if _age(store, path) > EXPIRES_SECONDS:
        return None
    return f"{facts['holder']} (process {facts['pid']} on {facts['host']}, since {facts['since']})"


def _age(store: Store, path: str) -> float:
    """Seconds since the file was touched, by the clock of the disk it is on."""
    now = store.disk.now(os.path.dirname(path))
    try:
        return now - store.disk.modified(path)
    except FileNotFoundError:
        return 0.0


def _generations(store: Store, name: str) -> list[int]:
    """The generations there are of a lease, in order; all but the newest are of the past."""
    names = store.disk.names(os.path.dirname(_file(store, name, 0)))
    return sorted(int(name.removesuffix(".json")) for name in names if name[:1].isdigit())


def _written(facts: dict[str, Any]) -> bytes:
    """What a lease's file holds."""
    return json.dumps(facts).encode()


def _file(store: Store, name: str, generation: int) -> str:
    return store.inside(f"_leases/{name}/{generation:08d}.json")


@cache
def _place() -> str | None:
    """What makes process numbers comparable: this boot of this kernel and this set of processes."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process of this place started, in clock ticks after boot; None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            after_name = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in "ZX" else after_name[19]
