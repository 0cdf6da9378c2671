"""In what order an epoch sees its rows: which piece, which rank, which lane, which batch. Numbers only.

An epoch's rows are a sequence: the pieces (row groups of the stored files) in a random order, the rows of
a piece in theirs. Ranks get equal runs of it, to within one row. A rank's run is dealt into lanes, one a
loading process, and a lane reads its own run from front to back: so every piece is read once, but for
those that a boundary cuts. Rows are shuffled in a buffer of several neighbouring pieces, and batches are
cut from there; batch j of the rank is the next one of lane j modulo lanes.

Everything is a function of (seed, epoch) and of these sizes, never of how fast anybody reads. That is why
a state of two numbers, epoch and batch, is enough to go on from: the buffers before it need not be read
again. A buffer that lets a row in for each that it lets out would mix a little further, and would have to
be replayed from the epoch's start; it is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.seeds import mix, seed_of


@dataclass(frozen=True)
class Share:
    """What a rank gets of an epoch: rows `start` to `stop` of its sequence.

    bounds: (steps + 1,) int64, where each batch begins, from 0; every rank has the same number of steps.
    """

    start: int
    stop: int
    bounds: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1


def share(rows: int, batch_size: int, rank: int, ranks: int, drop_last: bool) -> Share:
    """A rank's rows and batches.

    All ranks take the same number of steps, since one that took another would keep the others waiting for
    ever. With `drop_last` all batches are full, and a few rows are left out, others each epoch. Else no row
    is left out or repeated: where a rank has one row fewer and would be short of a batch, its last two
    share their rows. Raises ValueError where there are too few rows for that.
    """
    start, stop = rows * rank // ranks, rows * (rank + 1) // ranks
    if drop_last:
        steps = rows // ranks // batch_size
        if not steps:
            raise ValueError(
                f"{rows:,} rows make no full batch of {batch_size:,} on {ranks:,} ranks; take smaller ones"
            )
        return Share(start, start + steps * batch_size, np.arange(steps + 1) * batch_size)
    most = -(-rows // ranks)
    steps = -(-most // batch_size)
    if stop - start < steps:
        raise ValueError(
            f"{rows:,} rows in batches of {batch_size:,} do not go round {ranks:,} ranks; take drop_last"
        )
    numbers = np.arange(steps + 1)
    return Share(start, stop, np.minimum(numbers * batch_size, stop - start - (steps - numbers)))


def lane_bounds(given: Share, lane: int, lanes: int) -> np.ndarray:
    """Where each batch of a lane begins in the epoch's sequence: (its steps + 1,) int64."""
    sizes = np.diff(given.bounds)
    before = sum(int(sizes[other::lanes].sum()) for other in range(lane))
    return given.start + before + np.concatenate([[0], np.cumsum(sizes[lane::lanes])])


def piece_order(pieces: int, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The order of the pieces: (pieces,) int64."""
    return generator(seed, "pieces", epoch).permutation(pieces) if shuffle else np.arange(pieces)


@dataclass(frozen=True)
class Run:
    """Rows `start` to `stop`, counting the usable ones, of one piece."""

    piece: int
    start: int
    stop: int


def buffers(
    ordered: np.ndarray, sizes: np.ndarray, start: int, stop: int, buffer_rows: int
) -> Iterator[tuple[int, int, list[Run]]]:
    """The sequence from `start` to `stop` in runs of whole pieces that make at least `buffer_rows` rows.

    ordered: the pieces' order; sizes: the usable rows of each piece, by its number. Yields where a buffer
    begins and ends in the sequence, and what it is made of.
    """
    ends = np.cumsum(sizes[ordered])
    begin, runs = start, list[Run]()
    for place in range(int(np.searchsorted(ends, start, side="right")), len(ordered)):
        piece, end = int(ordered[place]), int(ends[place])
        before = end - int(sizes[piece])
        if before >= stop:
            break
        if end > before:
            runs.append(Run(piece, max(start - before, 0), min(stop, end) - before))
        if runs and (min(stop, end) - begin >= buffer_rows or end >= stop):
            yield begin, min(stop, end), runs
            begin, runs = min(stop, end), []
    if runs:
        yield begin, stop, runs


def shuffled(n: int, seed: int, epoch: int, begin: int) -> np.ndarray:
    """The order of the rows in the buffer that begins at `begin`: (n,) int64."""
    return generator(seed, "buffer", epoch, begin).permutation(n)


def generator(seed: int, *what: str | int) -> np.random.Generator:
    """Random numbers for one purpose, the same wherever they are drawn."""
    return np.random.Generator(np.random.PCG64(seed_of("train", seed, *what)))


def draw_of(keys: np.ndarray, draws: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Which stored view of each row an epoch shows: keys (n,) uint64, draws (n,) int64 -> (n,) int64.

    Each row begins at a random view and goes on to the next with every epoch, so that it repeats none
    before all were shown. Faghri et al. draw anew each time, by which K epochs show 63% of K views; Shen &
    Xing (FKD, ECCV 2022) draw without repeats too.
    """
    first = mix(keys, seed_of("train", seed, "draw")) % draws.astype(np.uint64)
    return np.asarray((first.astype(np.int64) + epoch) % draws)
