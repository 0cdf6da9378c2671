"""Which pieces of work were begun and finished, by which process: also of processes that were killed.

A piece is one call of a stage's `fit` or `apply`. Every process that Python starts in `environment`
appends a line to a file of its own when a piece begins and when it ends, before it goes on, so that
what was under way at a kill is known. The program itself is not changed and does not know: Python
imports a module called `sitecustomize` at each start, and this is in it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Piece:
    """One call. name: what it computes, the same for every call that computes it; ended: None if it did
    not, because its process was killed."""

    name: str
    process: int
    began: float
    ended: float | None


def environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """`given`, and that processes keep a journal in `folder`, which is made."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"from pathlib import Path\nfrom benchmarks._journal import keep\nkeep(Path({str(folder)!r}))\n",
        encoding="utf-8",
    )
    return {**given, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}


def keep(folder: Path) -> None:
    """Keep a journal in this process, once it imports the stages."""
    sys.meta_path.insert(0, Finder(folder))


class Finder(MetaPathFinder):
    """Waits for the import of the stages, and wraps what they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "tasks.stages":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            out = os.open(self.folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            for stage in module.STAGES.values():
                stage.fit = written(out, "fit", stage.fit)
                stage.apply = written(out, "apply", stage.apply)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def written(out: int, verb: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of a job and its part or run of items, with a line before and one after."""

    def wrapped(job: Any, *which: Any) -> Any:
        name = " ".join(map(str, (verb, job.stage, job.partition, job.fingerprint, *which)))
        note(out, "began", name)
        result = function(job, *which)
        note(out, "ended", name)
        return result

    return wrapped


def note(out: int, what: str, name: str) -> None:
    os.write(out, (json.dumps([what, time.time(), name]) + "\n").encode())


def pieces(folder: Path) -> list[Piece]:
    """All pieces in the order in which they began."""
    found = []
    for file in folder.glob("*.jsonl"):
        under_way: dict[str, float] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            what, moment, name = json.loads(line)
            if what == "began":
                under_way[name] = moment
            else:
                found.append(Piece(name, int(file.stem), under_way.pop(name), moment))
        found += [Piece(name, int(file.stem), began, None) for name, began in under_way.items()]
    return sorted(found, key=lambda piece: piece.began)
