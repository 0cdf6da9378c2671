"""The one way to show that long work advances: a bar on a terminal, nothing in a log file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; call what it yields with the items done.

    None in a child, whose parent has a bar of its own.
    """
    console = Console(stderr=True)
    hidden = not console.is_terminal or parent_process() is not None
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.advance(task, done)
