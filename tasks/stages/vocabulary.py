"""The classes that ingest knows: learned, renamed, retired.

What arrives is text, what is kept is an index, and an index never changes its meaning. `rename` maps
the text first: rows that arrive under the old name are of the new one. A class known under the old
name alone keeps its index and gets the new name; where both are known, the old one's index stays
reserved and its rows move to the new one's as their partitions are made again. `retired` classes keep
their index too; rows that arrive with one are rejects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from storage.classes import extend, former_names, rename, vocabulary
from tasks.config import Curation
from tasks.errors import BadInput
from tasks.ingest import RAW
from tasks.stages.base import Job


def names_identity(curation: Curation) -> list[Any]:
    """What a fingerprint must know of `rename` and `retired`; nothing where there are none."""
    given = {"rename": curation.rename, "retired": sorted(curation.retired)}
    return [given] if any(given.values()) else []


def renamed(batch: pa.RecordBatch, names: Mapping[str, str]) -> pa.RecordBatch:
    """A batch of RAW with labels and truths under the names that their classes have now."""
    for column in ("label", "truth") if names else ():
        at = RAW.get_field_index(column)
        found = pl.Series(batch[column], dtype=pl.String).replace(names)
        batch = batch.set_column(at, RAW.field(at), found.to_arrow().cast(pa.string()))
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


def label_defects(job: Job, labels: pl.Series) -> Iterator[tuple[np.ndarray, str, str]]:
    """What can be wrong with a label: which rows it befalls, its code, and a detail to put the label in."""
    retired = set(job.curation.retired)
    known = pl.Series(vocabulary(job.store), dtype=pl.String)
    yield labels.is_in(sorted(retired)).fill_null(False).to_numpy(), "retired_class", "{} is retired"
    is_unknown = labels.is_not_null() & ~labels.is_in(known.implode())
    yield is_unknown.to_numpy(), "unknown_label", "{} is not one of the classes"


def natural(name: str) -> tuple[int, str]:
    """Sorts numbers by value and after them words by letter."""
    return (len(name), name) if name.isdigit() else (1_000, name)
