"""Rows in blocks, judged by a few threads.

NumPy lets go of the interpreter in what takes time here, so threads do without copies; what they return
comes back in order, so that their number changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

THREADS = 2
"""More of them would wait for memory."""

NUMBERS = 1 << 22
"""Probabilities in a block, 16 MiB: smaller ones fit a cache, and threads wait for the interpreter."""

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Block:
    """Some rows in order. labels: (b,) int64 in 0..k-1. given: reads (b,) float32, the probability of each
    row's label. read: reads pred_probs, (b, k) float32."""

    labels: np.ndarray
    given: Callable[[], np.ndarray]
    read: Callable[[], np.ndarray]


Blocks = Callable[[], Iterable[Block]]
"""Reads the rows anew, the same blocks each time."""


def spans(n: int, k: int) -> Iterator[slice]:
    """0..n in runs of at most NUMBERS probabilities of k classes."""
    step = max(1, NUMBERS // max(k, 1))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def in_order(work: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """`work` of each, by THREADS threads, in order, with few of them in memory."""
    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[Made]] = deque()
        for each in given:
            waiting.append(threads.submit(work, each))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
