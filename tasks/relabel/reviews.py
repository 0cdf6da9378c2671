"""People's decisions: read from a file they filled in, and laid over the machine's.

A reviewer names a class or leaves it empty to drop the row; of multi_label, all classes that apply, joined
by `|`, which alone says that none does; of regression, a number. A person outranks every machine run,
whenever it ran; among people the latest decision wins. Pure functions over Arrow tables; the cost
is a sort of the reviews and a hash join with the rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from polars import selectors

from tasks.data import ACTIONS, Decisions
from tasks.given import labels_of, sets_to_array
from tasks.method import Task

REVIEWS = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),  # null: the row is dropped
        ("reviewer", pa.string()),
        ("decided_at", pa.timestamp("us", tz="UTC")),
        ("note", pa.string()),
    ]
)
"""Rows of the `reviews` table, for single_label."""

DECIDED = {
    "single_label": REVIEWS.field("label"),
    "multi_label": pa.field("labels", pa.list_(pa.int32())),
    "regression": pa.field("target", pa.float64()),
}
"""What holds the decision, by task; null: the row is dropped."""

REQUIRED = ("id", "label", "reviewer")
JOINT = "|"
CLASSES_SHOWN = 12

ISO_8601 = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<minutes>\d{2}:\d{2})(?::(?<seconds>\d{2})(?:\.(?<fraction>\d{1,6})\d*)?)?"
    r"\s?(?:[Zz]|(?<hours_off>[+-]\d{2}):?(?<minutes_off>\d{2}))?)?$"
)


def schema_of(task: Task) -> pa.Schema:
    """Of the rows of the `reviews` table."""
    return REVIEWS.set(REVIEWS.get_field_index("label"), DECIDED[task])


def read_reviews(
    table: pa.Table, class_names: tuple[str, ...], now: str, task: Task = "single_label"
) -> tuple[pa.Table, list[str]]:
    """Validate an imported table into rows of the `reviews` table.

    table: columns id, label (what is decided, empty to drop the row), reviewer, and if wanted decided_at
    (ISO 8601; UTC unless it says otherwise) and note; any types that print as text. now: ISO 8601, the
    time of decisions that name none. Returns the good rows in the schema of `schema_of`, repeated ones
    once, and a sentence for each bad one; rows count from 1, below the header.
    """
    schema = schema_of(task)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        problems = [f"the file has no column {name}; it needs {', '.join(REQUIRED)}" for name in missing]
        return schema.empty_table(), problems
    moment = pl.select(utc(pl.lit(now))).item()
    if moment is None:
        raise ValueError(f"now is {now!r}, which is no ISO 8601 time; write it like 2026-11-22T09:30")
    read = (
        as_text(table)
        .with_row_index("row", offset=1)
        .with_columns(
            named="label",
            label=meaning(pl.col("label"), class_names, task),
            when=pl.when(pl.col("decided_at").is_null()).then(moment).otherwise(utc(pl.col("decided_at"))),
        )
        .with_columns(problem=problem_alone(class_names, task))
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
    label, when = pl.col("label").alias(DECIDED[task].name), pl.col("when").alias("decided_at")
    columns = good.select("id", label, "reviewer", when, "note")
    return columns.to_arrow().cast(schema), bad["problem"].to_list()


def meaning(text: pl.Expr, class_names: tuple[str, ...], task: Task) -> pl.Expr:
    """What a reviewer wrote, as it is stored; null where it is empty, or means nothing."""
    if task == "regression":
        number = text.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)
    index = {name: place for place, name in enumerate(class_names)}
    if task == "single_label":
        return text.replace_strict(index, default=None, return_dtype=pl.Int32)
    named = text.str.split(JOINT).list.eval(pl.element().str.strip_chars())
    named = named.list.eval(pl.element().filter(pl.element() != ""))
    classes = named.list.eval(pl.element().replace_strict(index, default=None, return_dtype=pl.Int32))
    known = classes.list.eval(pl.element().is_null()).list.any().not_()
    return pl.when(known).then(classes.list.unique().list.sort())


def last_word(reviews: pa.Table, task: Task = "single_label") -> pl.DataFrame:
    """What holds of several decisions on a row: the latest, then the reviewer whose name sorts last,
    whatever order they are stored in."""
    known = pl.DataFrame(reviews.select(schema_of(task).names).cast(schema_of(task)))
    return known.sort(["decided_at", *settling(task)]).unique("id", keep="last", maintain_order=True)


def settling(task: Task) -> list[pl.Expr]:
    """What orders decisions of one moment."""
    decided = pl.col(DECIDED[task].name)
    if task == "multi_label":  # lists do not sort; null comes first, as elsewhere
        decided = decided.cast(pl.List(pl.String)).list.join(JOINT)
    return [pl.col("reviewer"), decided, pl.col("note")]


def overrule(decisions: Decisions, reviews: pa.Table) -> Decisions:
    """Lay people's decisions over a shard's; both keep their order and ids, other rows are untouched.

    reviews: rows of the `reviews` table, of any ids.
    """
    task = task_of(decisions)
    latest = last_word(reviews, task)
    note = pl.col("note").str.strip_chars()
    says = pl.when(note.str.len_chars() > 0).then(pl.format(": {}", note)).otherwise(pl.lit(""))
    latest = latest.with_columns(reason=pl.format("decided by {}{}", "reviewer", says), reviewed=True)
    ids = pl.DataFrame({"id": pl.Series(decisions.ids, dtype=pl.String)})
    found = ids.join(latest, on="id", how="left", maintain_order="left")

    by_person = found["reviewed"].fill_null(False).to_numpy()
    after = None
    if decisions.after is None:
        label = found["label"].fill_null(-1).to_numpy()
    else:
        said = people_said(found[DECIDED[task].name], decisions.after)
        chosen = by_person.reshape(-1, *[1] * (said.ndim - 1))
        after = np.where(chosen, said, decisions.after)
        label = labels_of(after)
    return Decisions(
        ids=decisions.ids,
        given=decisions.given,
        label=np.where(by_person, label, decisions.label).astype(np.int32),
        action=np.where(by_person, ACTIONS.index("human"), decisions.action).astype(np.int8),
        confidence=np.where(by_person, 1.0, decisions.confidence).astype(np.float32),
        reason=np.where(by_person, found["reason"].to_numpy(), decisions.reason),
        decided_by=np.where(by_person, found["reviewer"].to_numpy(), decisions.decided_by),
        before=decisions.before,
        after=after,
    )


def task_of(decisions: Decisions) -> Task:
    """What the rows are given."""
    if decisions.after is None:
        return "single_label"
    return "multi_label" if decisions.after.ndim == 2 else "regression"


def people_said(decided: pl.Series, like: np.ndarray) -> np.ndarray:
    """A column of decisions as an array like `Decisions.after`."""
    if like.ndim == 1:
        return decided.fill_null(np.nan).to_numpy()
    sets = decided.to_arrow().cast(DECIDED["multi_label"].type)
    return sets_to_array(pa.chunked_array([sets]), like.shape[1])


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


EXPECTED = {
    "single_label": "is given the unknown class '{}'; use one of {}, or leave it empty to drop the row",
    "multi_label": "is given '{}', which holds an unknown class; join some of {} by |, write | alone where "
    "none applies, or leave it empty to drop the row",
    "regression": "is given '{}', which is no number; write one like 3.5, or leave it empty to drop the row",
}


def problem_alone(class_names: tuple[str, ...], task: Task) -> pl.Expr:
    """What is wrong with a row taken alone, null if nothing."""
    shown = ", ".join(class_names[:CLASSES_SHOWN]) + (", …" if len(class_names) > CLASSES_SHOWN else "")
    named = [pl.col("named"), *([] if task == "regression" else [pl.lit(shown)])]
    where = pl.format("row {}: id '{}' ", "row", "id")
    return (
        pl.when(pl.col("id").is_null())
        .then(pl.format("row {} has no id; copy it from the exported file", "row"))
        .when(pl.col("reviewer").is_null())
        .then(pl.format("{}has no reviewer; write who decided", where))
        .when(pl.col("named").is_not_null() & pl.col("label").is_null())
        .then(pl.format("{}" + EXPECTED[task], where, *named))
        .when(pl.col("when").is_null())
        .then(
            pl.format(
                "{}has decided_at '{}', which is no date; write it like 2026-11-22T09:30", where, "decided_at"
            )
        )
    )
