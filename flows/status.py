"""`winnow status`: how far a run is, what failed and why, and how fresh the data is.

Read from the store alone, so it works from any machine that sees it, whoever runs what where. Fresh is
judged by the date of the data: filling in an old date today makes nothing fresh.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal

from flows import show
from storage import releases
from storage.leases import live
from storage.ledger import Ledger, Planned
from storage.store import Store
from tasks.config import Curation
from tasks.errors import BadInput
from tasks.ingest.files import UNKNOWN
from tasks.plan import enabled

ERRORS_SHOWN = 100


def show_status(curation: Curation, store: Store, run: str | None, form: Literal["table", "json"]) -> None:
    """Print the newest run, or the one named."""
    found = status(curation, store, run)
    if form == "json":
        print(json.dumps(found, indent=1))
        return
    if found["run"]:
        show_run(found)
    else:
        show.line(f"nothing was ever run on {store.dataset}")
    show_freshness(store.dataset, found["freshness"])


def status(curation: Curation, store: Store, run: str | None = None) -> dict[str, Any]:
    """What `winnow status` shows, as JSON. Raises BadInput where there is no such run."""
    ledger = Ledger(store)
    known = ledger.runs()
    planned = ledger.planned(run or known[-1]) if known and run in (None, *known) else None
    if run is not None and planned is None:
        there = f"the newest is {known[-1]}" if known else "there is none yet"
        raise BadInput(f"{store.dataset} has no run {run}; {there}")
    return {
        "dataset": store.dataset,
        "run": progress(ledger, planned) if planned else None,
        "freshness": freshness(curation, store),
    }


def progress(ledger: Ledger, planned: Planned) -> dict[str, Any]:
    """How the partitions of a run stand. state: how it ended, or running, or interrupted if it was killed."""
    states: dict[str, str] = dict(ledger.states(planned.run))
    ended = ledger.ended(planned.run)
    holder = ledger.under_way(planned.run)
    open_ones = [partition for partition in planned.partitions if partition not in states]
    running = {p: who for p in open_ones if holder and (who := live(ledger.store, p))}
    rest = "cancelled" if ended == "cancelled" else "waiting"
    states |= {partition: "running" if partition in running else rest for partition in open_ones}
    failed = ledger.receipts(planned.run, "failed", last=ERRORS_SHOWN)
    return {
        "run": planned.run,
        "kind": planned.kind,
        "state": ended or ("running" if holder else "interrupted"),
        "holder": holder,
        "created_at": planned.created_at,
        "partitions": len(planned.partitions),
        "counts": dict(sorted(Counter(states.values()).items())),
        "running": running,
        "failed": [{"partition": r.partition, "attempt": r.attempt, "error": r.error} for r in failed],
    }


def freshness(curation: Curation, store: Store) -> dict[str, Any]:
    """The newest partition that readers get, the newest that has arrived, and how many lie between.

    A night that brought no row is no gap. Inputs that name no partition are in none that could be fresh.
    """
    last = enabled(curation)[-1].table
    release = releases.published(store)
    version = release.versions.get(last) if release else None
    files = store.file_uris(last, version) if version is not None else []
    seen = {file.rpartition("/")[0].rpartition("partition=")[2] for file in files}
    if release and "rows" in release.versions:
        refs = store.refs("rows", version=release.versions["rows"])
        seen |= {ref.partition for ref in refs if not ref.rows} - {UNKNOWN}
    arrived = [name for name in curation.source.partitions() if name != UNKNOWN]
    published = max(seen, default=None)
    return {
        "published": published,
        "release": release.number if release else None,
        "arrived": arrived[-1] if arrived else None,
        "behind": sum(published is None or name > published for name in arrived),
        "gaps": sum(published is not None and name < published and name not in seen for name in arrived),
    }


def show_run(found: dict[str, Any]) -> None:
    run = found["run"]
    counts = ", ".join(f"{n:,} {state}" for state, n in run["counts"].items())
    show.line(f"{run['kind']} {run['run']} is {run['state']}: {counts} of {run['partitions']:,}")
    if run["holder"]:
        show.line(f"at work: {run['holder']}")
    if run["running"]:
        show.table(("running", "by"), run["running"].items())
    if run["failed"]:
        show.table(
            ("failed", "attempts", "error"),
            ((f["partition"], f["attempt"], f["error"]) for f in run["failed"]),
        )


def show_freshness(dataset: str, fresh: dict[str, Any]) -> None:
    if fresh["published"] is None:
        show.line(f"readers of {dataset} have nothing yet; the newest that arrived is {fresh['arrived']}")
        return
    behind = f", {fresh['behind']:,} newer wait" if fresh["behind"] else ", nothing newer has arrived"
    gaps = f", {fresh['gaps']:,} older are missing" if fresh["gaps"] else ""
    upto = f"{fresh['published']} (release {fresh['release']})"
    show.line(f"readers of {dataset} have data up to {upto}{behind}{gaps}")
