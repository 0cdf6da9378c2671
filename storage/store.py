"""One data set's tables, states and reports.

    {root}/{dataset}/{table}/partition={p}/{fingerprint}-{start}-{stop}.parquet   and _delta_log
    {root}/{dataset}/_states/{partition}/{name}.safetensors
    {root}/{dataset}/_reports/{partition}/{name}.html
    {root}/{dataset}/_leases/{name}/{generation}.json      see leases.py
    {root}/{dataset}/_classes/{n}.json                     see classes.py

Workers write finished Parquet files into the table's folder; a commit then lists them in the Delta
log, and nothing is copied. What must be known of a partition without reading its history stands in
the snapshot itself: the fingerprint (how it was made) is in the files' names, the row counts are in
their statistics, and the content hash is a second partition column, `content`, that only the log
holds. So ten thousand partitions cost one read of the log, and `restore` brings all of it back.

A commit is tried on exactly the version it was checked against (`max_commit_retries=0`): whether
another commit in between matters is decided here, by comparing the partition's files, and not by
Delta's conflict rules, which let two writers both fill a partition that was empty.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, RemoveAction
from pyarrow.fs import FileType

from storage import files, log, parquet, states
from storage.content import content_of
from storage.errors import Busy, Fenced, StoreError, Unreachable
from storage.tables import GROWN, conform, file_schema, schema_of, traceless, without_empty

__all__ = ["Busy", "Fenced", "Store", "StoreError", "TableRef"]

COMMIT_TRIES = 200
ANSWERS_LOST = 5
"""After so many of one commit it gives up."""
RECENT_COMMITS = 1000
SNAPSHOTS = 16


@dataclass(frozen=True, slots=True)
class TableRef:
    """A partition of a table at one moment: what travels between stages.

    version: the table's version it was read at. fingerprint: how it was made. content: what it
    contains; equal for equal content, whatever the files.
    """

    table: str
    partition: str
    version: int
    rows: int
    fingerprint: str
    content: str


class Store:
    """The tables of one data set below `root`. Cheap to make, and picklable for other processes."""

    def __init__(self, root: str, dataset: str) -> None:
        self.disk = files.disk(root)
        self.root, self.filesystem = self.disk.root, self.disk.filesystem
        self.dataset = files.checked(dataset, "data set")
        self.path = f"{self.disk.base.rstrip('/')}/{dataset}"
        self._snapshots: dict[tuple[str, int], pa.Table] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.root, self.dataset)

    def open(self, create: bool) -> Self:
        """Checks that the data set is there, or makes its folder. Raises StoreError."""
        if create:
            self.disk.make_folder(self.disk.inside(self.path))
        elif self.filesystem.get_file_info(self.path).type != FileType.Directory:
            raise StoreError(f"{self.path} does not exist; run a partition of {self.dataset} first")
        self.disk.inside(self.path)
        return self

    def address(self, path: str) -> str:
        """What people and browsers call a path: file:///… or s3://…"""
        return self.disk.address(path)

    # Reading the log

    def version(self, table: str) -> int | None:
        """The newest version of a table; None if nothing was ever committed to it."""
        delta = self._delta(table)
        return None if delta is None else int(delta.version())

    def partitions(self, table: str) -> list[str]:
        """Every partition that holds something (be it zero rows), in name order."""
        return [ref.partition for ref in self.refs(table)]

    def ref(self, table: str, partition: str) -> TableRef | None:
        """The newest committed state of a partition; None if there is none."""
        files.checked(partition, "partition")
        delta = self._delta(table)
        if delta is None:
            return None
        found = self._refs(table, int(delta.version()), self._of(self._snapshot(table, delta), [partition]))
        return found[0] if found else None

    def refs(
        self, table: str, up_to: str | None = None, last: int | None = None, version: int | None = None
    ) -> list[TableRef]:
        """The partitions in name order, up to and with `up_to`, the `last` of those, at one version (the
        newest by default)."""
        delta = self._delta(table, version)
        if delta is None:
            return []
        listed = self._snapshot(table, delta)
        if up_to is not None:
            listed = listed.filter(pc.less_equal(listed["partition"], up_to))
        found = self._refs(table, int(delta.version()), listed)
        return found if last is None else found[len(found) - min(last, len(found)) :]

    def shards(self, ref: TableRef) -> list[tuple[int, int, int]]:
        """(start, stop, rows) of each of a partition's files, in order; start and stop as committed."""
        listed = self._listed(ref)
        return list(zip(*(listed[name].to_pylist() for name in ("start", "stop", "rows")), strict=True))

    def row_groups(self, ref: TableRef) -> list[tuple[int, int]]:
        """The runs of a partition's rows that stand together in its files: what is best read at once."""
        listed = self._listed(ref)

        def rows_of(path: str) -> list[int]:
            with parquet.opened(path, self.filesystem) as file:
                return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]

        paths = self._paths(ref.table, listed)
        counts = [n for found in self.disk.each(rows_of, paths) for n in found]
        stops = list(accumulate(counts))
        return [(stop - rows, stop) for rows, stop in zip(counts, stops, strict=True) if rows]

    def file_uris(
        self, table: str, version: int | None = None, partitions: Sequence[str] | None = None
    ) -> list[str]:
        """The data files of a version (the newest by default), in the order of their rows."""
        delta = self._delta(table, version)
        if delta is None:
            return []
        listed = self._snapshot(table, delta)
        if partitions is not None:
            listed = self._of(listed, partitions)
        return self._paths(table, listed)

    def history(self, table: str, limit: int | None = None) -> list[dict[str, Any]]:
        """The newest `limit` commits, newest first, each with its metadata."""
        delta = self._delta(table)
        return [] if delta is None else delta.history(limit)

    def info(self, ref: TableRef) -> dict[str, Any]:
        """What was noted at the commit that made `ref`; empty once that is long ago."""
        for made in self.history(ref.table, RECENT_COMMITS):
            if made.get("partition") == ref.partition and made.get("fingerprint") == ref.fingerprint:
                noted: dict[str, Any] = json.loads(made["info"])
                return noted
        return {}

    def size(self, ref: TableRef) -> int:
        """The bytes of a partition's data files."""
        return int(pc.sum(self._listed(ref)["size"]).as_py())

    def restore(self, table: str, version: int) -> int:
        """Makes a new version that holds what `version` held; returns its number."""
        delta = self._delta(table)
        if delta is None or not 0 <= version <= delta.version():
            raise StoreError(f"{table} of {self.dataset} has no version {version} to go back to")
        with self.disk.explained(self.inside(table)):
            delta.restore(version)
        return self.version(table) or 0

    def evolve(self, table: str) -> None:
        """Gives a table that was made before some of its columns, or of the fields of a struct, were thought
        of what it lacks."""
        delta = self._delta(table)
        if delta is None:
            return
        known = {field.name: names_in(field.type) for field in pa.schema(delta.schema().to_arrow())}
        missing = pa.schema(
            [field for field in schema_of(table) if known.get(field.name) != names_in(field.type)]
        )
        if len(missing):
            # Whoever commits at the same time may have done it first.
            with self.disk.explained(self.inside(table)), suppress(CommitFailedError):
                delta.alter.add_columns(Schema.from_arrow(missing).fields)

    # Writing

    def write_shard(
        self, table: str, partition: str, fingerprint: str, start: int, stop: int, data: pa.Table
    ) -> None:
        """Writes one finished file; readers see it after `commit`.

        A file that is there is never replaced, since a release may need it: writing the same values
        again does nothing, and other values under the same fingerprint are refused.
        """
        path = self._shard(table, partition, fingerprint, start, stop)
        conformed = without_empty(conform(data, table), table)
        if self.disk.put_if_absent(path, lambda stream: parquet.write(conformed, stream)):
            return
        computed = content_of(conformed.schema, conformed.to_batches(), traceless(table))
        if self._content(table, [path]) != computed:
            raise StoreError(
                f"{path} holds other values than were computed now for the same fingerprint; raise the "
                "revision of the method that changed, or delete the file if it is damaged"
            )

    def has_shard(self, table: str, partition: str, fingerprint: str, start: int, stop: int) -> bool:
        """Whether that finished file is there, committed or not."""
        return self.disk.exists(self._shard(table, partition, fingerprint, start, stop))

    def commit(
        self,
        table: str,
        partition: str,
        fingerprint: str,
        spans: list[tuple[int, int]],
        parents: Sequence[Mapping[str, Any]],
        info: dict[str, Any],
        base_version: int | None,
        *,
        alone: bool = False,
        merge: bool = False,
    ) -> TableRef:
        """Replaces a partition's files by exactly these shards, in one transaction.

        `base_version` is the table's version the work was planned on (None: there was no table).
        Raises Fenced if this partition was written since (with `alone`: if any was), StoreError if a
        shard is missing. Does nothing when the partition holds exactly these files already.
        With `merge` the shards must hold what the partition holds, and Delta is told that nothing changed.
        """
        paths = [self._shard(table, partition, fingerprint, start, stop) for start, stop in sorted(spans)]
        content = self._content(table, paths)
        folder = f"{self.path}/{table}"
        adds = [
            log.add_action(
                self.filesystem, folder, path.removeprefix(f"{folder}/"), partition, content, not merge
            )
            for path in paths
        ]
        rows = sum(json.loads(add.stats)["numRecords"] for add in adds)
        metadata = {
            "partition": partition,
            "fingerprint": fingerprint,
            "content": content,
            "rows": str(rows),
            "parents": json.dumps(list(parents)),
            "info": json.dumps(info, sort_keys=True),
        }
        if table in GROWN:
            self.evolve(table)
        lost = 0
        for attempt in range(COMMIT_TRIES):
            delta = self._delta(table) or self._create(table)
            held = self._of(self._snapshot(table, delta), [partition])
            if log.same(held, adds, content):
                return TableRef(table, partition, int(delta.version()), rows, fingerprint, content)
            self._fence(table, partition, held, int(delta.version()), base_version, alone)
            if merge and set(held["content"].to_pylist()) != {content}:
                raise StoreError(
                    f"{table} of {self.dataset}: the files of {partition} do not hold what was committed; "
                    "run the partition again with --force"
                )
            try:
                removals = log.removals(held, adds, news=not merge)
                version = self._transact(delta, table, adds, removals, metadata)
                return TableRef(table, partition, version, rows, fingerprint, content)
            except CommitFailedError:  # somebody else made that version: look again, at what they did
                time.sleep(random.uniform(0, min(0.001 * 2**attempt, 0.2)))
            except Unreachable:  # the answer was lost, and with it whether we made that version: look again
                lost += 1
                if lost == ANSWERS_LOST:
                    raise
        raise StoreError(
            f"{table} of {self.dataset}: partition {partition} could not be committed between the commits of "
            "others; run it again"
        )

    # Rows

    def read(
        self,
        refs: TableRef | Sequence[TableRef],
        columns: list[str] | None = None,
        span: tuple[int, int] | None = None,
    ) -> pa.Table:
        """The rows of one or several partitions of a table, in order; `partition` only if asked for.

        `span` counts rows of what `refs` hold together; only the row groups it touches are read.
        """
        refs = [refs] if isinstance(refs, TableRef) else list(refs)
        schema = self._columns(refs, columns)
        return pa.concat_tables([schema.empty_table(), *self._pieces(refs, schema, span)])

    def batches(
        self, refs: TableRef | Sequence[TableRef], columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Like `read`, a row group at a time."""
        refs = [refs] if isinstance(refs, TableRef) else list(refs)
        for piece in self._pieces(refs, self._columns(refs, columns), None):
            yield from piece.to_batches()

    # States and reports

    def save_state(
        self, partition: str, name: str, arrays: dict[str, np.ndarray], info: dict[str, Any]
    ) -> None:
        """Saves what a fit found, as one file that appears whole."""
        path = self._state(partition, name)
        self.disk.write_whole(path, files.writer(states.to_bytes(arrays, info)))

    def load_state(self, partition: str, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The arrays and the info of a saved state; None if there is none."""
        path = self._state(partition, name)
        try:
            return states.from_bytes(self.disk.read(path), path)
        except FileNotFoundError:
            return None

    def has_state(self, partition: str, name: str) -> bool:
        """Whether that state was saved."""
        return self.disk.exists(self._state(partition, name))

    def states(self, start: str) -> list[str]:
        """The saved states whose "{partition}/{name}" starts with `start`, in name order."""
        partition, _, name = start.partition("/")
        there = self.disk.names(self.inside(f"_states/{files.checked(partition, 'partition')}"))
        names = (found.removesuffix(".safetensors") for found in there if found.endswith(".safetensors"))
        return sorted(f"{partition}/{found}" for found in names if found.startswith(name))

    def save_report(self, partition: str, name: str, html: str) -> str:
        """Saves a page and returns its path."""
        folder = f"_reports/{files.checked(partition, 'partition')}"
        path = self.inside(f"{folder}/{files.checked(name, 'report')}.html")
        self.disk.write_whole(path, files.writer(html.encode()))
        return path

    def report_path(self, partition: str) -> str | None:
        """The page saved last for a partition; None if there is none."""
        folder = self.inside(f"_reports/{files.checked(partition, 'partition')}")
        pages = [page for page in self.disk.listing(folder) if page.path.endswith(".html")]
        return max(pages, key=lambda page: page.mtime_ns).path if pages else None

    def vacuum(self, dry_run: bool = False) -> list[str]:
        """Removes what nothing needs any more; see `storage.vacuum`. Returns the paths."""
        from storage.vacuum import vacuum

        return vacuum(self, dry_run)

    # Paths

    def inside(self, relative: str) -> str:
        """The absolute path of something in the data set. Raises StoreError if a link leads it out."""
        return self.disk.inside(f"{self.path}/{relative}")

    def _shard(self, table: str, partition: str, fingerprint: str, start: int, stop: int) -> str:
        schema_of(table)
        files.checked(partition, "partition")
        files.checked(fingerprint, "fingerprint")
        return self.inside(f"{table}/partition={partition}/{fingerprint}-{start:08d}-{stop:08d}.parquet")

    def _state(self, partition: str, name: str) -> str:
        folder = f"_states/{files.checked(partition, 'partition')}"
        return self.inside(f"{folder}/{files.checked(name, 'state')}.safetensors")

    def _paths(self, table: str, listed: pa.Table) -> list[str]:
        """Absolute paths of listed files; a link on the way is checked to stay in the store."""
        folder = self.inside(table)
        paths = [f"{folder}/{path}" for path in listed["path"].to_pylist()]
        self.disk.require_inside(paths)
        return paths

    # The Delta log

    def _delta(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The table at a version, the newest by default; None if the table does not exist."""
        schema_of(table)
        path = self.inside(table)
        try:
            with self.disk.explained(path):
                return DeltaTable(self.disk.uri(path), version=version, storage_options=self.disk.options)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise StoreError(
                f"{path} has no readable version {'' if version is None else version} "
                f"({str(error).splitlines()[0]}); "
                "go back to an older version with restore"
            ) from error

    def _create(self, table: str) -> DeltaTable:
        """Makes an empty table, or opens the one that another process made first."""
        schema = pa.schema([*schema_of(table), pa.field("content", pa.string())])
        path = self.inside(table)
        self.disk.make_folder(path)
        with self.disk.explained(path), suppress(CommitFailedError, DeltaError):
            DeltaTable.create(
                self.disk.uri(path),
                schema,
                mode="ignore",
                partition_by=log.PARTITION_BY,
                # A release names versions, so the log of old versions must never be cleaned up.
                configuration={"delta.enableExpiredLogCleanup": "false"},
                storage_options=self.disk.options,
            )
        made = self._delta(table)
        if made is None:
            raise StoreError(f"{path} cannot be made into a table; look for foreign files in it")
        return made

    def _transact(
        self,
        delta: DeltaTable,
        table: str,
        adds: list[AddAction],
        removals: list[RemoveAction],
        metadata: dict[str, Any],
    ) -> int:
        """One commit on exactly the version that `delta` holds; returns the new version."""
        version = int(delta.version()) + 1
        with self.disk.explained(self.inside(table)):
            delta.create_write_transaction(
                [*adds, *removals],
                mode="append",  # with the removals spelled out, so that a file may stay where it is
                schema=delta.schema(),
                partition_by=log.PARTITION_BY,
                commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
            )
        return version

    def _fence(
        self, table: str, partition: str, held: pa.Table, version: int, base_version: int | None, alone: bool
    ) -> None:
        """Raises Fenced if the partition's files (with `alone`: any) are not those of `base_version`."""
        if version == base_version:
            return
        base = self._delta(table, base_version) if base_version is not None else None
        before = self._of(self._snapshot(table, base), [partition]) if base else held.slice(0, 0)
        moved = version > 0 if base_version is None else True  # version 0 is the empty table
        if (alone and moved) or held["path"].to_pylist() != before["path"].to_pylist():
            raise Fenced(
                f"{table} of {self.dataset}: partition {partition} was committed by another run while this "
                "one worked; nothing was written, run it again"
            )

    def _snapshot(self, table: str, delta: DeltaTable) -> pa.Table:
        """The files of a version, as `log.listing` describes them; versions never change, so kept."""
        key = (table, int(delta.version()))
        if key not in self._snapshots:
            if len(self._snapshots) >= SNAPSHOTS:
                self._snapshots = {}  # a new one, since another thread may be reading the old
            self._snapshots[key] = log.listing(delta, self.inside(table))
        return self._snapshots[key]

    def _listed(self, ref: TableRef) -> pa.Table:
        """The files that a reference stands for. Raises StoreError if they are gone."""
        snapshot = self._snapshots.get((ref.table, ref.version))
        if snapshot is None:
            delta = self._delta(ref.table, ref.version)
            if delta is None:
                raise StoreError(
                    f"{ref.table} of {self.dataset} does not exist; run the stage that writes it"
                )
            snapshot = self._snapshot(ref.table, delta)
        listed = self._of(snapshot, [ref.partition])
        if not listed.num_rows:
            raise StoreError(
                f"{ref.table} of {self.dataset} holds no partition {ref.partition} at version {ref.version}; "
                "run the stage that writes it"
            )
        return listed

    @staticmethod
    def _of(listed: pa.Table, partitions: Sequence[str]) -> pa.Table:
        return listed.filter(pc.is_in(listed["partition"], pa.array(partitions, pa.string())))

    @staticmethod
    def _refs(table: str, version: int, listed: pa.Table) -> list[TableRef]:
        """One reference a partition of `listed`, which has each one's files side by side, in name order."""
        # Table.group_by would import pandas, a quarter of a second of every command, and keeps no order
        names = ("partition", "rows", "fingerprint", "content")
        lines = zip(*(listed[name].to_pylist() for name in names), strict=True)
        found = []
        for partition, group in groupby(lines, key=itemgetter(0)):
            _, rows, (fingerprint, *_), (content, *_) = zip(*group, strict=True)
            found.append(TableRef(table, partition, version, sum(rows), fingerprint, content))
        return found

    # Rows

    def _columns(self, refs: list[TableRef], columns: list[str] | None) -> pa.Schema:
        """The schema of what is read: the columns asked for, in that order."""
        tables = {ref.table for ref in refs}
        if len(tables) != 1:
            raise StoreError(
                f"read wants partitions of one table, not of {', '.join(sorted(tables)) or 'none'}"
            )
        table = tables.pop()
        if columns is None:
            return file_schema(table)
        schema = schema_of(table)
        unknown = [name for name in columns if name not in schema.names]
        if unknown:
            raise StoreError(
                f"{table} has no column {', '.join(unknown)}; its columns are {', '.join(schema.names)}"
            )
        return pa.schema([schema.field(name) for name in columns])

    def _pieces(
        self, refs: list[TableRef], schema: pa.Schema, span: tuple[int, int] | None
    ) -> Iterator[pa.Table]:
        """The rows of `refs` (those in `span`), a row group at a time, with the columns of `schema`."""
        start, stop = span or (0, sum(ref.rows for ref in refs))
        before = 0
        for ref in refs:
            listed = self._listed(ref)
            for path, rows in zip(self._paths(ref.table, listed), listed["rows"].to_pylist(), strict=True):
                if before < stop and start < before + rows:
                    wanted = (max(start - before, 0), stop - before)
                    yield from parquet.pieces(path, self.filesystem, schema, ref.partition, wanted)
                before += rows

    def _content(self, table: str, paths: list[str]) -> str:
        """The content hash of files, in that order."""
        schema = file_schema(table)
        pieces = (piece for path in paths for piece in parquet.pieces(path, self.filesystem, schema))
        batches = (batch for piece in pieces for batch in piece.to_batches())
        return content_of(schema, batches, traceless(table))


def names_in(kind: pa.DataType) -> set[str]:
    """The fields of a struct; of anything else none."""
    return {field.name for field in kind} if pa.types.is_struct(kind) else set()
