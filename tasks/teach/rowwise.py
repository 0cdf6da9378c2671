"""What teachers on the embedding share: one thread, blocks of one size, the whole vocabulary.

Matrix kernels pick their tiling, and with it the order of their sums, by the number of rows and of
threads: the same row would get other last bits in a shard of 10 than in one of 10,000. So rows
are judged in blocks of one fixed size, and the linear algebra library is held to one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tasks.data import Examples
from tasks.teach import BadTraining

BLOCK_ROWS = 1024
FLOOR = 1e-6
"""The probability of a class that was absent from the training rows."""


def embedding_of(examples: Examples, kind: str) -> np.ndarray:
    """The embedding, float32 (n, e). Raises BadTraining where there is none, or it is not finite."""
    embedding = examples.embedding
    if embedding is None:
        raise BadTraining(f"teach.teachers: {kind} reads the embedding; name an encoder under ingest.encoder")
    bad = np.flatnonzero(~np.isfinite(embedding).all(axis=1))
    if len(bad):
        raise BadTraining(
            f"teach.teachers: {kind} cannot read the embedding of {len(bad)} rows, such as "
            f"{examples.ids[bad[0]]}: it holds NaN or infinity; filter them out under ingest.filters"
        )
    return embedding


def in_blocks(judge: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, k: int) -> np.ndarray:
    """`judge` over blocks of exactly BLOCK_ROWS rows: (n, ...) -> float64 (n, k).

    judge: (BLOCK_ROWS, ...) -> (BLOCK_ROWS, k), row by row. The last block is filled up with zeros,
    whose answers are thrown away.
    """
    answers = np.empty((len(rows), k), dtype=np.float64)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        filled = np.zeros((BLOCK_ROWS, *rows.shape[1:]), dtype=rows.dtype)
        filled[: len(block)] = block
        answers[start : start + len(block)] = judge(filled)[: len(block)]
    return answers


def over_vocabulary(probs: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Log-probabilities of the whole vocabulary: float (n, p) of `classes` (p,) -> float32 (n, n_classes).

    Probabilities below FLOOR, absent classes among them, are lifted to it and rows summed to 1 again.
    """
    dense = np.full((len(probs), n_classes), FLOOR, dtype=np.float64)
    dense[:, classes] = np.maximum(probs, FLOOR)
    log_probs: np.ndarray = np.log(dense / dense.sum(axis=1, keepdims=True)).astype(np.float32)
    return log_probs


_lock = threading.Lock()
_held: dict[str, Any] = {"users": 0, "limits": None}


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread while any caller is inside.

    OpenMP's limit belongs to the calling thread but that of BLAS to the process: were it lifted by
    the first of two concurrent fits to end, the other would go on with more threads and other bits.
    """
    from threadpoolctl import threadpool_limits

    with _lock:
        if _held["users"] == 0:
            _held["limits"] = threadpool_limits(limits=1, user_api="blas")
        _held["users"] += 1
    try:
        with threadpool_limits(limits=1, user_api="openmp"):
            yield
    finally:
        with _lock:
            _held["users"] -= 1
            if _held["users"] == 0:
                _held["limits"].restore_original_limits()
