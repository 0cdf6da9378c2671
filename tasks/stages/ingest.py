"""Ingest: good rows into `rows`, every other input into `rejects` with its reason.

The fit scans the partition once for what no shard can know alone: which contents and ids occurred
before, and which classes there are. Apply then judges, decodes and encodes a run of inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from storage.classes import extend, vocabulary
from storage.store import TableRef
from tasks.config import Curation
from tasks.data import Examples, State, array_to_lists, ints_or_minus_one, keys_of
from tasks.errors import BadInput
from tasks.ingest import RAW, Source
from tasks.stages.base import Job, Stage
from tasks.stages.hashing import content_hashes, row_ids, seen_before
from tasks.stages.reading import vectors


class IngestStage(Stage):
    name = "ingest"
    tables = ("rejects", "rows")

    def enabled(self, curation: Curation) -> bool:
        return True

    def identity(self, curation: Curation, partition: str) -> Any:
        encoder = curation.ingest.encoder
        return [
            {k: v for k, v in curation.source.identity().items() if k != "path"},
            curation.source.fingerprint(partition),
            [method.identity() for method in curation.ingest.filters],
            encoder.identity() if encoder else None,
        ]

    def reads_before(self, curation: Curation) -> tuple[str, ...]:
        """Earlier rows decide what is a duplicate, of an id that the source gives or of a content. Ids
        that winnow gives carry the partition's name and cannot occur in two."""
        own_ids = getattr(curation.source, "id", "given") is None
        return () if own_ids and not filters_duplicates(curation) else ("rows",)

    def parts(self, job: Job) -> list[str]:
        return ["scan"]

    def fit(self, job: Job, part: str) -> State:
        source = job.curation.source
        ids, hashes, labels = [], [], [pa.array([], pa.string())]
        for batch in source.read(job.partition):
            ids.append(batch["id"])
            hashes.append(content_hashes(batch, source.payload))
            labels += [pc.unique(batch["label"]), pc.unique(batch["truth"])]
        learn_classes(job, pa.chunked_array(labels))
        frame = pl.DataFrame(
            {"id": pa.chunked_array(ids, pa.string()), "content": pa.chunked_array(hashes, pa.string())}
        ).with_columns(
            occurrence=pl.int_range(pl.len(), dtype=pl.Int32).over("content"),
            again=(pl.int_range(pl.len()).over("id") > 0) & pl.col("id").is_not_null(),
        )
        earlier = [ref.partition for ref in job.inputs.get("rows", ())]
        uris = job.store.file_uris("rows", partitions=earlier) if earlier else []
        duplicates = filters_duplicates(job.curation)
        occurrence = frame["occurrence"].to_numpy()
        seen = (occurrence > 0) | seen_before(frame["content"], "content_hash", uris if duplicates else [])
        doubled = frame["again"].to_numpy() | seen_before(frame["id"], "id", uris)
        return State({"occurrence": occurrence, "seen": seen, "doubled": doubled}, {"inputs": len(frame)})

    def size(self, job: Job) -> int:
        return int(job.state("scan").info["inputs"])

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        raw = slice_of(job.curation.source, job.partition, start, stop)
        frame, images = judged(job, raw, job.state("scan"), start)
        good = frame["defect"].is_null().to_numpy()
        kept = pa.Table.from_batches([raw]).filter(pa.array(good))
        return {
            "rejects": rejects(frame.filter(~good), job.curation.source.payload),
            "rows": rows(job, kept, frame.filter(good), images[good] if images is not None else None),
        }

    def dead_end(self, job: Job, refs: Mapping[str, TableRef]) -> str | None:
        if refs["rows"].rows:
            return None
        n = refs["rejects"].rows
        why = (
            f"all {n:,} inputs were rejected; `winnow sql` on rejects says why"
            if n
            else "there were none; see whether it arrived whole"
        )
        return f"ingest of {job.partition} kept no row: {why}"


def filters_duplicates(curation: Curation) -> bool:
    return any(method.kind == "exact_duplicates" for method in curation.ingest.filters)


def learn_classes(job: Job, found: pa.ChunkedArray) -> None:
    """Make the vocabulary cover the declared classes, or those found where none are declared."""
    declared = job.curation.vocabulary
    known = vocabulary(job.store)
    if declared is None:
        new = sorted(set(found.drop_null().to_pylist()) - set(known), key=natural)
        extend(job.store, new)
    elif declared[: len(known)] != known[: len(declared)]:
        raise BadInput(
            f"classes {list(declared)} do not begin with the data set's known {list(known)}: "
            "an index never changes its meaning; append new classes at the end"
        )
    else:
        extend(job.store, declared[len(known) :])


def natural(name: str) -> tuple[int, str]:
    """Sorts numbers by value and after them words by letter."""
    return (len(name), name) if name.isdigit() else (1_000, name)


def slice_of(source: Source, partition: str, start: int, stop: int) -> pa.RecordBatch:
    """The inputs from `start` to `stop` as one batch, reading no further than needed."""
    taken, missing = [], stop - start
    for batch in source.read(partition, start):
        taken.append(batch.slice(0, missing))
        missing -= taken[-1].num_rows
        if not missing:
            break
    combined = pa.Table.from_batches(taken, RAW).combine_chunks().to_batches()
    return combined[0] if combined else pa.RecordBatch.from_pylist([], RAW)


def judged(job: Job, raw: pa.RecordBatch, scan: State, start: int) -> tuple[pl.DataFrame, np.ndarray | None]:
    """RAW plus content_hash, seen and the first defect each input has; the decoded pictures beside it."""
    source, n = job.curation.source, raw.num_rows
    here = slice(start, start + n)
    content = content_hashes(raw, source.payload)
    ids = pc.coalesce(raw["id"], row_ids(job.partition, content, scan.arrays["occurrence"][here]))
    frame = pl.from_arrow(raw)
    assert isinstance(frame, pl.DataFrame)
    frame = frame.with_columns(
        pl.Series("id", ids), pl.Series("content_hash", content), pl.Series("seen", scan.arrays["seen"][here])
    )
    known = pl.Series(vocabulary(job.store), dtype=pl.String)
    frame = blame(
        frame, scan.arrays["doubled"][here], "duplicate_id", pl.format("{} was given to an earlier row", "id")
    )
    unknown = frame["label"].is_not_null() & ~frame["label"].is_in(known.implode())
    frame = blame(
        frame, unknown.to_numpy(), "unknown_label", pl.format("{} is not one of the classes", "label")
    )
    images = None
    if source.payload == "image":
        from tasks.ingest.images import decode

        assert source.shape is not None
        images, ok, codes, details = decode(raw["image"], source.shape)
        frame = blame(
            frame, ~ok, pl.Series(codes, dtype=pl.String), pl.lit(pl.Series(details, dtype=pl.String))
        )
    for method in job.curation.ingest.filters:
        reasons = method.reasons(frame.drop("defect", "detail"))
        parts = reasons.str.splitn(": ", 2).struct.unnest()
        frame = blame(frame, reasons.is_not_null().to_numpy(), parts["field_0"], pl.lit(parts["field_1"]))
    return frame, images


def blame(frame: pl.DataFrame, bad: np.ndarray, code: str | pl.Series, detail: pl.Expr) -> pl.DataFrame:
    """Give the rows of `bad` a defect, unless they have one already."""
    guilty = pl.lit(pl.Series(bad)) & pl.col("defect").is_null()
    return frame.with_columns(
        defect=pl.when(guilty).then(pl.lit(code)).otherwise("defect"),
        detail=pl.when(guilty).then(detail).otherwise("detail"),
    )


def rejects(frame: pl.DataFrame, payload: str | None) -> pa.Table:
    """The bad inputs with all that is needed to mend them and ingest them again."""
    numbers = pl.col("features").list.eval(pl.element().cast(pl.String).fill_null("null")).list.join(", ")
    bodies = {
        "image": pl.col("image"),
        "features": pl.when(pl.col("features").is_not_null()).then(
            pl.format("[{}]", numbers).cast(pl.Binary)
        ),
    }
    body = bodies.get(payload or "", pl.lit(None, pl.Binary))
    table = frame.select(
        "id",
        "source",
        "position",
        pl.col("defect").alias("reason"),
        "detail",
        # A line that could not be taken apart is in `text`, whatever the payload would have been.
        pl.coalesce(pl.col("text").cast(pl.Binary), body).alias("payload"),
    )
    return table.to_arrow()


def rows(job: Job, raw: pa.Table, frame: pl.DataFrame, images: np.ndarray | None) -> pa.Table:
    """The good inputs as rows of the table, in order."""
    classes = pa.array(vocabulary(job.store), pa.string())
    content = frame["content_hash"].to_arrow()
    columns: dict[str, Any] = {
        "id": frame["id"].to_arrow(),
        "source": raw["source"],
        "position": raw["position"],
        "content_hash": content,
        "split": raw["split"],
        "label": pc.index_in(raw["label"], classes),
        "truth": pc.index_in(raw["truth"], classes),
        "text": raw["text"],
        "features": raw["features"],
    }
    if images is not None:
        columns["image"] = pictures(raw["image"].combine_chunks(), images)
    encoder = job.curation.ingest.encoder
    if encoder is not None:
        example = Examples(
            frame["id"].to_numpy(),
            keys_of(content),
            ints_or_minus_one(columns["label"]),
            images,
            vectors(raw["features"], raw.num_rows),
        )
        columns["embedding"] = array_to_lists(encoder.encode(example)) if raw.num_rows else pa.nulls(0)
    return pa.table(columns)


def pictures(given: pa.Array, images: np.ndarray) -> pa.Array:
    """Encoded pictures as they came, raw pixels as PNG: what is stored describes itself."""
    from tasks.ingest.images import encode_png

    n, size = len(images), int(np.prod(images.shape[1:]))
    offsets = pa.py_buffer(np.arange(n + 1, dtype=np.int32) * np.int32(size))
    pixels = pa.Array.from_buffers(
        pa.binary(), n, [None, offsets, pa.py_buffer(np.ascontiguousarray(images))]
    )
    raw = pc.equal(given, pixels)
    return pc.if_else(raw, encode_png(images), given) if pc.any(raw).as_py() else given
