"""People's decisions: read from a file they filled in, and laid over the machine's.

A reviewer names a class or leaves it empty to drop the row. A person outranks every machine run,
whenever it ran; among people the latest decision wins. Pure functions over Arrow tables; the cost
is a sort of the reviews and a hash join with the rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from polars import selectors

from tasks.data import ACTIONS, Decisions

REVIEWS = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),  # null: the row is dropped
        ("reviewer", pa.string()),
        ("decided_at", pa.timestamp("us", tz="UTC")),
        ("note", pa.string()),
    ]
)
REQUIRED = ("id", "label", "reviewer")
CLASSES_SHOWN = 12

ISO_8601 = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<minutes>\d{2}:\d{2})(?::(?<seconds>\d{2})(?:\.(?<fraction>\d{1,6})\d*)?)?"
    r"\s?(?:[Zz]|(?<hours_off>[+-]\d{2}):?(?<minutes_off>\d{2}))?)?$"
)


def read_reviews(table: pa.Table, class_names: tuple[str, ...], now: str) -> tuple[pa.Table, list[str]]:
    """Validate an imported table into rows of the `reviews` table.

    table: columns id, label (a class name, empty to drop the row), reviewer, and if wanted decided_at
    (ISO 8601; UTC unless it says otherwise) and note; any types that print as text. now: ISO 8601, the
    time of decisions that name none. Returns the good rows in REVIEWS' schema, repeated ones once, and
    a sentence for each bad one; rows count from 1, below the header.
    """
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        problems = [f"the file has no column {name}; it needs {', '.join(REQUIRED)}" for name in missing]
        return REVIEWS.empty_table(), problems
    moment = pl.select(utc(pl.lit(now))).item()
    if moment is None:
        raise ValueError(f"now is {now!r}, which is no ISO 8601 time; write it like 2026-11-22T09:30")
    read = (
        as_text(table)
        .with_row_index("row", offset=1)
        .with_columns(
            named="label",
            label=pl.col("label").replace_strict(
                list(class_names), range(len(class_names)), default=None, return_dtype=pl.Int32
            ),
            when=pl.when(pl.col("decided_at").is_null()).then(moment).otherwise(utc(pl.col("decided_at"))),
        )
        .with_columns(problem=problem_alone(class_names))
    )
    sound = read.filter(pl.col("problem").is_null()).unique(
        ["id", "named", "reviewer", "when"], keep="first", maintain_order=True
    )
    clash = pl.col("named").fill_null("").n_unique().over("id", "when") > 1
    clashing = sound.with_columns(
        problem=pl.when(clash).then(
            pl.format(
                "row {}: id '{}' has different decisions of the same moment in rows {}; keep one of them",
                "row",
                "id",
                pl.col("row").cast(pl.String).implode().list.join(", ").over("id", "when"),
            )
        )
    )
    bad = pl.concat([read.drop_nulls("problem"), clashing.drop_nulls("problem")]).sort("row")
    good = clashing.filter(pl.col("problem").is_null())
    columns = good.select("id", "label", "reviewer", pl.col("when").alias("decided_at"), "note")
    return columns.to_arrow().cast(REVIEWS), bad["problem"].to_list()


def last_word(reviews: pa.Table) -> pl.DataFrame:
    """What holds of several decisions on a row: the latest, then the reviewer whose name sorts last,
    whatever order they are stored in."""
    order = ["decided_at", "reviewer", "label", "note"]
    return pl.DataFrame(reviews.cast(REVIEWS)).sort(order).unique("id", keep="last", maintain_order=True)


def overrule(decisions: Decisions, reviews: pa.Table) -> Decisions:
    """Lay people's decisions over a shard's; both keep their order and ids, other rows are untouched.

    reviews: rows of the `reviews` table, of any ids.
    """
    latest = last_word(reviews)
    note = pl.col("note").str.strip_chars()
    says = pl.when(note.str.len_chars() > 0).then(pl.format(": {}", note)).otherwise(pl.lit(""))
    latest = latest.with_columns(reason=pl.format("decided by {}{}", "reviewer", says), reviewed=True)
    ids = pl.DataFrame({"id": pl.Series(decisions.ids, dtype=pl.String)})
    found = ids.join(latest, on="id", how="left", maintain_order="left")

    by_person = found["reviewed"].fill_null(False).to_numpy()
    label = found["label"].fill_null(-1).to_numpy()
    return Decisions(
        ids=decisions.ids,
        given=decisions.given,
        label=np.where(by_person, label, decisions.label).astype(np.int32),
        action=np.where(by_person, ACTIONS.index("human"), decisions.action).astype(np.int8),
        confidence=np.where(by_person, 1.0, decisions.confidence).astype(np.float32),
        reason=np.where(by_person, found["reason"].to_numpy(), decisions.reason),
        decided_by=np.where(by_person, found["reviewer"].to_numpy(), decisions.decided_by),
    )


def as_text(table: pa.Table) -> pl.DataFrame:
    """The five columns as trimmed text, null where blank; CSV readers guess ids and classes as numbers."""
    wanted = [name for name in REVIEWS.names if name in table.column_names]
    frame = pl.DataFrame(table.select(wanted))
    frame = frame.with_columns(selectors.datetime(time_zone="*").dt.convert_time_zone("UTC"))
    frame = frame.with_columns(selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    absent = [pl.lit(None, pl.String).alias(name) for name in REVIEWS.names if name not in wanted]
    text = pl.all().cast(pl.String).str.strip_chars()
    return frame.select(pl.when(text != "").then(text)).with_columns(absent)


def utc(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text as a time in UTC; null where it is none."""
    part = text.str.extract_groups(ISO_8601).struct.field
    canonical = pl.format(
        "{}T{}:{}.{}{}:{}",
        part("date"),
        part("minutes").fill_null("00:00"),
        part("seconds").fill_null("00"),
        part("fraction").fill_null("0").str.pad_end(6, "0"),
        part("hours_off").fill_null("+00"),
        part("minutes_off").fill_null("00"),
    )
    return canonical.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)


def problem_alone(class_names: tuple[str, ...]) -> pl.Expr:
    """What is wrong with a row taken alone, null if nothing."""
    shown = ", ".join(class_names[:CLASSES_SHOWN]) + (", …" if len(class_names) > CLASSES_SHOWN else "")
    where = pl.format("row {}: id '{}' ", "row", "id")
    return (
        pl.when(pl.col("id").is_null())
        .then(pl.format("row {} has no id; copy it from the exported file", "row"))
        .when(pl.col("reviewer").is_null())
        .then(pl.format("{}has no reviewer; write who decided", where))
        .when(pl.col("named").is_not_null() & pl.col("label").is_null())
        .then(
            pl.format(
                "{}is given the unknown class '{}'; use one of {}, or leave it empty to drop the row",
                where,
                "named",
                pl.lit(shown),
            )
        )
        .when(pl.col("when").is_null())
        .then(
            pl.format(
                "{}has decided_at '{}', which is no date; write it like 2026-11-22T09:30", where, "decided_at"
            )
        )
    )
