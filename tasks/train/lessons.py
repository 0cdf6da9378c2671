"""What a student learns from: rows of a release with their targets, read a piece at a time.

A piece is a row group of the table `rows`, or a part of a large one. Pictures stay files until a batch is
made of them, so a buffer of rows costs what they take on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
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
from tasks.release.views import RECORD, View, methods_of, records_of
from tasks.targets import densify, one_hot
from tasks.train.order import Run, draw_of
from tasks.train.partners import Shelf, Shelves, find, shelf_of

Targets = Literal["views", "soft", "hard"]


@dataclass(frozen=True)
class Lessons(Rows):
    """Rows to learn from.

    inputs: picture files or texts (n,) object, or features (n, d) float32. targets: probabilities
    (n, classes) float32, or class indices (n,) int64. view: None where rows are shown as they are.
    """

    inputs: np.ndarray
    targets: np.ndarray
    view: View | None = None


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a partition. rows: how many of them teach. views: where theirs start and
    stop; method: the number of what drew them."""

    partition: Partition
    start: int
    stop: int
    rows: int
    views: tuple[int, int]
    method: int


@dataclass(frozen=True)
class Course:
    """The pieces of a release, and how they are read."""

    release: Release
    split: str
    targets: Targets
    pieces: tuple[Piece, ...]
    methods: tuple[Reinforcer, ...] = ()
    shelves: Shelves = field(default_factory=Shelves)

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
        view, settled = None, pc.equal(labels["action"], "human").to_numpy()[places]
        if self.targets == "soft":
            targets = release.soft_labels(piece.partition, rows, piece.start)[places]
        else:
            chosen = self._chosen(piece, rows, labels, places, seed, epoch)
            weights = lists_to_array(chosen["weights"], len(places), np.int16)
            classes = lists_to_array(chosen["classes"], len(places), np.int32)
            targets = densify(classes, weights, len(release.classes))
            view = self._view(piece, ids, chosen, inputs)
            # A person decided on the row; of a mixture with another row, the teachers say what it shows.
            settled = settled & (~view.mixed | (chosen["partner"].to_numpy() == ids))
        targets[settled] = one_hot(decided[settled], len(release.classes))
        return Lessons(ids, inputs, targets, view)

    def _chosen(
        self, piece: Piece, rows: pa.Table, labels: pa.Table, places: np.ndarray, seed: int, epoch: int
    ) -> pa.Table:
        """The stored views that the epoch shows of a piece's rows at `places`."""
        kept = pc.not_equal(labels["action"], "drop")
        views = self._views(piece, rows["id"].filter(kept))
        starts = np.append(0, run_ends(views["id"]))
        own = np.cumsum(kept.to_numpy())[places] - 1
        keys = keys_of(rows["content_hash"].take(places))
        return views.take(starts[own] + draw_of(keys, np.diff(starts)[own], seed, epoch))

    def _views(self, piece: Piece, kept: pa.ChunkedArray) -> pa.Table:
        """All views of a piece, those of a row side by side."""
        columns = ["id", "draw", "transform", "partner", "classes", "weights"]
        views = self.release.read(piece.partition, "reinforcements", columns, *piece.views)
        own = views["id"].take(run_ends(views["id"]) - 1)
        self.release.same(own, kept, "reinforcements", piece.partition)
        return views

    def _view(self, piece: Piece, ids: np.ndarray, chosen: pa.Table, inputs: np.ndarray) -> View:
        """Views as arrays, each with its partner."""
        records, there = records_of(chosen["transform"].combine_chunks())
        n, mixed = len(ids), pc.is_valid(chosen["partner"]).to_numpy()
        other = np.zeros((n, *inputs.shape[1:]), inputs.dtype)
        other_records, other_there = np.zeros(n, RECORD), np.zeros(n, np.int64)
        if mixed.any():
            names = chosen["partner"].combine_chunks().drop_null()
            beside = [each for each in self._by_partition[piece.partition.name] if each is not piece]
            shelves = (self._shelf(each) for each in (piece, *beside))
            *found, known = find(names, records["partner_draw"][mixed], inputs, shelves)
            if not known.all():
                raise StoreError(
                    f"{self.release}: views of {piece.partition.name} are mixed with rows that are gone; run "
                    "the partition again"
                )
            other[mixed], other_records[mixed], other_there[mixed] = found
        method = np.full(n, piece.method)
        return View(ids, records, there, method, mixed, other, other_records, other_there)

    @cached_property
    def _by_partition(self) -> dict[str, list[Piece]]:
        found: dict[str, list[Piece]] = {}
        for piece in self.pieces:
            found.setdefault(piece.partition.name, []).append(piece)
        return found

    def _shelf(self, piece: Piece) -> Shelf:
        """All rows of a piece that may be partners."""

        def make() -> Shelf:
            span = (piece.start, piece.stop)
            rows = self.release.read(piece.partition, "rows", ["id", self.release.payload], *span)
            labels = self.release.read(piece.partition, "labels", ["action"], *span)
            kept = rows.filter(pc.not_equal(labels["action"], "drop"))
            inputs = self._inputs(kept[self.release.payload])
            return shelf_of(inputs, kept["id"].combine_chunks(), self._views(piece, kept["id"]))

        return self.shelves.get((piece.partition.name, piece.start), make)

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
        shown = self._decoded(lessons.inputs, lessons.ids)
        return lessons.view.redraw(shown, self._decoded, self.methods) if lessons.view else shown

    def _decoded(self, inputs: np.ndarray, ids: np.ndarray) -> np.ndarray:
        if self.release.shape is None:
            return inputs
        images, ok, _, problems = decode(inputs, self.release.shape)
        if not ok.all():
            bad = int(np.argmin(ok))
            raise StoreError(
                f"{self.release}: the picture of row {ids[bad]}, or of the row that it is mixed with, no "
                f"longer decodes ({problems[bad]}); ingest it again"
            )
        return images


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
        views = views_of(release, partition, int(kept[-1])) if targets == "views" else np.zeros(kept[-1] + 1)
        pieces += [
            Piece(
                partition,
                start,
                stop,
                int(teach[stop] - teach[start]),
                (int(views[kept[start]]), int(views[kept[stop]])),
                method,
            )
            for start, stop in release.pieces(partition)
        ]
    if not sum(piece.rows for piece in pieces):
        raise BadInput(
            f"{release} has no row of the split {split!r} to learn from; its splits are "
            f"{', '.join(sorted(splits)) or 'none'}"
        )
    return Course(release, split, targets, tuple(pieces), tuple(methods))


def views_of(release: Release, partition: Partition, kept: int) -> np.ndarray:
    """Where the views of each kept row begin in its partition's, and where the last ones end: (kept + 1,)."""
    before, starts, last = 0, [0], None
    for batch in release.store.batches(partition.tables["reinforcements"], ["id"]):
        if batch.num_rows:
            ends = run_ends(batch["id"])
            joined = batch["id"][0].as_py() == last  # the row whose views the batch before ended with
            starts = starts[:-1] if joined and before else starts
            starts += (before + ends).tolist()
            before, last = before + batch.num_rows, batch["id"][-1].as_py()
    if len(starts) != kept + 1:
        raise StoreError(
            f"{release}: reinforcements of {partition.name} do not belong to its rows; run the partition "
            "again"
        )
    return np.array(starts, np.int64)


def run_ends(ids: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Where each run of equal ids ends, (runs,) int64."""
    flat = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return np.asarray(pc.run_end_encode(flat, run_end_type=pa.int64()).run_ends.to_numpy(), np.int64)
