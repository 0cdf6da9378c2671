"""`winnow review`: doubtful rows go out to people as a file, and their decisions come back.

An import takes all rows or none, and holds the leases of the partitions it writes to, so that no
run decides on labels in between. The decisions take effect when the partitions run again.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa

from flows import show
from flows.reading import opened
from storage import query
from storage.classes import vocabulary
from storage.content import content_of
from storage.errors import Busy
from storage.leases import lease
from storage.store import Store
from storage.tables import conform
from storage.task import task_of
from tasks.errors import BadInput, StageFailed
from tasks.method import Task
from tasks.plan import digest
from tasks.relabel.reviews import JOINT, REVIEWS, read_reviews, schema_of, settling

SHOWN = 20
"""Refused rows that an error lists; mending these usually mends the others."""
WAIT_SECONDS = 10.0

QUEUE = """
SELECT labels.id, labels.partition, {given} AS given, {suggested} AS suggested, found.p_error,
    labels.reason, ''::VARCHAR AS label, ''::VARCHAR AS reviewer, ''::VARCHAR AS note
FROM labels
LEFT JOIN (
    SELECT partition, id,
        arg_max(p_error, (detector = 'combined', p_error)) AS p_error,
        arg_max(suggested_name, (detector = 'combined', coalesce(p_error, 0))) AS suggested,
        coalesce(flatten(list(doubted)), []::INTEGER[]) AS doubted, min(score) AS score
    FROM issues GROUP BY partition, id
) AS found ON found.partition = labels.partition AND found.id = labels.id
WHERE labels.action = 'review' AND (labels.partition = $1 OR $1 IS NULL)
    AND NOT EXISTS (FROM reviews WHERE reviews.partition = labels.partition AND reviews.id = labels.id)
ORDER BY labels.partition, {doubt}, labels.id
"""
"""Rows that wait for a person and have no decision yet, the most doubtful first."""

TOGGLED = (
    "list_sort([c FOR c IN labels.given_labels IF NOT list_contains(found.doubted, c)]"
    " || [c FOR c IN list_distinct(found.doubted) IF NOT list_contains(labels.given_labels, c)])"
)
JOINED = f"if(len({{0}}) = 0, '{JOINT}', array_to_string([class_name(c) FOR c IN {{0}}], '{JOINT}'))"
VALUE = """(SELECT arg_min(value, (teacher NOT IN ('mean', 'stacked'), teacher)) FROM soft_labels
    WHERE soft_labels.partition = labels.partition AND soft_labels.id = labels.id)"""
ASKED = {
    "single_label": {
        "given": "labels.given_name",
        "suggested": "found.suggested",
        "doubt": "found.p_error DESC",
    },
    "multi_label": {
        "given": JOINED.format("labels.given_labels"),
        "suggested": f"if(labels.given_labels IS NULL, NULL, {JOINED.format(TOGGLED)})",
        "doubt": "found.p_error DESC",
    },
    "regression": {"given": "labels.given_target", "suggested": VALUE, "doubt": "found.score"},
}
"""How people are asked, by task: sets as they are to write them, numbers, and what is the most doubtful."""

FILL_IN = {
    "single_label": "label (empty to drop the row)",
    "multi_label": f"label (names joined by {JOINT}, {JOINT} alone for none of them, empty to drop the row)",
    "regression": "label (a number, empty to drop the row)",
}


def export_reviews(store: Store, file: Path, partition: str | None) -> None:
    """Write the rows that wait for a person, with empty columns to fill in."""
    form = form_of(file)
    if file.exists():
        raise BadInput(f"{file} is there already, perhaps with decisions in it; choose another name")
    known = store.partitions("labels")
    if partition is not None and partition not in known:
        raise BadInput(f"{store.dataset} has no decisions on {partition}; `winnow run` makes them")
    with query.connect(store, "live") as connection:
        queue = QUEUE.format(**ASKED[asked(store)])
        waiting: pa.Table = connection.sql(queue, params=[partition]).to_arrow_table()
    if not waiting.num_rows:
        show.line(f"{store.dataset}: no row waits for a person; {file} is not written")
        return
    with opened(file) as output:
        show.write(waiting, form, output)
    rows = show.plural(waiting.num_rows, "row")
    show.line(
        f"{rows} written to {file}; fill in {FILL_IN[asked(store)]} and reviewer, then `winnow review import`"
    )


def import_reviews(store: Store, file: Path) -> None:
    """Take in the rows that somebody filled in. Raises BadInput, and takes none, where one is bad."""
    filled, blank = split(read(file))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    decisions, problems = read_reviews(filled, vocabulary(store), now, asked(store))
    placed, strangers = place(store, decisions)
    problems += [f"id '{stranger}' is no row of {store.dataset}" for stranger in strangers]
    if problems:
        more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        found = f"{show.plural(len(problems), 'problem')} in {show.plural(filled.num_rows, 'filled-in row')}"
        raise BadInput(f"{file}: {found}, so none was taken: {'; '.join([*problems[:SHOWN], *more])}")
    commit(store, placed, file.name)
    taken = f"{show.plural(decisions.num_rows, 'decision')} on {show.plural(len(placed), 'partition')} taken"
    left = f", {show.plural(blank, 'row')} left undecided" if blank else ""
    show.line(f"{taken}{left}; `winnow backfill … --only stale` applies them")


def asked(store: Store) -> Task:
    """What people are asked for. Raises BadInput where they could not write it down."""
    task = cast(Task, task_of(store))
    unjoinable = [name for name in vocabulary(store) if JOINT in name] if task == "multi_label" else []
    if unjoinable:
        raise BadInput(
            f"class '{unjoinable[0]}' of {store.dataset} holds {JOINT}, by which reviewers join names; "
            "give it another one under rename"
        )
    return task


def form_of(file: Path) -> show.Format:
    forms: dict[str, show.Format] = {".csv": "csv", ".parquet": "parquet"}
    if file.suffix not in forms:
        raise BadInput(f"{file}: the file's name must end in .csv or .parquet")
    return forms[file.suffix]


def read(file: Path) -> pl.DataFrame:
    """The file as it is: text of a CSV stays text, so that id 0042 is not 42. Raises BadInput."""
    form = form_of(file)
    try:
        frame = pl.read_csv(file, infer_schema=False) if form == "csv" else pl.read_parquet(file)
    except FileNotFoundError:
        raise BadInput(f"{file}: there is no such file; `winnow review export` writes one") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{file} cannot be read ({str(error).splitlines()[0]})") from None
    for name in REVIEWS.names:
        dtype = frame.schema.get(name, pl.String())
        if dtype.is_nested() or dtype == pl.Binary:
            raise BadInput(
                f"{file}: column {name} is {dtype}, must be text; write it as text and import again"
            )
    return frame


def split(frame: pl.DataFrame) -> tuple[pa.Table, int]:
    """The rows that somebody touched, and the number of the others, which wait on."""
    wanted = [name for name in ("label", "reviewer", "note") if name in frame.columns]
    text = pl.col(wanted).cast(pl.String).str.strip_chars().fill_null("") != ""
    touched = frame.filter(pl.any_horizontal(text)) if wanted else frame
    return touched.to_arrow(), len(frame) - len(touched)


def place(store: Store, decisions: pa.Table) -> tuple[dict[str, pa.Table], list[str]]:
    """Decisions by the partition that their rows are in, and the ids that are no row at all."""
    ids = decisions["id"].to_pylist()
    with query.connect(store, "live") as connection:
        sql = "SELECT DISTINCT id, partition FROM rows WHERE id IN (SELECT unnest($1::VARCHAR[]))"
        found = pl.DataFrame(connection.sql(sql, params=[ids]).to_arrow_table())
    joined = pl.DataFrame(decisions).join(found, on="id", how="left", maintain_order="left")
    strangers = joined.filter(pl.col("partition").is_null())["id"].unique(maintain_order=True).to_list()
    parts = joined.drop_nulls("partition").partition_by("partition", as_dict=True, include_key=False)
    return {str(key[0]): parts[key].to_arrow().cast(decisions.schema) for key in sorted(parts)}, strangers


def commit(store: Store, placed: dict[str, pa.Table], source: str) -> None:
    """Add the decisions to what each partition has. Raises StageFailed while one is being curated."""
    with ExitStack() as leases:
        try:
            for partition in placed:
                leases.enter_context(lease(store, partition, WAIT_SECONDS, f"review import of {source}"))
        except Busy as busy:
            raise StageFailed(f"{busy}; no decision was taken, import the file again then") from None
        task = asked(store)
        schema = schema_of(task)
        for partition, decisions in placed.items():
            version = store.version("reviews")
            ref = store.ref("reviews", partition)
            before = [store.read(ref, schema.names).cast(schema)] if ref else []
            merged = pl.DataFrame(pa.concat_tables([*before, decisions])).unique(maintain_order=True)
            ordered = merged.sort("id", "decided_at", *settling(task))
            table = conform(ordered.to_arrow().cast(schema), "reviews")
            fingerprint = digest(["reviews", content_of(table.schema, table.to_batches())])
            store.write_shard("reviews", partition, fingerprint, 0, table.num_rows, table)
            info = {"file": source, "decisions": decisions.num_rows}
            store.commit("reviews", partition, fingerprint, [(0, table.num_rows)], [], info, version)
