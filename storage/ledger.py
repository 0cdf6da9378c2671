"""What was asked of a data set, and how each partition ended: runs, plans and receipts.

    {root}/{dataset}/_runs/{run}/plan.json                    written before anything runs
    {root}/{dataset}/_runs/{run}/{partition}.{state}.json     a partition's receipt
    {root}/{dataset}/_runs/{run}/{state}.json                 the run's own, once it has ended

The state stands in the name of the file and the kind of run and what was asked in the name of the
folder, so one listing tells how ten thousand partitions stand and no file is opened for it. A run
without a receipt of its own that nobody holds was killed: its plan says what it still owed.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from storage import files, tree
from storage.errors import StoreError
from storage.leases import live
from storage.store import Store

Kind = Literal["nightly", "backfill", "run"]
State = Literal["done", "failed", "skipped", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
"""The first wins where a crash between two writes left a partition with two receipts."""

KEEP = 100
"""Runs of each kind that are kept."""


@dataclass(frozen=True)
class Planned:
    """A run: what was asked, and the partitions it is about, each with the reason."""

    run: str
    options: Mapping[str, Any]
    partitions: Mapping[str, str]
    created_at: str
    host: str
    pid: int

    @property
    def kind(self) -> Kind:
        return kind_of(self.run)


@dataclass(frozen=True)
class Receipt:
    """How a partition ended. seconds: of the last attempt; stages: those that had to run."""

    partition: str
    state: State
    error: str | None = None
    seconds: float | None = None
    rows: int | None = None
    release: int | None = None
    attempt: int = 1
    started_at: str | None = None
    ended_at: str | None = None
    flow_run: str | None = None
    stages: tuple[str, ...] = ()


class Ledger:
    """The runs of one data set."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # Runs

    def begin(self, kind: Kind, options: Mapping[str, Any], partitions: Mapping[str, str]) -> Planned:
        """Write a new run's plan, and forget the oldest runs of its kind."""
        now = datetime.now(UTC)
        host, pid = socket.gethostname(), os.getpid()
        while True:
            run = f"{now:%Y%m%dT%H%M%S.%f}-{kind}-{digest(options)}"
            planned = Planned(run, options, partitions, stamp(now), host, pid)
            if self.store.disk.put_if_absent(self._file(run, "plan"), self._writer(asdict(planned))):
                break
            now += timedelta(microseconds=1)
        for old in self.runs(kind)[:-KEEP]:
            with suppress(FileNotFoundError):  # another run forgets it at the same moment
                self.store.filesystem.delete_dir(self._folder(old))
        return planned

    def resume(self, planned: Planned, added: Mapping[str, str]) -> Planned:
        """Take a run up again: its plan grows by `added`, and it has not ended any more."""
        again = Planned(
            planned.run,
            planned.options,
            {**planned.partitions, **added},
            planned.created_at,
            socket.gethostname(),
            os.getpid(),
        )
        self.store.disk.write_whole(self._file(planned.run, "plan"), self._writer(asdict(again)))
        for state in STATES:
            self._remove(self._file(planned.run, state))
        return again

    def end(self, run: str, state: State, reason: str | None = None) -> None:
        """Write the run's own receipt. Of a cancelled run it stands for all partitions that have none."""
        ended = {"state": state, "reason": reason, "ended_at": stamp(datetime.now(UTC))}
        self.store.disk.write_whole(self._file(run, state), self._writer(ended))

    def runs(self, kind: Kind | None = None) -> list[str]:
        """The names of all runs, oldest first."""
        found = tree.folders(self.store, "_runs")
        return sorted(run for run in found if run.count("-") == 2 and kind in (None, kind_of(run)))

    def newest(self, kind: Kind, options: Mapping[str, Any]) -> Planned | None:
        """The newest run of which exactly this was asked."""
        same = [run for run in self.runs(kind) if run.endswith(f"-{digest(options)}")]
        return self.planned(same[-1]) if same else None

    def planned(self, run: str) -> Planned | None:
        """A run's plan; None where there is no such run, or one that died before it had a plan."""
        found = self._read(run, "plan")
        return Planned(**found) if found else None

    def ended(self, run: str) -> State | None:
        """How a run ended; None while it is under way, and where it was killed."""
        return self._listed(run)[1]

    def under_way(self, run: str) -> str | None:
        """Who is at work on a run just now, in words."""
        if self.ended(run):
            return None
        if kind_of(run) == "run":  # of one partition, whose lease is its own
            planned = self.planned(run)
            holders = [live(self.store, partition) for partition in planned.partitions] if planned else []
            return next(filter(None, holders), None)
        same = [other for other in self.runs(kind_of(run)) if lease_of(other) == lease_of(run)]
        return live(self.store, lease_of(run)) if same[-1:] == [run] else None

    # Receipts

    def record(self, run: str, receipt: Receipt, replaces: State | None = None) -> None:
        """Write a partition's receipt, in place of the one of state `replaces` that it has."""
        name = files.checked(receipt.partition, "partition")
        self.store.disk.write_whole(self._file(run, f"{name}.{receipt.state}"), self._writer(asdict(receipt)))
        if replaces not in (None, receipt.state):
            self._remove(self._file(run, f"{name}.{replaces}"))

    def states(self, run: str) -> dict[str, State]:
        """How each partition of a run ended, those that have, from one listing."""
        return self._listed(run)[0]

    def receipt(self, run: str, partition: str) -> Receipt | None:
        """A partition's receipt; None where it has not ended."""
        for state in STATES:
            found = self._read(run, f"{partition}.{state}")
            if found:
                return Receipt(**{**found, "stages": tuple(found["stages"])})
        return None

    def receipts(self, run: str, state: State, last: int | None = None) -> list[Receipt]:
        """The receipts of that state, in name order, the `last` of those."""
        names = sorted(name for name, found in self.states(run).items() if found == state)
        chosen = names if last is None else names[-last:]
        return [found for name in chosen if (found := self.receipt(run, name))]

    def unfinished(self) -> dict[str, tuple[str, str]]:
        """The partitions whose newest receipt over all runs is failed or cancelled, and those that a run
        which has ended still owed; each with how it ended and the run.

        How: failed, cancelled, never ran, or interrupted, of a run that was killed.
        """
        found: dict[str, tuple[str, str] | None] = {}
        for run in reversed(self.runs()):
            states, ended = self._listed(run)
            for partition, state in states.items():
                found.setdefault(partition, (state, run) if state in ("failed", "cancelled") else None)
            if ended in (None, "cancelled") and (planned := self.planned(run)):
                owed = ("never ran" if ended else "interrupted", run)
                under_way = ended is None and self.under_way(run)
                for partition in planned.partitions:
                    found.setdefault(partition, None if under_way else owed)
        return {partition: what for partition, what in sorted(found.items()) if what}

    def seconds(self, most: int = 200) -> list[tuple[tuple[str, ...], float]]:
        """(stages, seconds) of up to `most` partitions that were done, of the newest runs."""
        found: list[tuple[tuple[str, ...], float]] = []
        for receipt in self._done():
            if receipt.seconds is not None:
                found.append((receipt.stages, receipt.seconds))
            if len(found) >= most:
                break
        return found

    def _done(self) -> Iterator[Receipt]:
        for run in reversed(self.runs()):
            yield from self.receipts(run, "done", last=50)

    # Files

    def _listed(self, run: str) -> tuple[dict[str, State], State | None]:
        """Each partition's state, and the run's own."""
        found: dict[str, State] = {}
        own: State | None = None
        names = set(self.store.disk.names(self.store.inside(f"_runs/{run}")))
        for state in reversed(STATES):
            suffix = f".{state}.json"
            found |= {name.removesuffix(suffix): state for name in names if name.endswith(suffix)}
            own = state if f"{state}.json" in names else own
        return found, own

    def _folder(self, run: str) -> str:
        return self.store.inside(f"_runs/{files.checked(run, 'run')}")

    def _file(self, run: str, name: str) -> str:
        return f"{self._folder(run)}/{name}.json"

    def _writer(self, content: Mapping[str, Any]) -> Any:
        return files.writer(json.dumps(content, indent=1).encode())

    def _read(self, run: str, name: str) -> dict[str, Any] | None:
        path = self._file(run, name)
        try:
            found: dict[str, Any] = json.loads(self.store.disk.read(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{path} is no JSON ({error}); delete {run} to go on without it") from None
        return found

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.store.filesystem.delete_file(path)


def kind_of(run: str) -> Kind:
    kind: Kind = run.split("-")[1]  # type: ignore[assignment]
    return kind


def lease_of(run: str) -> str:
    """The lease that who works on the run holds: one for all runs of which the same was asked."""
    _, kind, asked = run.split("-")
    return f"{kind}.{asked}"


def digest(options: Mapping[str, Any]) -> str:
    """8 hexadecimal digits of what was asked."""
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
