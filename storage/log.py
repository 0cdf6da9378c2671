"""What the store reads from and writes to a Delta log, as Arrow tables and actions."""

from __future__ import annotations

import json
import time

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import FileSystem

from storage import parquet
from storage.errors import StoreError

SHARD = r"^partition=(?P<folder>[^/]+)/(?P<fingerprint>[^/]+)-(?P<start>\d{8,})-(?P<stop>\d{8,})\.parquet$"
PARTITION_BY = ["partition", "content"]


def listing(delta: DeltaTable, table: str) -> pa.Table:
    """The files of a version in the order of their rows.

    Columns: path (below the table), size, rows, partition, content, fingerprint, start, stop.
    Raises StoreError if a file is not named as the store names its shards.
    """
    # pa.table() asks whether this is a pandas frame, and imports pandas for that: 0.2 s of every command
    actions = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
    shard = pc.extract_regex(actions["path"], SHARD)
    foreign = actions["path"].filter(pc.is_null(shard))
    if len(foreign):
        raise StoreError(
            f"{table} lists {foreign[0]}, which no store wrote; go back to an older version with restore"
        )
    part = {name: pc.struct_field(shard, name) for name in ("fingerprint", "start", "stop")}
    listed = pa.table(
        {
            "path": actions["path"].cast(pa.string()),
            "size": actions["size_bytes"].cast(pa.int64()),
            "rows": actions["num_records"].cast(pa.int64()),
            "partition": actions["partition.partition"].cast(pa.string()),
            "content": actions["partition.content"].cast(pa.string()),
            "fingerprint": part["fingerprint"].cast(pa.string()),
            "start": part["start"].cast(pa.int64()),
            "stop": part["stop"].cast(pa.int64()),
        }
    )
    return listed.sort_by([("partition", "ascending"), ("start", "ascending"), ("stop", "ascending")])


def add_action(
    filesystem: FileSystem, folder: str, path: str, partition: str, content: str, news: bool = True
) -> AddAction:
    """The action that adds the file `path` (below the table's `folder`), its row count from its footer.
    Without `news` it holds the rows of files that the same commit removes."""
    found = filesystem.get_file_info(f"{folder}/{path}")
    with parquet.opened(found.path, filesystem) as file:
        rows = file.metadata.num_rows
    return AddAction(
        path=path,
        size=found.size,
        partition_values={"partition": partition, "content": content},
        modification_time=found.mtime_ns // 1_000_000,
        data_change=news,
        stats=json.dumps({"numRecords": rows}),
    )


def removals(held: pa.Table, adds: list[AddAction], news: bool = True) -> list[RemoveAction]:
    """The actions that remove the files of `held` that are not in `adds`.

    A path in both is only added: the newer action replaces the older one, and an action that
    removes a path of the same commit would lose it.
    """
    kept = {add.path for add in adds}
    now = time.time_ns() // 1_000_000
    names = ("path", "size", "partition", "content")
    return [
        RemoveAction(path, news, now, size, {"partition": partition, "content": content})
        for path, size, partition, content in zip(*(held[name].to_pylist() for name in names), strict=True)
        if path not in kept
    ]


def same(held: pa.Table, adds: list[AddAction], content: str) -> bool:
    """Whether `held` lists exactly the files of `adds`, with that content."""
    return sorted(held["path"].to_pylist()) == sorted(add.path for add in adds) and set(
        held["content"].to_pylist()
    ) == {content}
