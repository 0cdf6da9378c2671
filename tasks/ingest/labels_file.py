"""A file that says which label each picture of a folder has.

A line a picture: `file`, its path relative to the folder, and `label`; `split` and `truth` where the file
has such columns. It is read by the source of its form, so the rules of that source hold here: how a label
is spelled, what a broken line is, and that an empty cell is a missing value. Its lines are matched with the
pictures that were found, so nothing is ever opened because a labels file names it.
"""

from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq

from tasks.ingest import BadSource
from tasks.ingest.csv import Csv
from tasks.ingest.files import UNKNOWN, File, reading
from tasks.ingest.jsonl import Jsonl
from tasks.ingest.parquet import Parquet
from tasks.ingest.picture_files import ENTRY

FORMS: dict[str, type[Csv | Jsonl | Parquet]] = {".csv": Csv, ".jsonl": Jsonl, ".parquet": Parquet}
"""What a labels file may be, by how its name ends."""


def labelled(labels: File, pictures: pl.DataFrame, above: str) -> pl.DataFrame:
    """A row (ENTRY) for every line and for every picture without one, in order of the pictures' names.

    pictures: `file`, as the labels file would write it, and `path`, both String; each file once. above:
    what goes before `file` in `source`. Lines that lead to no picture are `missing_payload`; those that
    name none, and broken ones, come last. Raises BadSource if the labels file cannot be read, or has no
    column `file` or `label`.
    """
    if not labels.path.is_file():
        raise BadSource(
            f"{labels.name}: the labels file is not there; add it, or leave labels out to go by folders"
        )
    lines = _lines(labels).with_row_index("line")
    entries = lines.join(pictures, on="file", how="full", coalesce=True).sort("file", "line", nulls_last=True)
    is_lost = pl.col("path").is_null() & pl.col("defect").is_null()
    why = pl.lit(f"{labels.name} lists it, but there is no such picture")
    return entries.with_columns(
        source=(pl.lit(above) + pl.col("file")).fill_null(labels.name),
        defect=pl.when(is_lost).then(pl.lit("missing_payload")).otherwise("defect"),
        detail=pl.when(is_lost).then(why).otherwise("detail"),
    ).select(ENTRY.keys())


def _lines(labels: File) -> pl.DataFrame:
    """The lines in order: `file` and the columns of ENTRY but for `source` and `path`, all String."""
    form = FORMS[labels.path.suffix.lower()]
    with reading(labels.name, form.form):
        optional = {role: role for role in ("split", "truth") if role in _columns(labels)}
    source = form(path=str(labels.path), partition=UNKNOWN, text="file", label="label", **optional)
    empty = pl.DataFrame(schema=ENTRY)
    lines = pl.concat([empty, *source.rows_of([labels])], how="diagonal").drop("source", "path")
    # The mapped text is the file's name, but of a line that could not be taken apart it is the line.
    is_broken = pl.col("defect").eq_missing(pl.lit("broken_line"))
    return lines.with_columns(file=pl.when(~is_broken).then("text"), text=pl.when(is_broken).then("text"))


def _columns(labels: File) -> list[str]:
    """The columns that the file has; of JSON lines, where any may be absent, those it may have."""
    form = FORMS[labels.path.suffix.lower()]
    if form is Parquet:
        return list(pq.read_schema(labels.path).names)
    if form is Csv:
        names, _ = next(Csv(path=str(labels.path), partition=UNKNOWN).lines(labels))
        return names
    return list(ENTRY)
