"""Ingest: good rows into `rows`, every other input into `rejects` with its reason.

The fit scans the partition once for what no shard can know alone: which contents and ids occurred
before, and which classes there are. Apply then judges, decodes and encodes a run of inputs. A row that
people labelled and that came without a label of its own has what most of them said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from storage.classes import vocabulary
from storage.store import TableRef
from storage.task import settle
from tasks.config import Curation
from tasks.data import Examples, State, array_to_lists, ints_or_minus_one, keys_of
from tasks.ingest import RAW, Source, people
from tasks.redaction import redact_columns
from tasks.stages.base import Job, Stage
from tasks.stages.hashing import content_hashes, row_ids
from tasks.stages.reading import vectors
from tasks.stages.seen import FAN, blocks, lineup_of, place_of, seen_before
from tasks.stages.vocabulary import (
    indexed_sets,
    label_defects,
    learn_classes,
    names_identity,
    names_now,
    refuse_too_many,
    renamed,
)


class IngestStage(Stage):
    name = "ingest"
    tables = ("rejects", "rows")

    def enabled(self, curation: Curation) -> bool:
        return True

    def identity(self, curation: Curation) -> Any:
        encoder = curation.ingest.encoder
        return [
            {k: v for k, v in curation.source.identity().items() if k != "path"},
            [method.identity() for method in curation.ingest.filters],
            encoder.identity() if encoder else None,
            *names_identity(curation),
        ]

    def arrival(self, curation: Curation, partition: str) -> str | None:
        return curation.source.fingerprint(partition)

    def reads_before(self, curation: Curation) -> tuple[str, ...]:
        """Earlier rows decide what is a duplicate."""
        return ("rows",) if looked_up(curation) else ()

    def states_used(self, job: Job) -> list[str]:
        merged = [window for window in blocks(lineup_of(job.inputs.get("rows", ()))) if len(window) >= FAN]
        return ["/".join(place_of(window, c)) for c in looked_up(job.curation) for window in merged]

    def rounds(self, job: Job) -> list[list[str]]:
        return [["scan"]]

    def fit(self, job: Job, part: str) -> State:
        settle(job.store, job.curation.task)
        source = job.curation.source
        ids, hashes, labels = [], [], [pa.array([], pa.string())]
        for batch in source.read(job.partition):
            batch = settled(batch, job.curation.rename)
            ids.append(batch["id"])
            hashes.append(content_hashes(batch, source.payload))
            said = people.labels(batch["annotations"])
            sets = [batch[column].flatten() for column in ("labels", "truths")]
            labels += [pc.unique(column) for column in (batch["label"], batch["truth"], said, *sets)]
        learn_classes(job, pa.chunked_array(labels))
        refuse_too_many(job)
        frame = pl.DataFrame(
            {"id": pa.chunked_array(ids, pa.string()), "content": pa.chunked_array(hashes, pa.string())}
        ).with_columns(
            occurrence=pl.int_range(pl.len(), dtype=pl.Int32).over("content"),
            again=(pl.int_range(pl.len()).over("id") > 0) & pl.col("id").is_not_null(),
        )
        earlier = job.inputs.get("rows", ())
        occurrence, doubled = frame["occurrence"].to_numpy(), frame["again"].to_numpy()
        seen = occurrence > 0
        if "content_hash" in looked_up(job.curation):
            seen = seen | seen_before(job.store, earlier, frame["content"].to_arrow(), "content_hash")
        if "id" in looked_up(job.curation):
            doubled = doubled | seen_before(job.store, earlier, frame["id"].to_arrow(), "id")
        return State({"occurrence": occurrence, "seen": seen, "doubled": doubled}, {"inputs": len(frame)})

    def size(self, job: Job) -> int:
        return int(job.state("scan").info["inputs"])

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        raw = slice_of(job.curation.source, job.partition, start, stop)
        raw = settled(raw, names_now(job))
        frame, images = judged(job, raw, job.state("scan"), start)
        good = frame["defect"].is_null().to_numpy()
        kept = pa.Table.from_batches([raw]).filter(pa.array(good))
        bad = rejects(frame.filter(~good), job.curation.source.payload)
        fine = rows(job, kept, frame.filter(good), images[good] if images is not None else None)
        return {
            "rejects": redact_columns(bad, "source", "detail"),
            "rows": redact_columns(fine, "source"),
        }

    def dead_end(self, job: Job, refs: Mapping[str, TableRef]) -> str | None:
        curated_before = job.store.ref("metrics", job.partition) is not None
        if refs["rows"].rows or (job.curation.may_be_empty(job.partition) and not curated_before):
            return None
        n = refs["rejects"].rows
        why = (
            f"all {n:,} inputs were rejected; `winnow sql` on rejects says why"
            if n
            else "there were none; see whether it arrived whole"
        )
        before = "; readers keep what it held before" if curated_before else ""
        return f"ingest of {job.partition} kept no row: {why}{before}"


def settled(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    """A batch of RAW with today's names of classes, and a label wherever people gave the row one."""
    batch = renamed(batch, names)
    said = batch["annotations"]
    if said.null_count == len(said):
        return batch
    said = people.renamed(said, names) if names else said
    label = pc.coalesce(batch["label"], people.majority(said))
    for name, column in (("annotations", said), ("label", label)):
        at = RAW.get_field_index(name)
        batch = batch.set_column(at, RAW.field(at), column)
    return batch


def looked_up(curation: Curation) -> list[str]:
    """What is looked for in earlier rows: an id that the source gives, a content that may come once only.
    Ids that winnow gives carry the partition's name and cannot occur in two."""
    own_ids = getattr(curation.source, "id", "given") is None
    duplicates = any(method.kind == "exact_duplicates" for method in curation.ingest.filters)
    return ["content_hash"] * duplicates + ["id"] * (not own_ids)


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
    frame = blame(
        frame, scan.arrays["doubled"][here], "duplicate_id", pl.format("{} was given to an earlier row", "id")
    )
    for labels in (frame["label"], frame["labels"]):
        for is_wrong, code, told in label_defects(job, labels):
            frame = blame(frame, is_wrong, code, told)
    for is_wrong, code, told in annotation_defects(job, frame["annotations"]):
        frame = blame(frame, is_wrong, code, told)
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


def annotation_defects(job: Job, said: pl.Series) -> Iterator[tuple[np.ndarray, str, pl.Expr]]:
    """What can be wrong with what people said: which rows it befalls, its code, and the detail."""
    known, retired = vocabulary(job.store), job.curation.retired
    for code, why, strange in (
        ("retired_class", "retired", people.first_among(said, retired)),
        ("unknown_label", "not one of the classes", people.first_beyond(said, known)),
    ):
        yield strange.is_not_null().to_numpy(), code, pl.format(f"{{}}, as somebody said, is {why}", strange)


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
        "annotations": people.indexed(raw["annotations"].combine_chunks(), vocabulary(job.store)),
    }
    if job.curation.task == "multi_label":
        columns |= {name: indexed_sets(raw[name], classes.to_pylist()) for name in ("labels", "truths")}
    if job.curation.task == "regression":
        columns |= {name: raw[name] for name in ("target", "target_truth")}
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
            texts=raw["text"].to_numpy(),
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
