"""The classes that ingest knows: learned, renamed, retired.

What arrives is text, what is kept is an index, and an index never changes its meaning. `rename` maps
the text first: rows that arrive under the old name are of the new one. A class known under the old
name alone keeps its index and gets the new name; where both are known, the old one's index stays
reserved and its rows move to the new one's as their partitions are made again. `retired` classes keep
their index too; rows that arrive with one are rejects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from storage.classes import extend, former_names, rename, vocabulary
from tasks.config import Curation
from tasks.errors import BadInput
from tasks.impossible import MOST_CLASSES
from tasks.ingest import RAW
from tasks.stages.base import Job


def names_identity(curation: Curation) -> list[Any]:
    """What a fingerprint must know of `rename` and `retired`; nothing where there are none."""
    given = {"rename": curation.rename, "retired": sorted(curation.retired)}
    return [given] if any(given.values()) else []


def renamed(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    """A batch of RAW with labels and truths under the names that their classes have now."""
    for column in ("label", "truth", "labels", "truths") if names else ():
        at = RAW.get_field_index(column)
        found = pl.Series(batch[column])
        if found.dtype == pl.List:
            found = found.list.eval(pl.element().replace(names))
        else:
            found = found.cast(pl.String).replace(names)
        batch = batch.set_column(at, RAW.field(at), found.to_arrow().cast(RAW.field(at).type))
    return batch


def names_now(job: Job) -> dict[str, str]:
    """Every name that a class no longer has, to today's: those of the curation, and those of earlier ones."""
    former = former_names(job.store)
    return former | {old: former.get(new, new) for old, new in job.curation.rename.items()}


def learn_classes(job: Job, found: pa.ChunkedArray) -> None:
    """Make the vocabulary cover the declared classes, or those found where none are declared."""
    curation, declared = job.curation, job.curation.vocabulary
    known = rename(job.store, curation.rename)
    if declared is None:
        new = sorted(set(found.drop_null().to_pylist()) - {*known, *curation.retired}, key=natural)
        extend(job.store, new)
    elif declared[: len(known)] != known[: len(declared)]:
        raise BadInput(
            f"classes {list(declared)} do not begin with the data set's known {list(known)}: "
            "an index never changes its meaning; append new classes at the end, and name those that have "
            "another name now under rename"
        )
    elif curation.classes and len(known) > len(declared):
        gone = known[len(declared)]
        raise BadInput(
            f"classes leave out {gone}, which the data set knows: its index stays its own; keep it in its "
            f"place, and write retired: [{gone}] if no row may have it any more"
        )
    else:
        extend(job.store, declared[len(known) :])


def label_defects(job: Job, labels: pl.Series) -> Iterator[tuple[np.ndarray, str, pl.Expr]]:
    """What can be wrong with a label, or with one of several: which rows it befalls, its code, the detail."""
    each = labels if labels.dtype == pl.List else pl.select(pl.concat_list(labels)).to_series()
    given = pl.element().drop_nulls()
    retired = pl.lit(pl.Series(sorted(job.curation.retired), dtype=pl.String).implode())
    known = pl.lit(pl.Series(vocabulary(job.store), dtype=pl.String).implode())
    for code, why, is_wrong in (
        ("retired_class", "retired", given.is_in(retired)),
        ("unknown_label", "not one of the classes", ~given.is_in(known)),
    ):
        strange = each.list.eval(given.filter(is_wrong)).list.first()
        yield strange.is_not_null().to_numpy(), code, pl.format(f"{{}} is {why}", strange)


def refuse_too_many(job: Job) -> None:
    """Raises BadInput where a set of classes is drawn from more of them than windows can hold."""
    classes = len(vocabulary(job.store))
    if job.curation.task == "multi_label" and classes > MOST_CLASSES:
        raise BadInput(
            f"{job.curation.dataset} has {classes:,} classes, and multi_label takes {MOST_CLASSES:,}; "
            "leave rare ones out of its source, and ingest under another name"
        )


def indexed_sets(sets: pa.ChunkedArray, classes: Sequence[str]) -> pa.Array:
    """Lists of names as lists of class indices, sorted and each once; null stays null."""
    names = pl.Series(sets).cast(pl.List(pl.String))
    index = pl.element().replace_strict(
        list(classes), range(len(classes)), default=None, return_dtype=pl.Int32
    )
    found = names.list.eval(index).list.unique().list.sort()
    return found.to_arrow().cast(pa.list_(pa.int32()))


def natural(name: str) -> tuple[int, str]:
    """Sorts numbers by value and after them words by letter."""
    return (len(name), name) if name.isdigit() else (1_000, name)
