"""The tables of an export: what a release holds, decoded, a piece at a time.

`curated` is the data set itself. Rows whose label may be relied on are in the split they came with; those
whose label waits for a person, or should teach by its soft label only, are in the split `doubtful`, so
that whoever trains on `train` trains on nothing else by accident. Dropped rows are left out. `views` are
the stored views of reinforce, and `distilled` the small set; they are there if the release has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.store import TableRef
from storage.tables import TRANSFORM
from tasks.data import ONE, TRUSTED, lists_to_array
from tasks.export.features import IMAGE, Column
from tasks.release import PIECE_ROWS, Partition, Release, usable
from tasks.targets import densify, one_hot

DOUBTFUL = "doubtful"
SLICE_ROWS = 1 << 13
"""Rows whose probabilities are made dense at once."""
KINDS = {"classes": np.int32, "weights": np.int16}


@dataclass
class Counts:
    """What an export tells of the rows. actions: how many rows each has. right: of the rows whose true
    label is known, how many are right under the given and the curated label."""

    actions: dict[str, int] = field(default_factory=dict)
    changed: int = 0
    known: int = 0
    given_right: int = 0
    curated_known: int = 0
    curated_right: int = 0


def payload_column(release: Release) -> Column:
    kinds = {"image": IMAGE, "text": pa.string(), "features": pa.list_(pa.float32())}
    return Column(release.payload, kinds[release.payload], "what a model looks at")


def curated_columns(release: Release) -> list[Column]:
    """The columns of the configuration `curated`."""
    n = len(release.classes)
    soft = Column(
        "soft_label",
        pa.list_(pa.float32(), n),
        "a probability for each class, from teachers that never trained on the row",
    )
    return [
        Column("id", pa.string(), "the row's id"),
        payload_column(release),
        Column("label", pa.int64(), "the curated label", release.classes),
        *([soft] if release.refs("soft_labels") else []),
        Column("given_label", pa.int64(), "the label that the row came with", release.classes),
        Column("action", pa.string(), "what was decided: keep, fix, human, soften or review"),
        Column("confidence", pa.float32(), "the probability of the label, 0 to 1"),
        Column("reason", pa.string(), "why"),
        Column("decided_by", pa.string(), "the policy's name or the person's"),
        Column("partition", pa.string(), "the slice of the data set that it arrived with"),
        Column("source", pa.string(), "where it came from"),
        Column("position", pa.int64(), "its place there"),
    ]


def curated(release: Release, counts: Counts) -> Iterator[tuple[str, pa.Table]]:
    """(split, rows) of the configuration `curated`; `counts` grows along."""
    names = ["id", "split", "label", "truth", "source", "position", release.payload]
    for partition in release.partitions:
        for start, stop in release.pieces(partition):
            rows = release.read(partition, "rows", names, start, stop)
            labels = release.read(
                partition,
                "labels",
                ["id", "given", "label", "action", "confidence", "reason", "decided_by"],
                start,
                stop,
            )
            release.same(labels["id"], rows["id"], "labels", partition)
            count(counts, rows, labels)
            for begin in range(0, rows.num_rows, SLICE_ROWS):
                part = slice_of(release, partition, rows, labels, start, begin)
                for split in pc.unique(part["split"]).to_pylist():
                    yield split, part.filter(pc.equal(part["split"], split)).drop_columns(["split"])


def slice_of(
    release: Release, partition: Partition, rows: pa.Table, labels: pa.Table, start: int, begin: int
) -> pa.Table:
    """Some rows of a piece in the columns of the export, and `split`."""
    rows, labels = rows.slice(begin, SLICE_ROWS), labels.slice(begin, SLICE_ROWS)
    trusted = pc.and_(pc.is_in(labels["action"], pa.array(TRUSTED)), pc.is_valid(labels["label"]))
    columns = {
        "id": rows["id"],
        release.payload: payload_of(rows, release.payload),
        "label": labels["label"].cast(pa.int64()),
        "given_label": labels["given"].cast(pa.int64()),
        **{name: labels[name] for name in ("action", "confidence", "reason", "decided_by")},
        "partition": pa.repeat(partition.name, rows.num_rows),
        "source": rows["source"],
        "position": rows["position"],
        "split": pc.if_else(trusted, rows["split"], DOUBTFUL),
    }
    if "soft_labels" in partition.tables:
        columns["soft_label"] = fixed(release.soft_labels(partition, rows, start + begin))
    elif release.refs("soft_labels"):
        columns["soft_label"] = pa.nulls(rows.num_rows, pa.list_(pa.float32(), len(release.classes)))
    return pa.table(columns).filter(pa.array(usable(labels)))


def count(counts: Counts, rows: pa.Table, labels: pa.Table) -> None:
    """Adds a piece to what the card says."""
    for action in pc.value_counts(labels["action"].combine_chunks()).to_pylist():
        counts.actions[action["values"]] = counts.actions.get(action["values"], 0) + action["counts"]
    given, label, truth = labels["given"], labels["label"], rows["truth"]
    trusted = pc.is_in(labels["action"], pa.array(TRUSTED))

    def total(mask: pa.ChunkedArray) -> int:
        return pc.sum(mask.fill_null(False)).as_py() or 0

    counts.changed += total(pc.and_(trusted, pc.not_equal(given, label)))
    counts.known += total(pc.and_(pc.is_valid(truth), pc.is_valid(given)))
    counts.given_right += total(pc.equal(given, truth))
    counts.curated_known += total(pc.and_(trusted, pc.and_(pc.is_valid(truth), pc.is_valid(label))))
    counts.curated_right += total(pc.and_(trusted, pc.equal(label, truth)))


VIEW_COLUMNS = [
    Column("id", pa.string(), "the row of `curated` that it is a view of"),
    Column("draw", pa.int16(), "its number among the row's views"),
    Column("transform", TRANSFORM, "the numbers that redraw it; null where there is no such number"),
    Column("partner", pa.string(), "the row that it is mixed with; null for none"),
    Column("classes", pa.list_(pa.int32()), "the likeliest classes, the likeliest first"),
    Column("probabilities", pa.list_(pa.float32()), "what teachers say of the view, for each of these"),
    Column("region", pa.string(), "how sure they are, from a method that grades views"),
    Column("partition", pa.string(), "the slice of the data set"),
]


def views(release: Release) -> Iterator[tuple[str, pa.Table]]:
    """("train", rows) of the configuration `views`, every split's rows: `id` leads to them."""
    names = ["id", "draw", "transform", "partner", "classes", "weights", "region", "partition"]
    for ref in release.refs("reinforcements"):
        for start in range(0, ref.rows, PIECE_ROWS):
            found = release.store.read(ref, names, (start, min(start + PIECE_ROWS, ref.rows)))
            weights = found["weights"].combine_chunks()
            p = pc.divide(weights.flatten().cast(pa.float32()), np.float32(ONE))
            offsets = pc.subtract(weights.offsets, weights.offsets[0])
            dense = pa.ListArray.from_arrays(offsets, p)
            yield "train", found.drop_columns(["weights"]).append_column("probabilities", dense)


TILES = Column("tiles", pa.int16(), "the image is a mosaic of tiles x tiles pictures of this class")


def distilled_columns(release: Release) -> list[Column]:
    """The columns of the configuration `distilled`."""
    return [
        Column("id", pa.string(), "the example's id"),
        payload_column(release),
        Column("label", pa.int64(), "its class", release.classes),
        Column("soft_label", pa.list_(pa.float32(), len(release.classes)), "a probability for each class"),
        *([TILES] if release.payload == "image" else []),
        Column("distiller", pa.string(), "the method that made or chose it"),
        Column("origins", pa.list_(pa.string()), "the rows that it was made from"),
        Column("partition", pa.string(), "the last slice that it was made from"),
    ]


def distilled(release: Release, refs: list[TableRef]) -> Iterator[tuple[str, pa.Table]]:
    """("train", rows) of the configuration `distilled`."""
    for ref in refs:
        columns = ["id", "label", "tiles", "distiller", "origins", "partition", release.payload]
        found = release.store.read(ref, columns)
        said = release.store.read(ref, ["label", "classes", "weights"])
        yield (
            "train",
            pa.table(
                {
                    **{name: found[name] for name in ("id", "tiles", "distiller", "origins", "partition")},
                    release.payload: payload_of(found, release.payload),
                    "label": found["label"].cast(pa.int64()),
                    "soft_label": fixed(soft_of(said, len(release.classes))),
                }
            ),
        )


def soft_of(said: pa.Table, n_classes: int) -> np.ndarray:
    """The distilled examples' targets (n, n_classes); the labels alone where nothing else was stored."""
    n = said.num_rows
    if said["classes"].null_count or said["weights"].null_count:
        return one_hot(said["label"].to_numpy(), n_classes)
    classes, weights = (lists_to_array(said[name], n, kind) for name, kind in KINDS.items())
    return densify(classes, weights, n_classes)


def fixed(dense: np.ndarray) -> pa.Array:
    """(n, k) float32 as lists of k."""
    return pa.FixedSizeListArray.from_arrays(pa.array(dense.reshape(-1), pa.float32()), dense.shape[1])


def payload_of(rows: pa.Table, payload: str) -> pa.Array | pa.ChunkedArray:
    """The payload as the export has it: a picture is a file's bytes, and no path."""
    if payload != "image":
        return rows[payload]
    pictures = rows["image"].combine_chunks()
    return pa.StructArray.from_arrays([pictures, pa.nulls(len(pictures), pa.string())], fields=list(IMAGE))


def split_name(split: str) -> str:
    """A split as `datasets` lets one be called: letters, digits, _ and dots in between."""
    return re.sub(r"\W+", "_", split).strip("_") or "unnamed"
