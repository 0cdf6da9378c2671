"""What a student learns from: rows of a release with their targets, read a piece at a time.

A piece is a row group of the table `rows`, or a part of a large one. Pictures stay files until a batch is
made of them, so a buffer of rows costs what they take on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import StoreError
from tasks.config import Curation
from tasks.data import TRUSTED, Rows, ints_or_minus_one, keys_of, lists_to_array
from tasks.errors import BadInput
from tasks.ingest.images import decode
from tasks.reinforce import Reinforcer
from tasks.release import Partition, Release, usable
from tasks.release.targets import densify, one_hot
from tasks.release.views import methods_of, records_of, redraw
from tasks.train.order import Run, draw_of

Targets = Literal["views", "soft", "hard"]


@dataclass(frozen=True)
class Lessons(Rows):
    """Rows to learn from.

    inputs: picture files or texts (n,) object, or features (n, d) float32. targets: probabilities
    (n, classes) float32, or class indices (n,) int64. What redraws the rows, None where they are shown as
    they are: records, there (n,), see `tasks.release.views`; method (n,), its number.
    """

    inputs: np.ndarray
    targets: np.ndarray
    records: np.ndarray | None = None
    there: np.ndarray | None = None
    method: np.ndarray | None = None


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a partition. rows: how many of them teach. kept: how many rows before them
    have views; draws: how many each; method: the number of what drew them."""

    partition: Partition
    start: int
    stop: int
    rows: int
    kept: int
    draws: int
    method: int


@dataclass(frozen=True)
class Course:
    """The pieces of a release that teach, and how they are read."""

    release: Release
    split: str
    targets: Targets
    pieces: tuple[Piece, ...]
    methods: tuple[Reinforcer, ...] = ()

    @property
    def sizes(self) -> np.ndarray:
        """(pieces,) int64, the rows of each that teach."""
        return np.array([piece.rows for piece in self.pieces], np.int64)

    def read(self, run: Run, seed: int, epoch: int) -> Lessons:
        """Some of the rows of a piece that teach, as the epoch shows them."""
        piece, release = self.pieces[run.piece], self.release
        span = (piece.start, piece.stop)
        columns = ["id", "content_hash", "split", "label", release.payload]
        rows = release.read(piece.partition, "rows", columns, *span)
        labels = release.read(piece.partition, "labels", ["id", "label", "action"], *span)
        release.same(labels["id"], rows["id"], "labels", piece.partition)
        teach = teaches(rows["split"], labels, self.split, self.targets)
        places = np.flatnonzero(teach)[run.start : run.stop]
        taken = rows.take(places)
        decided = ints_or_minus_one(labels["label"])[places]
        ids, inputs = taken["id"].to_numpy(), self._inputs(taken[release.payload])
        if self.targets == "hard":
            return Lessons(ids, inputs, decided.astype(np.int64))
        people = pc.equal(labels["action"], "human").to_numpy()[places]
        if self.targets == "soft":
            targets = release.soft_labels(piece.partition, rows, piece.start)[places]
            return Lessons(ids, inputs, self._overruled(targets, people, decided))
        kept = pc.not_equal(labels["action"], "drop").to_numpy()
        draw = draw_of(keys_of(taken["content_hash"]), np.full(len(places), piece.draws), seed, epoch)
        views = self._views(piece, rows["id"].filter(pa.array(kept)))
        views = views.take((np.cumsum(kept)[places] - 1) * piece.draws + draw)
        targets = densify(
            lists_to_array(views["classes"], len(places), np.int32),
            lists_to_array(views["weights"], len(places), np.int16),
            len(release.classes),
        )
        records, there = records_of(views["transform"].combine_chunks())
        method = np.full(len(places), piece.method)
        return Lessons(ids, inputs, self._overruled(targets, people, decided), records, there, method)

    def _views(self, piece: Piece, kept: pa.ChunkedArray) -> pa.Table:
        """All views of a piece, those of a row side by side."""
        span = (piece.kept * piece.draws, (piece.kept + len(kept)) * piece.draws)
        columns = ["id", "transform", "classes", "weights"]
        views = self.release.read(piece.partition, "reinforcements", columns, *span)
        own = views["id"].take(np.arange(0, views.num_rows, piece.draws))
        self.release.same(own, kept, "reinforcements", piece.partition)
        return views

    def _overruled(self, targets: np.ndarray, people: np.ndarray, decided: np.ndarray) -> np.ndarray:
        """A person's decision outranks what teachers say."""
        targets[people] = one_hot(decided[people], len(self.release.classes))
        return targets

    def _inputs(self, column: pa.ChunkedArray) -> np.ndarray:
        if self.release.payload == "features":
            return lists_to_array(column, len(column), np.float32)
        return np.asarray(column.to_numpy(), object)

    def shown(self, lessons: Lessons) -> np.ndarray | list[str]:
        """What a student sees: images (n, h, w, c) uint8, features (n, d) float32, or texts.

        Raises StoreError for a picture that no longer decodes.
        """
        if self.release.payload == "text":
            return list(lessons.inputs)
        shown = lessons.inputs
        if self.release.shape is not None:
            shown, ok, _, problems = decode(lessons.inputs, self.release.shape)
            if not ok.all():
                bad = int(np.argmin(ok))
                raise StoreError(
                    f"{self.release}: the picture of row {lessons.ids[bad]} no longer decodes "
                    f"({problems[bad]}); ingest it again"
                )
        if lessons.records is None:
            return shown
        assert lessons.there is not None
        assert lessons.method is not None
        return redraw(shown, lessons.records, lessons.there, lessons.method, self.methods)


def teaches(split: pa.ChunkedArray, labels: pa.Table, wanted: str, targets: Targets) -> np.ndarray:
    """Which rows of a run teach, (n,) bool: those of the split that were not dropped; with hard targets,
    those whose label may be relied on."""
    mask = np.asarray(usable(labels) & pc.equal(split, wanted).to_numpy())
    if targets != "hard":
        return mask
    trusted = pc.is_in(labels["action"], pa.array(TRUSTED)).to_numpy()
    return np.asarray(mask & trusted & pc.is_valid(labels["label"]).to_numpy())


def course(release: Release, curation: Curation, split: str, targets: Targets) -> Course:
    """Looks through a release for the rows that teach. Reads decisions and splits, and no payload.

    Raises BadInput where a partition lacks a table, or nothing teaches.
    """
    release.need("labels", "relabel")
    if targets == "soft":
        release.need("soft_labels", "teach")
    methods: list[Reinforcer] = []
    numbers = [0] * len(release.partitions)
    if targets == "views":
        release.need("reinforcements", "reinforce", ', or take targets="soft"')
        drawn = [partition.tables["reinforcements"] for partition in release.partitions]
        methods, numbers = methods_of(release, curation, drawn)
    pieces: list[Piece] = []
    splits: set[str] = set()
    for partition, method in zip(release.partitions, numbers, strict=True):
        found = release.store.read(partition.rows, ["split"])["split"]
        labels = release.store.read(partition.tables["labels"], ["label", "action"])
        splits.update(pc.unique(found).to_pylist())
        teach = np.cumsum(np.append(0, teaches(found, labels, split, targets)))
        kept = np.cumsum(np.append(0, pc.not_equal(labels["action"], "drop").to_numpy()))
        draws = draws_of(release, partition, int(kept[-1])) if targets == "views" else 0
        pieces += [
            Piece(partition, start, stop, int(teach[stop] - teach[start]), int(kept[start]), draws, method)
            for start, stop in release.pieces(partition)
            if teach[stop] > teach[start]
        ]
    if not pieces:
        raise BadInput(
            f"{release} has no row of the split {split!r} to learn from; its splits are "
            f"{', '.join(sorted(splits)) or 'none'}"
        )
    return Course(release, split, targets, tuple(pieces), tuple(methods))


def draws_of(release: Release, partition: Partition, kept: int) -> int:
    """How many views each row of a partition has."""
    views = partition.tables["reinforcements"].rows
    if views % max(kept, 1) or (kept and not views):
        raise StoreError(
            f"{release}: reinforcements of {partition.name} do not belong to its rows; run the partition "
            "again"
        )
    return views // max(kept, 1)
