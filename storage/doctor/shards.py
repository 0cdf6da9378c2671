"""Logs and the data files they list: missing, cut off, damaged, changed, led out of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyarrow.fs import FileInfo

from storage import parquet
from storage.content import content_of
from storage.doctor.look import BACKUP, SHOWN, Finding, Look
from storage.errors import StoreError, Unreachable
from storage.history import Life
from storage.store import Store
from storage.tables import file_schema, traceless


def logs(look: Look) -> Iterator[Finding]:
    """Logs that lack a commit, or that cannot be read."""
    yield from look.broken.values()


def links(look: Look) -> Iterator[Finding]:
    """Links that lead out of the store."""
    for path, error in look.outside.items():
        yield Finding("link_outside", str(error), "remove the link", path=path)
    for found in look.there.values():
        for name, info in found:
            try:
                look.store.disk.require_inside([info.path])
            except StoreError as error:
                yield Finding("link_outside", str(error), "remove the link", partition=name, path=info.path)


def shards(look: Look) -> Iterator[Finding]:
    """Needed data files that are missing, cut off, damaged, or of another number of rows."""
    for table, history in look.sound():
        there = {info.path: info for _, info in look.there.get(table, [])}
        lives = {life.path: life for life in history.needed(look.versions(table))}.values()
        files = [(there.get(f"{look.store.path}/{table}/{life.path}"), life) for life in lives]
        problems = look.store.disk.each(lambda file: _problem(look.store, *file), files)
        for life, problem in zip(lives, problems, strict=True):
            if problem is not None:
                yield _finding(look, table, life, *problem)


def contents(look: Look) -> Iterator[Finding]:
    """Partitions whose rows are not those that were committed, though every file can be read."""
    told = {finding.path for finding in shards(look)}
    for table, history in look.sound():
        versions = sorted(look.versions(table))
        for content, lives in _committed(history.needed(versions), versions):
            paths = [f"{look.store.path}/{table}/{life.path}" for life in lives]
            if not told & set(paths) and content not in _contents(look.store, table, paths):
                beside = f" with the {len(lives) - 1} beside it" if len(lives) > 1 else ""
                words = f"holds{beside} other values than were committed"
                yield _finding(look, table, lives[0], "changed_content", words)


def _problem(store: Store, info: FileInfo | None, life: Life) -> tuple[str, str] | None:
    """The code and the words of what is wrong with a file; None if nothing is."""
    if info is None:
        return "missing_file", "is missing"
    if info.size != life.size:
        return "damaged_file", f"has {info.size:,} bytes, and was committed with {life.size:,}"
    try:
        with parquet.opened(info.path, store.filesystem) as file:
            rows = file.metadata.num_rows
    except Unreachable:
        raise
    except StoreError:
        return "damaged_file", "is no whole Parquet file any more"
    if life.rows not in (rows, -1):
        return "changed_content", f"has {rows:,} rows, and was committed with {life.rows:,}"
    return None


def _committed(lives: list[Life], versions: list[int]) -> Iterator[tuple[str, list[Life]]]:
    """The content hash and the files, in the order of their rows, of everything that partitions held at
    these versions, each once."""
    partitions: dict[str, list[Life]] = {}
    for life in lives:
        partitions.setdefault(life.partition, []).append(life)
    for held in partitions.values():
        # what a partition holds changes only where one of its files is born or ends
        ends = {version for life in held for version in (life.needed(versions)[0], life.needed(versions)[-1])}
        sets = {}
        for version in ends:
            alive = sorted((life for life in held if life.needed([version])), key=Life.place)
            sets[alive[0].content, tuple(life.path for life in alive)] = alive
        yield from ((content, alive) for (content, _), alive in sets.items())


def _contents(store: Store, table: str, paths: list[str]) -> Iterator[str]:
    """The content hash of files by the columns of today and, where they are older, by those they have."""
    today = file_schema(table)
    with parquet.opened(paths[0], store.filesystem) as file:
        have = pa.schema([field for field in today if field.name in file.schema_arrow.names])
    for schema in (today, have) if have != today else (today,):
        pieces = (piece for path in paths for piece in parquet.pieces(path, store.filesystem, schema))
        try:
            batches = (batch for piece in pieces for batch in piece.to_batches())
            yield content_of(schema, batches, traceless(table))
        except Unreachable:
            raise
        except (StoreError, pa.ArrowException):
            return


def _finding(look: Look, table: str, life: Life, code: str, words: str) -> Finding:
    """What is wrong with a data file, who needs it, and what to do."""
    path = f"{look.store.path}/{table}/{life.path}"
    versions = look.versions(table)
    wanted = life.needed(sorted(versions))
    numbers = sorted({number for version in wanted for number in versions[version]})
    newest = look.histories[table].version in wanted
    need = " and ".join(["the newest version"] * newest + [_releases(numbers)] * bool(numbers))
    remedy = f"delete what is left of it and run partition {life.partition} again with --force"
    if table == "releases":
        remedy = BACKUP
    elif not newest:
        remedy = f"{BACKUP}, or let {_releases(numbers)} expire with winnow vacuum"
    return Finding(code, f"{path} {words}; needed by {need}", remedy, table, life.partition, path)


def _releases(numbers: list[int]) -> str:
    """Releases in a few words."""
    more = f" and {len(numbers) - SHOWN:,} more" if len(numbers) > SHOWN else ""
    return f"release{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:SHOWN]))}{more}"
