"""Trades for the tests of `flows.jobs`: what a child does, by the name of its partition."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from flows.jobs import Outcome, Tell
from storage.errors import Busy
from tasks.config import Curation
from tasks.errors import StageFailed


def by_name(folder: Path, meet: int = 0) -> Callable[[str, Tell], Outcome]:
    """Notes when it begins and ends each partition, with its process, in `folder`/notes.

    No partition ends before `meet` of them have begun.
    """

    def met() -> bool:
        return (folder / "notes").read_text().count("begins") >= meet

    def note(what: str, partition: str) -> None:
        with (folder / "notes").open("a") as file:
            file.write(f"{what} {partition} {os.getpid()}\n")

    def do(partition: str, tell: Tell) -> Outcome:
        note("begins", partition)
        if partition == "fails":
            raise StageFailed("the label map is shifted")
        if partition == "breaks":
            raise ZeroDivisionError("division by zero")
        if partition == "busy":
            raise Busy("busy of digits is being worked on by somebody", "somebody")
        if partition == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if partition == "killed-once" and not (folder / "once").exists():
            (folder / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if partition == "quits":
            os._exit(3)
        if partition == "endless":
            time.sleep(600)
        deadline = time.monotonic() + 60
        while not met() and time.monotonic() < deadline:
            time.sleep(0.01)
        note("ends", partition)
        return Outcome("done", rows=len(partition), release=None if partition == "left" else 1)

    return do


def of_the_store(curation: Curation, stage: str | None) -> Callable[[str, Tell], Outcome]:
    """The trade above in place of `flows.jobs.curating`: partitions are called what the file `names` beside
    the store says, a line each of a partition and its name there; others end well."""
    folder = Path(curation.store).parent
    do = by_name(folder)

    def renamed(partition: str, tell: Tell) -> Outcome:
        lines = (folder / "names").read_text().splitlines() if (folder / "names").exists() else []
        return do(dict(line.split() for line in lines).get(partition, partition), tell)

    return renamed
