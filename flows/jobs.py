"""Partitions curated in child processes that can be killed.

A child takes a partition, runs its flow, and says how it ended; then the next. Killing it with -9 is
safe at any moment, since a commit is one transaction and finished files are found again, so that is
how a backfill is cancelled: at once, whatever the child is doing. A child that dies by itself (the
machine ran out of memory, somebody killed it) costs its partition another attempt in a new child, and
the backfill nothing. A child whose parent is gone, by whatever signal, ends too: it listens on a pipe
that only the parent holds.

Children are spawned, not forked: threads, Torch and Arrow do not survive a fork. What travels is the
curation once, then names and outcomes. They share the parent's Prefect server.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from storage.errors import Busy, Fenced, StoreError
from storage.ledger import State
from storage.store import Store
from tasks.config import Curation
from tasks.errors import BadInput, StageFailed
from tasks.redaction import redact

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

ATTEMPTS = 3
"""How often a partition is begun whose child dies under it."""

HEEDS_SECONDS = 0.5
"""How long a signal can go unheard that comes just before the wait for the children begins: Python has
looked for signals by then, and the wait itself does not end for one that came before it."""

LIBRARIES = ("torch", "torch._dynamo", "sklearn.metrics", "PIL.Image", "tasks.report.page")
"""What stages import where they need it, which takes seconds: a child does so before it holds a partition,
since what dies under its first piece of work is done again. Torch's optimizers need its compiler."""


@dataclass(frozen=True)
class Outcome:
    """How a partition ended in a child. rows: good rows, or those of the one stage; release: its number."""

    state: State
    error: str | None = None
    seconds: float = 0.0
    rows: int | None = None
    release: int | None = None
    flow_run: str | None = None
    attempts: int = 1


@dataclass(frozen=True)
class Begun:
    """A child tells which flow run of Prefect it is in, so that the parent can close it for a dead child."""

    flow_run_id: str
    flow_run: str


Tell = Callable[[Begun], None]
Trade = Callable[[], Callable[[str, Tell], Outcome]]
"""What children do: called once in each, it returns what does a partition. Sent by name, so no closure."""


class Child:
    """One child process, and the parent's end of the pipe to it."""

    def __init__(self, trade: Trade) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, trade), name="winnow")
        self.process.start()
        theirs.close()  # so that its end of the pipe ends with it
        self.partition: str | None = None
        self.begun: Begun | None = None
        self.since = 0.0

    def take(self, partition: str) -> None:
        self.partition, self.begun, self.since = partition, None, time.monotonic()
        with suppress(BrokenPipeError):  # dead already: `hear` finds out
            self.connection.send(partition)

    def hear(self) -> Outcome | str | None:
        """What it says: the outcome of its partition, or that it is dead, in words; None while it works."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if isinstance(said, Begun):
            self.begun = said
            return None
        assert isinstance(said, Outcome)
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class Crew:
    """A number of children. Use as a context manager: they are dead when it ends, however it ends."""

    def __init__(self, jobs: int, trade: Trade) -> None:
        """Starts them, so that they learn their trade while others still decide what to do."""
        self._trade = trade
        self._children = [self._hire() for _ in range(jobs)]
        self._died: dict[str, int] = {}
        self._cut_off: list[Begun] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()
        for begun in self._cut_off:
            close_flow_run(begun, "cancelled")

    def dismiss(self) -> dict[str, float]:
        """Kills all; the partitions that were under way."""
        under_way = self.under_way
        for child in self._children:
            child.kill()
        self._cut_off += [child.begun for child in self._children if child.begun and child.partition]
        self._children = []
        return under_way

    @property
    def under_way(self) -> dict[str, float]:
        """The partitions that children work on now, and for how many seconds."""
        now = time.monotonic()
        return {child.partition: now - child.since for child in self._children if child.partition}

    def curate(
        self, partitions: Sequence[str], clash: Callable[[str, str], bool]
    ) -> Iterator[tuple[str, Outcome]]:
        """Curates all, and yields each with its outcome as it ends.

        A partition begins once no earlier one of the list that it would `clash` with is left.
        """
        waiting = list(partitions)
        while waiting or self.under_way:
            for child in self._children:
                partition = self._next(waiting, clash) if child.partition is None else None
                if partition is not None:
                    waiting.remove(partition)
                    child.take(partition)
            ready = wait([c.connection for c in self._children if c.partition], HEEDS_SECONDS)
            for number, child in enumerate(self._children):
                if child.connection not in ready or (said := child.hear()) is None:
                    continue
                partition, child.partition = child.partition, None
                assert partition is not None
                if isinstance(said, Outcome):
                    died = self._died.get(partition, 0)
                    yield partition, replace(said, attempts=said.attempts + died)
                    continue
                self._children[number] = self._hire()
                child.connection.close()
                if child.begun:
                    close_flow_run(child.begun, "crashed")
                died = self._died[partition] = self._died.get(partition, 0) + 1
                if died < ATTEMPTS:
                    waiting.insert(0, partition)
                else:
                    yield partition, Outcome("failed", gone(partition, said, died), attempts=died)

    def _hire(self) -> Child:
        return Child(self._trade)

    def _next(self, waiting: Sequence[str], clash: Callable[[str, str], bool]) -> str | None:
        """The first that may begin. Only a few are looked at: no more than there are children can begin."""
        ahead = list(self.under_way)
        for partition in waiting[: 4 * len(self._children)]:
            if not any(clash(partition, other) for other in ahead):
                return partition
            ahead.append(partition)
        return None


def gone(partition: str, how: str, times: int) -> str:
    """The error of a partition whose children die."""
    return (
        f"the process that curated {partition} {how}, {times} times; if the machine ran out of memory, "
        "use fewer --jobs, fewer runner.workers or a smaller runner.shard_rows"
    )


# In the child


def serve(connection: Connection, trade: Trade) -> None:
    """The child's life: partitions in, outcomes out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; it kills its children
    partitions: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, partitions), name="parent", daemon=True).start()
    curate = trade()
    while True:
        partition, started = partitions.get(), time.monotonic()
        try:
            outcome = curate(partition, connection.send)
        except Exception as error:
            outcome = judged(error)
        connection.send(replace(outcome, seconds=time.monotonic() - started))


def listen(connection: Connection, partitions: queue.SimpleQueue[str]) -> None:
    """Hand on what the parent sends; its death ends the process in the middle of whatever it does."""
    try:
        while True:
            partitions.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def judged(error: Exception) -> Outcome:
    """The outcome that an error stands for. Left to another run is not failed."""
    from tasks.teach import BadTraining

    text = redact(str(error))
    if isinstance(error, Busy | Fenced):
        return Outcome("skipped", text)
    if isinstance(error, BadInput | BadTraining | StageFailed | StoreError):
        return Outcome("failed", text)
    first = next(iter(text.splitlines()), "") or "no message"
    where = "`winnow run --verbose` shows where"
    return Outcome("failed", f"unexpected {type(error).__name__}: {first}; {where}")


def curating(curation: Curation, stage: str | None = None) -> Callable[[str, Tell], Outcome]:
    """The trade of curating partitions, or of bringing their one stage up to date."""
    for name in [name for name in os.environ if name.startswith("PREFECT__")]:
        del os.environ[name]  # the parent's own flow run, and the channel over which it is cancelled
    for library in LIBRARIES:
        importlib.import_module(library)

    from flows.curate import curate, one_stage
    from flows.engine import task_runner

    store = Store(curation.store, curation.dataset)

    def do(partition: str, tell: Tell) -> Outcome:
        begun: list[Begun] = []

        def running(flow: Any, run: Any, state: Any) -> None:
            begun.append(Begun(str(run.id), run.name))
            tell(begun[-1])

        options: dict[str, Any] = {"task_runner": task_runner(curation), "on_running": [running]}
        try:
            if stage is not None:
                ref = one_stage.with_options(**options)(curation, partition, stage)
                outcome = Outcome("done", rows=ref.rows if ref else None)
            else:
                release = curate.with_options(**options)(curation, partition)
                rows = store.ref("rows", partition)
                number = release.number if release else None
                outcome = Outcome("done", rows=rows.rows if rows else None, release=number)
        except Exception as error:
            outcome = judged(error)
        return replace(outcome, flow_run=begun[-1].flow_run if begun else None)

    return do


def divided(curation: Curation, jobs: int) -> Curation:
    """The curation with its workers shared out among jobs; how many there are changes no byte."""
    runner = curation.runner.model_copy(update={"workers": max(1, curation.runner.workers // jobs)})
    return curation.model_copy(update={"runner": runner})


def close_flow_run(begun: Begun, how: str) -> None:
    """Tell Prefect how the flow run of a dead child ended, which would else be running for ever."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State as PrefectState
    from prefect.exceptions import PrefectException
    from prefect.states import Cancelled, Crashed

    state: PrefectState[Any]
    state = Cancelled() if how == "cancelled" else Crashed(message="the process was killed")
    # What Prefect shows is no part of the result, and its server may be gone as well.
    with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        client.set_flow_run_state(begun.flow_run_id, state, force=True)
