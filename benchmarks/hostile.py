"""Hostile YAML, SQL, pictures and files, poisoned pickles and planted secrets: does anything get through?

Every case of tests/flows/hostile_cases.py. YAML, SQL, pictures and files are handed to what reads them; a
case counts as refused if it ends in one sentence or in rejects, and as got through otherwise, however it
ends. Poison is planted as every file of a store and of a source, then everything is read. Secrets are
planted in the environment of real runs on a real Prefect server, most of them failing, as talkative as
Prefect can be; then every file that came of it is searched, Parquet and SQLite by their values.
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter
from rich.progress import Progress

from benchmarks.figures import Figure
from flows.cli import opened, run_command
from storage import query, releases
from storage.errors import StoreError
from storage.query import QueryError, connect, select
from storage.states import from_bytes
from storage.store import Store
from tasks.errors import BadInput
from tasks.ingest import AnySource, BadSource
from tasks.ingest.images import decode
from tests.flows import hostile_cases as cases
from tests.flows.cli_stores import filled
from tests.storage.helpers import put, rows

LIMITS: dict[str, Any] = {"SECONDS": 2.0, "MEMORY": "256MB", "SPILL": "64MB", "RESULT_BYTES": 2**26}
"""Of a query, in the place of minutes and gigabytes."""

READING = (
    "plan {}",
    "sql {} FROM_story",
    "why {} 0001",
    "report {}",
    "releases {}",
    "diff {} 1 2",
    "vacuum {} --dry-run",
)


def run(progress: Progress) -> list[Figure]:
    figures: list[Figure] = []
    longest = 0.0
    with tempfile.TemporaryDirectory() as name:
        for what, attacks in SETS.items():
            folder = Path(name) / what
            folder.mkdir()
            refused = through = 0
            for attack in progress.track(list(attacks(folder)), description=what):
                started = time.perf_counter()
                is_refused = attack()
                longest = max(longest, time.perf_counter() - started)
                refused, through = refused + is_refused, through + (not is_refused)
            figures += [
                Figure(f"{what}: refused or rejected", refused, f"of {refused + through}"),
                Figure(f"{what}: got through", through, "", "= 0"),
            ]
        figures += poisoned(Path(name), progress)
        figures += secrets(Path(name), progress)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return [
        *figures,
        Figure("longest case", longest, "s", "≤ 60"),
        Figure("peak memory of this process", peak / 2**30, "GiB", "≤ 4"),
    ]


Attack = Callable[[], bool]
"""Does it, and says whether it was refused in one sentence."""


def yaml_attacks(folder: Path) -> Iterator[Attack]:
    for number, (_, text, _) in enumerate(cases.YAML):
        file, canary = folder / f"{number}.yaml", folder / "canary"
        data = text if isinstance(text, bytes) else text.replace("{canary}", str(canary)).encode()
        file.write_bytes(data)
        yield lambda file=file, canary=canary: (  # type: ignore[misc]
            is_refused(lambda: opened(str(file)), BadInput, StoreError) and not canary.exists()
        )


def sql_attacks(folder: Path) -> Iterator[Attack]:
    store = Store(str(folder / "store"), "digits").open(create=True)
    ref = put(store, "rows", "p", rows(["a"], [0]))
    releases.publish(store, "p", None, [], {"rows": ref.version})
    put(store, "rows", "q", rows(["b"], [0]))
    secret, new = folder / "secret.txt", folder / "new"
    secret.write_text("planted")
    for sql in cases.SQL:
        asked = sql.format(new=new, secret=secret, other=store.file_uris("rows")[1])
        yield lambda asked=asked: (  # type: ignore[misc]
            is_refused(lambda: ask(store, asked), QueryError) and not new.exists()
        )


def exhausting_attacks(folder: Path) -> Iterator[Attack]:
    store = Store(str(folder / "store"), "digits").open(create=True)
    for sql in cases.EXHAUSTING_SQL:
        yield lambda sql=sql: is_refused(lambda: limited(store, sql), QueryError)  # type: ignore[misc]


def ask(store: Store, sql: str) -> pa.Table:
    with connect(store) as connection:
        return select(connection, sql)


def limited(store: Store, sql: str) -> pa.Table:
    """Ask under LIMITS."""
    before = {name: getattr(query, name) for name in LIMITS}
    for name, value in LIMITS.items():
        setattr(query, name, value)
    try:
        return ask(store, sql)
    finally:
        for name, value in before.items():
            setattr(query, name, value)


def picture_attacks(folder: Path) -> Iterator[Attack]:
    for picture in cases.pictures().values():
        yield lambda picture=picture: not decode([picture], (4, 4, 1))[1].any()  # type: ignore[misc]


def file_attacks(folder: Path) -> Iterator[Attack]:
    for case in cases.files():
        place = folder / case.name.replace(" ", "_").replace(",", "")
        place.mkdir()
        path = place / place.name
        case.write(path)
        yield lambda case=case, path=path: file_is_refused(case, path)  # type: ignore[misc]


def file_is_refused(case: cases.HostileFile, path: Path) -> bool:
    """Whether reading it ended in a sentence, or in as many rejects as it has bad rows."""
    rule = {} if "partition_column" in case.source else {"partition": "p"}
    source = TypeAdapter(AnySource).validate_python({**case.source, "path": str(path), **rule})

    def bad() -> int:
        [partition] = source.partitions()
        return sum(batch.num_rows - batch["defect"].null_count for batch in source.read(partition))

    return is_refused(bad, BadSource) if case.says else bad() == case.bad


def is_refused(attack: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether it ended in one of these errors, of one line."""
    try:
        attack()
    except errors as error:
        return "\n" not in str(error)
    except Exception:
        return False
    return False


SETS: dict[str, Callable[[Path], Iterator[Attack]]] = {
    "YAML": yaml_attacks,
    "SQL": sql_attacks,
    "SQL that exhausts": exhausting_attacks,
    "pictures": picture_attacks,
    "files": file_attacks,
}


def poisoned(folder: Path, progress: Progress) -> list[Figure]:
    """A pickle in the place of every file of a store, of states and of sources, and all of it read."""
    canary = folder / "canary"
    pickle.loads(cases.poison(canary))  # noqa: S301 - it works
    works = canary.exists()
    planted = tracebacks = 0
    canary.unlink(missing_ok=True)
    patterns = ("_delta_log/*.json", "*.parquet", "_classes/*", "_leases/**/*", "_reports/**/*", "*")
    for number, pattern in enumerate(progress.track(patterns, description="poison")):
        place = folder / f"poisoned{number}"
        place.mkdir()
        curation, store = filled(place)
        store.save_report("2026-01-01", "x", "x")
        for file in [path for path in (place / "store").rglob(pattern) if path.is_file()]:
            file.write_bytes(cases.poison(canary))
            planted += 1
        for command in READING:
            words = [word.format(curation).replace("FROM_", "FROM ") for word in command.split()]
            told = io.StringIO()
            with redirect_stdout(told), redirect_stderr(told):
                run_command(words)
            tracebacks += "Traceback" in told.getvalue()
    sources = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "numpy": "npz", "image_folder": "png"}
    for kind, ending in sources.items():
        file = folder / f"source_{kind}" / "cat" / f"x.{ending}"
        file.parent.mkdir(parents=True)
        file.write_bytes(cases.poison(canary))
        planted += 1
        payload: dict[str, dict[str, Any]] = {
            "numpy": {"features": "x", "feature_length": 1},
            "image_folder": {"image_shape": [4, 4, 1]},
        }
        keys = {
            "kind": kind,
            "path": str(file.parent.parent),
            "partition": "p",
            **payload.get(kind, {"text": "text"}),
        }
        source = TypeAdapter(AnySource).validate_python(keys)
        is_refused(lambda source=source: list(source.read("p")), BadSource)  # type: ignore[misc]
    planted += 1
    is_refused(lambda: from_bytes(cases.poison(canary), "x.safetensors"), StoreError)
    return [
        Figure("pickles planted", planted),
        Figure("pickles executed when unpickled, as a check", works, "", "= 1"),
        Figure("pickles executed", canary.exists(), "", "= 0"),
        Figure("tracebacks shown", tracebacks, "", "= 0"),
    ]


def secrets(folder: Path, progress: Progress) -> list[Figure]:
    place = folder / "secrets"
    place.mkdir()
    task = progress.add_task("runs with secrets", total=None)
    ended = cases.run_with_secrets(place)
    progress.remove_task(task)
    as_meant = sum(ended[run.name][0] == run.code for run in cases.RUNS)
    with closing(sqlite3.connect(place / "prefect.db")) as database:
        [(flow_runs,)] = database.execute("SELECT count(*) FROM flow_run WHERE name LIKE 'pets %'")
    files = [path for path in place.rglob("*") if path.is_file()]
    return [
        Figure("runs with secrets that ended as meant", as_meant, "", f"= {len(cases.RUNS)}"),
        Figure("flow runs in the Prefect database that is searched", flow_runs, "", "≥ 5"),
        Figure("secrets planted", len(cases.SECRETS)),
        Figure("files searched, logs and database among them", len(files)),
        Figure("bytes searched", sum(os.path.getsize(path) for path in files) / 2**20, "MiB"),
        Figure("secrets found", len(cases.spilled(place, cases.SECRETS)), "", "= 0"),
    ]
