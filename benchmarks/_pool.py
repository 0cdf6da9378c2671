"""Pieces of a benchmark side by side, one thread each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar
from unittest.mock import patch

from rich.progress import Progress

Found = TypeVar("Found")

FEW_PAGE_FAULTS = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_TOP_PAD_": str(2**28)}
"""What glibc reads as a process starts: a student would else hand back and ask anew for its memory at every
step, which is a third of its time."""


def side_by_side(
    work: Callable[..., Found], pieces: Iterable[tuple[Any, ...]], what: str, progress: Progress
) -> list[Found]:
    """`work` with the arguments of each piece, in order: as many processes as there are cores."""
    os.environ |= FEW_PAGE_FAULTS
    with ProcessPoolExecutor(os.cpu_count() or 1, get_context("spawn"), one_thread) as pool:
        pending = [pool.submit(work, *piece) for piece in pieces]
        for done in progress.track(as_completed(pending), total=len(pending), description=what):
            done.result()
    return [each.result() for each in pending]


@contextmanager
def quick_students() -> Iterator[None]:
    """The literature's ConvNet compiled and its products in bfloat16, for all students alike, which saves
    half their time where processors know it. Needs a C++ compiler, as `torch.compile` does.

    Without autocast's cache, which would keep the first step's weights for good.
    """
    import torch

    from tasks.distill.convnet import ConvNet

    compiled = torch.compile(ConvNet.forward)
    with (
        patch.object(ConvNet, "forward", compiled),
        torch.autocast("cpu", torch.bfloat16, cache_enabled=False),
    ):
        yield


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
