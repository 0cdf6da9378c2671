"""A release as a PyTorch data set and loader: streamed, shuffled, dealt to processes and ranks, resumable.

The data set yields whole batches, because what makes a batch cheap (one replay, one densify) works on
many rows at once; so the loader's `batch_size` is None to PyTorch, and nothing is collated. Worker
processes hold lanes of the epoch's order (`tasks.train.order`), and PyTorch asks them in turn, which puts
the batches back into the one order that a single process would give them in.

Memory: a lane holds a buffer of `buffer_rows` rows as stored files plus the piece being read (a row group
of about 32 MiB, 16,384 rows at most), whatever the size of the release; of the rest only the place of each
piece is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tasks.config import Curation, load
from tasks.errors import BadInput
from tasks.release import open_release
from tasks.train.lessons import Course, Lessons, Targets, course
from tasks.train.order import Share, buffers, lane_bounds, piece_order, share, shuffled

BUFFER_ROWS = 8192


class Batch(NamedTuple):
    """Rows to learn from.

    inputs: images (b, channels, height, width) uint8, features (b, d) float32, or b texts. targets:
    probabilities (b, classes) float32, each row summing to one, or with `targets="hard"` class indices
    (b,) int64; `torch.nn.functional.cross_entropy` takes either. ids: the b rows' ids.
    """

    inputs: Any
    targets: torch.Tensor
    ids: list[str]


class ReleaseDataset(IterableDataset[Batch]):
    """The batches of one epoch of a release, from a place in it on. `ReleaseLoader` is what to use."""

    def __init__(
        self,
        course: Course,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        buffer_rows: int,
        rank: int,
        world_size: int,
        lanes: int,
    ) -> None:
        self.course, self.batch_size, self.seed = course, batch_size, seed
        self.shuffle, self.drop_last, self.buffer_rows = shuffle, drop_last, buffer_rows
        self.rank, self.world_size = rank, world_size
        self._sizes = course.sizes
        # Workers that live on see where the next epoch begins: its number, its first batch, and the lanes.
        self._place = torch.tensor([0, 0, lanes])
        self._place.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def rows(self) -> int:
        """The rows of an epoch, on all ranks together."""
        return int(self._sizes.sum())

    @property
    def lanes(self) -> int:
        return int(self._place[2])

    def begin(self, epoch: int, step: int, lanes: int) -> None:
        """Sets where the next pass starts."""
        self._place.copy_(torch.tensor([epoch, step, lanes]))

    def __len__(self) -> int:
        """Batches an epoch, the same on every rank."""
        return self.share().steps

    def share(self) -> Share:
        """This rank's part of an epoch."""
        return share(self.rows, self.batch_size, self.rank, self.world_size, self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first, lanes = (int(number) for number in self._place)
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        given = self.share()
        ordered = piece_order(len(self._sizes), self.seed, epoch, self.shuffle)
        # PyTorch asks worker 0 first, also where an epoch is taken up at a batch of another lane.
        mine = [lane for lane in range(lanes) if (lane - first) % workers == worker]
        streams = {lane: self._lane(given, ordered, epoch, lane, lanes, first) for lane in mine}
        for step in range(first, given.steps):
            if step % lanes in streams:
                yield self._batch(next(streams[step % lanes]))

    def _lane(
        self, given: Share, ordered: np.ndarray, epoch: int, lane: int, lanes: int, first: int
    ) -> Iterator[Lessons]:
        """A lane's batches, from the first at or after step `first` on."""
        bounds = lane_bounds(given, lane, lanes)
        runs = buffers(ordered, self._sizes, int(bounds[0]), int(bounds[-1]), self.buffer_rows)
        wanted = bounds[-(-max(first - lane, 0) // lanes) :]
        held: Lessons | None = None
        used = step = 0
        for begin, end, parts in runs:
            if len(wanted) < 2 or end <= wanted[0]:
                continue
            read = Lessons.concat([self.course.read(part, self.seed, epoch) for part in parts])
            if self.shuffle:
                read = read.take(shuffled(len(read), self.seed, epoch, begin))
            if held is None:
                held, used = read, max(int(wanted[0]) - begin, 0)
            else:
                held, used = Lessons.concat([held.take(np.arange(used, len(held))), read]), 0
            while step + 1 < len(wanted) and wanted[step + 1] <= end:
                count = int(wanted[step + 1] - wanted[step])
                yield held.take(np.arange(used, used + count))
                used, step = used + count, step + 1

    def _batch(self, lessons: Lessons) -> Batch:
        shown = self.course.shown(lessons)
        if isinstance(shown, np.ndarray):
            channels_first = shown.transpose(0, 3, 1, 2) if shown.ndim == 4 else shown
            inputs: Any = torch.from_numpy(np.ascontiguousarray(channels_first))
        else:
            inputs = shown
        return Batch(inputs, torch.from_numpy(lessons.targets), list(lessons.ids))


class ReleaseLoader(DataLoader[Batch]):
    """A release to train from.

    for epoch in range(epochs):
        for batch in loader:
            loss = cross_entropy(student(batch.inputs.float() / 255), batch.targets)

    Every pass over it is the next epoch, and shows every row that teaches once (over all ranks together);
    `len` is the batches a pass. `state_dict` is small, JSON-able and the same on every rank.

    curation: the path of its YAML, or what `tasks.config.load` made of it. targets: "views" shows a stored
    view of each row with the teachers' opinion on that view, another one each epoch; "soft" each row as it is
    with the teachers' opinion on it; "hard" the curated label, of rows whose label may be relied on. Where a
    person decided, the target is that decision, but for a view that is mixed with another row's. release: a
    number, by default the newest that readers get. split: of which rows. buffer_rows: rows that are shuffled
    at once, a lane. rank and world_size: by default those of torch.distributed where it is initialised. The
    rest goes to PyTorch's DataLoader (pin_memory, prefetch_factor, …). Raises BadInput.
    """

    def __init__(
        self,
        curation: str | Path | Curation,
        batch_size: int,
        *,
        targets: Targets = "views",
        release: int | None = None,
        split: str = "train",
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        buffer_rows: int = BUFFER_ROWS,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        if targets not in get_args(Targets):
            raise BadInput(f"targets is {targets!r}, must be one of {', '.join(get_args(Targets))}")
        for name, value in (("batch_size", batch_size), ("buffer_rows", buffer_rows)):
            if value < 1:
                raise BadInput(f"{name} is {value}, must be at least 1")
        refuse_own(options)
        rank, world_size = place_among(rank, world_size)
        config = curation if isinstance(curation, Curation) else load(curation)
        opened = open_release(config, release)
        lanes = max(num_workers, 1)
        dataset = ReleaseDataset(
            course(opened, config, split, targets),
            *(batch_size, seed, shuffle, drop_last, buffer_rows, rank, world_size, lanes),
        )
        try:
            dataset.share()
        except ValueError as error:
            raise BadInput(f"{opened}: {error}") from None
        if num_workers:
            options = {"persistent_workers": True, **options}
            if config.store.startswith("s3://"):
                # The bucket's client has threads of its own, which a forked process does not have.
                options = {"multiprocessing_context": "spawn", **options}
        super().__init__(dataset, batch_size=None, num_workers=num_workers, **options)
        self.data = dataset
        self._next = (0, 0)
        self._at = (0, 0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; a target's column, or its index, is the place here."""
        return self.data.course.release.classes

    @property
    def release(self) -> int:
        """The number of the release that is read."""
        return self.data.course.release.number

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The next epoch, or the rest of the one that `load_state_dict` led into."""
        epoch, step = self._next
        self.data.begin(epoch, step, self.data.lanes)
        self._next, self._at = (epoch + 1, 0), (epoch, step)
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Batches as they are taken: those that workers have ready beyond that are not yet given out."""
        epoch, step = self._at
        for batch in batches:
            step += 1
            self._at = (epoch, step) if step < len(self) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where training is: after the batch that was taken last. Numbers and texts only."""
        epoch, step = self._at
        return {"epoch": epoch, "batch": step, "lanes": self.data.lanes, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes the next pass go on from there. Raises BadInput for a state of other batches than these."""
        for name, own in self._identity().items():
            if name not in state or state[name] != own:
                raise BadInput(
                    f"the state is of {name} {state.get(name)!r}, and this loader has {own!r}; make it with "
                    "the state's, or start anew"
                )
        lanes = int(state["lanes"])
        if lanes % max(self.num_workers, 1):
            raise BadInput(
                f"the state is of {lanes} loading processes, and this loader has {self.num_workers}; take "
                f"num_workers that divide {lanes}, or 0"
            )
        self._next = self._at = (int(state["epoch"]), int(state["batch"]))
        self.data.begin(*self._at, lanes)

    def _identity(self) -> dict[str, Any]:
        """All that decides the batches, but for the place in the epoch and the rank."""
        data = self.data
        return {
            "dataset": data.course.release.store.dataset,
            "release": self.release,
            "classes": len(self.classes),
            "targets": data.course.targets,
            "split": data.course.split,
            "rows": data.rows,
            "batch_size": data.batch_size,
            "buffer_rows": data.buffer_rows,
            "seed": data.seed,
            "shuffle": data.shuffle,
            "drop_last": data.drop_last,
            "world_size": data.world_size,
        }


OWN = ("sampler", "batch_sampler", "collate_fn", "generator", "worker_init_fn")


def refuse_own(options: Mapping[str, Any]) -> None:
    """Raises BadInput for options of PyTorch's DataLoader that would take the order out of our hands."""
    for name in OWN:
        if name in options:
            raise BadInput(f"{name} is not taken: a release decides its own order and batches; leave it out")


def place_among(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process among those that train together. Raises BadInput for one that is none of them."""
    distributed = torch.distributed
    if rank is None and world_size is None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank, world_size = rank or 0, 1 if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise BadInput(
            f"rank is {rank} of world_size {world_size}, must be 0 to world_size - 1; give both or neither"
        )
    return rank, world_size
