"""`winnow why`: one row's whole story over all stages, read from the tables as they stand.

Ids are unique within a data set, but an input that was rejected for bearing an earlier row's id has
a story too, so both are told.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from flows import show
from storage import query
from storage.store import Store
from tasks.errors import BadInput
from tasks.report.page import chance, percent

TOP = 3
"""Opinions of a teacher that are shown, the strongest first."""

Found = list[dict[str, Any]]


def tell(store: Store, row: str) -> None:
    """Print what is known of the row with this id. Raises BadInput where there is none."""
    with query.connect(store, "live") as connection:
        rows = about(connection, "SELECT * FROM rows WHERE id = ? ORDER BY partition", row)
        rejects = about(connection, "SELECT * FROM rejects WHERE id = ? ORDER BY partition, position", row)
        if not rows and not rejects:
            raise BadInput(
                f'{store.dataset} has no row {row}; `winnow sql … "SELECT id FROM rows"` lists them'
            )
        for found in rows:
            arrival(store.dataset, found)
            teachers(connection, found)
            detectors(connection, found)
            decision(connection, found)
            people(connection, found)
            uses(connection, found)
        for found in rejects:
            rejection(store.dataset, found)


def about(connection: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> Found:
    table: pa.Table = connection.sql(sql, params=list(values)).to_arrow_table()
    found: Found = table.to_pylist()
    return found


def of(connection: duckdb.DuckDBPyConnection, table: str, row: dict[str, Any], order: str) -> Found:
    """The table's rows on this row."""
    sql = f"SELECT * FROM {table} WHERE partition = ? AND id = ? ORDER BY {order}"
    return about(connection, sql, row["partition"], row["id"])


def arrival(dataset: str, row: dict[str, Any]) -> None:
    show.line(f"{dataset} {row['id']}, of partition {row['partition']}")
    show.line(f"  came from   {row['source']}, position {row['position']}, split {row['split']}")
    show.line(f"  given label {said(row['label_name'], row['label_names'], row['target'])}")
    truth = row["truth_name"], row["truth_names"], row["target_truth"]
    if any(value is not None for value in truth):
        show.line(f"  true label  {said(*truth)} (known for measuring only)")
    for payload in ("image", "text", "features"):
        if row[payload] is not None:
            show.line(f"  {payload:<11} {shortened(row[payload])}")
    if row["duplicate_of"]:
        show.line(f"  same as     {row['duplicate_of']}")
    if row["tags"]:
        show.line(f"  tags        {', '.join(row['tags'])}")


def teachers(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    """Each teacher's strongest opinions, and what it thinks of the given label, of several the least sure."""
    opinions = [
        (
            found["teacher"],
            ", ".join(
                f"{name} {chance(p)}"
                for name, p in zip(found["class_names"][:TOP], found["p"][:TOP], strict=True)
            )
            if found["value"] is None
            else f"{found['value']:.6g}",
            chance(found["given_p"]) if row["label"] is not None or row["labels"] else "",
            str(found["fold"]) if found["fold"] >= 0 else "",
        )
        for found in of(connection, "soft_labels", row, "teacher")
    ]
    section("what teachers that never saw it say", ("teacher", "opinion", "given label", "fold"), opinions)


def detectors(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    found = [
        (
            f["detector"],
            f["score"],
            "yes" if f["is_issue"] else "no",
            suggestion(f, row),
            "-" if f["p_error"] is None else chance(f["p_error"]),
        )
        for f in of(connection, "issues", row, "detector")
    ]
    headings = ("detector", "label quality", "flagged", "suggests", "chance of error")
    section("what detectors found", headings, found)


def decision(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    for found in of(connection, "labels", row, "id"):
        before = found["given_name"], found["given_names"], found["given_target"]
        after = found["label_name"], found["label_names"], found["target"]
        there = any(value is not None for value in after)
        show.line("")
        moved = f"{said(*before)} becomes {said(*after)}" if there else f"{said(*before)} is taken away"
        change = f"{said(*after)} stays" if before == after else moved
        show.line(f"decision: {found['action']}, {change}, by {found['decided_by']}")
        show.line(f"  because     {found['reason']}")
        as_shown = percent if found["action"] == "human" else chance
        show.line(f"  confidence  {as_shown(found['confidence'])}")


def people(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    decided = [
        (
            f["reviewer"],
            said(f["label_name"], f["label_names"], f["target"], "drop it"),
            f"{f['decided_at']:%Y-%m-%d %H:%M} UTC",
            f["note"],
        )
        for f in of(connection, "reviews", row, "decided_at, reviewer")
    ]
    section("what people decided", ("reviewer", "label", "when", "note"), decided)


def uses(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    """What was made of the row: stored views, and places in the distilled set."""
    views = of(connection, "reinforcements", row, "draw")
    show.line("")
    if views:
        tops = ", ".join(f"{view['class_names'][0]} {chance(view['p'][0])}" for view in views)
        show.line(f"views: {len(views)} stored; the teachers' first choice on each: {tops}")
    else:
        show.line("views: none stored")
    sql = "SELECT partition, id FROM distilled WHERE list_contains(origins, ?) ORDER BY partition, id"
    places = [f"{found['id']} of {found['partition']}" for found in about(connection, sql, row["id"])]
    show.line(f"distilled set: {', '.join(places) if places else 'not in it'}\n")


def rejection(dataset: str, found: dict[str, Any]) -> None:
    show.line(f"{dataset} {found['id']}, of partition {found['partition']}, was rejected")
    show.line(f"  because     {found['reason']}" + (f": {found['detail']}" if found["detail"] else ""))
    show.line(f"  came from   {found['source']}, position {found['position']}")
    if found["payload"] is not None:
        show.line(f"  payload     {show.cell(found['payload'])}")


def section(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A table under a title; nothing where there is nothing to say."""
    if rows:
        show.line("")
        show.table(columns, rows, title=title)


def said(name: str | None, names: list[str] | None, number: float | None, nothing: str = "none") -> str:
    """A label of whichever task."""
    if names is not None:
        return ", ".join(names) or "none of the classes"
    if number is not None:
        return f"{number:.6g}"
    return nothing if name is None else name


def suggestion(found: dict[str, Any], row: dict[str, Any]) -> str:
    """What a detector would have instead; of several classes, those to add, and "not" those to take away."""
    if found["doubted_names"] is None:
        return said(found["suggested_name"], None, None)
    given = row["label_names"] or []
    return ", ".join(f"not {name}" if name in given else name for name in found["doubted_names"]) or "none"


def shortened(payload: Any) -> str:
    """A payload in a line."""
    text = show.cell(payload[:8] if isinstance(payload, list) else payload).replace("\n", " ")
    more = isinstance(payload, list) and len(payload) > 8
    text = f"{text[:-1]}, … {len(payload):,} numbers]" if more else text
    return text if len(text) <= 200 else text[:199] + "…"
