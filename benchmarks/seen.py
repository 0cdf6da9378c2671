"""Whether a content came before, after 10,000 nights of 100 rows: the merged index against a scan of history.

The nights' files are written and listed in the Delta log in one transaction, since a commit each would
take longer than what is measured. A hundred contents are looked for, half of them there. The scan is
the one query that answers it without an index: DuckDB's semi-join over `content_hash` of all files.
Medians of five, taken in turn.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema
from deltalake.transaction import AddAction, create_table_with_add_actions
from rich.progress import Progress

from benchmarks.figures import Figure
from storage.log import PARTITION_BY
from storage.store import Store, TableRef
from storage.tables import conform, schema_of
from tasks.stages.seen import FAN, blocks, lineup_of, seen_before

NIGHTS, ROWS, ASKED, TIMES = 10_000, 100, 100, 5


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        store = Store(name, "nights").open(create=True)
        write(store, progress)
        earlier = store.refs("rows")[: NIGHTS - 1]
        asked = pa.array(
            [content(number) for number in range(0, 2 * NIGHTS * ROWS, 2 * NIGHTS * ROWS // ASKED)]
        )
        first, found = timed(lambda: seen_before(store, earlier, asked, "content_hash"))
        scans, looks = [], []
        for _ in progress.track(range(TIMES), description="asking"):
            seconds, scanned = timed(lambda: scan(store, earlier, asked))
            scans.append(seconds)
            looks.append(timed(lambda: seen_before(store, earlier, asked, "content_hash"))[0])
        windows = list(blocks(lineup_of(earlier)))
    return [
        Figure("nights before this one", len(earlier), "", "= 9999"),
        Figure("answers that differ from the scan's", int((found != scanned).sum()), "", "= 0"),
        Figure("files opened", len(windows), "", "≤ 50"),
        Figure("of them blocks", sum(len(window) >= FAN for window in windows)),
        Figure("scan of every file", median(scans), "s", peer=f"duckdb {duckdb.__version__}"),
        Figure("look into the index", median(looks), "s", "≤ 1"),
        Figure("the first look, which makes the whole index", first, "s"),
    ]


def content(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def write(store: Store, progress: Progress) -> None:
    """The `rows` table of all nights."""
    folder, adds = Path(store.path, "rows"), []
    for night in progress.track(range(NIGHTS), description="writing nights"):
        numbers = range(night * ROWS, (night + 1) * ROWS)
        rows = pa.table(
            {
                "id": [str(number) for number in numbers],
                "source": ["benchmark"] * ROWS,
                "position": pa.array(numbers, pa.int64()),
                "content_hash": [content(number) for number in numbers],
                "split": ["train"] * ROWS,
            }
        )
        partition, fingerprint = f"night-{night:05d}", f"{night:032x}"
        file = folder / f"partition={partition}" / f"{fingerprint}-00000000-{ROWS:08d}.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(conform(rows, "rows"), file, compression="zstd", store_schema=False)
        adds.append(
            AddAction(
                path=file.relative_to(folder).as_posix(),
                size=os.path.getsize(file),
                partition_values={"partition": partition, "content": fingerprint},
                modification_time=0,
                data_change=True,
                stats=json.dumps({"numRecords": ROWS}),
            )
        )
    schema = pa.schema([*schema_of("rows"), pa.field("content", pa.string())])
    create_table_with_add_actions(str(folder), Schema.from_arrow(schema), adds, partition_by=PARTITION_BY)


def scan(store: Store, earlier: Sequence[TableRef], asked: pa.Array) -> np.ndarray:
    """The same answer from the files themselves."""
    files = store.file_uris("rows", partitions=[ref.partition for ref in earlier])
    with duckdb.connect() as connection:
        connection.register("asked", pa.table({"value": asked, "number": np.arange(len(asked))}))
        found = connection.sql(
            "SELECT number FROM asked SEMI JOIN read_parquet(?) AS f ON value = f.content_hash",
            params=[files],
        ).fetchnumpy()
    return np.isin(np.arange(len(asked)), found["number"])


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found
