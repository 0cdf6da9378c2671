"""Where a store is: the verbs that happen whole or not at all, and how they do on a local disk.

Everything else in this folder knows a `Disk` only. Rename and hard link are atomic on one local disk,
and durable once the file and its folder are synced; both are used nowhere but here. A bucket of S3
has neither, but a conditional put of a whole object is the same promise: `objects.py`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from storage.errors import StoreError, Unreachable

if TYPE_CHECKING:
    import duckdb

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")
TEMPORARY = ".tmp-"
"""How the names of unfinished files start; Delta and DuckDB never look at a name with a leading dot."""

Thing = TypeVar("Thing")
Done = TypeVar("Done")

Writer = Callable[[Any], None]
"""Fills a binary stream."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def checked(name: str, what: str) -> str:
    """`name`, if it can be a folder's name and nothing else. Raises StoreError."""
    if not NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} cannot be the name of a {what}; use letters, digits and . _ = -, "
            "and start with a letter or a digit"
        )
    return name


def writer(data: bytes) -> Writer:
    """What fills a stream with `data`."""
    return lambda stream: stream.write(data)


class Disk(ABC):
    """A place for stores. Paths are those of `filesystem`; errors are StoreErrors unless they say other.

    scheme: how its addresses start. root: the address that opens it again. base: the same, as a path.
    options: what deltalake is told to reach it, never a secret. at_once: how many threads are worth it for
    many small files, where what takes long is the way there; in_a_row: how many a thread takes on at a time.
    """

    scheme: ClassVar[str]
    at_once: ClassVar[int]
    in_a_row: ClassVar[int]
    root: str
    base: str
    filesystem: FileSystem
    options: dict[str, str] | None = None

    def address(self, path: str) -> str:
        """What people and browsers call a path."""
        return f"{self.scheme}{path}"

    def uri(self, path: str) -> str:
        """What deltalake and DuckDB call a path."""
        return self.address(path)

    def each(self, do: Callable[[Thing], Done], things: Sequence[Thing]) -> Iterator[Done]:
        """`do` of each of many things, several side by side, in their order, and no further ahead of who
        takes the results than keeps all threads at work."""

        def all_of(run: Sequence[Thing]) -> list[Done]:
            return [do(thing) for thing in run]

        under_way: deque[Future[list[Done]]] = deque()
        with ThreadPoolExecutor(self.at_once) as threads:
            for start in range(0, len(things), self.in_a_row):
                under_way.append(threads.submit(all_of, things[start : start + self.in_a_row]))
                if len(under_way) > 2 * self.at_once:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()

    @abstractmethod
    def open_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes a connection able to read by those names, as far as it is allowed to."""

    @abstractmethod
    def inside(self, path: str) -> str:
        """`path`, if following every link still leads below the root. Raises StoreError."""

    @abstractmethod
    def require_inside(self, paths: Sequence[str]) -> None:
        """Raises StoreError if one of many paths, or its folder, is a link that leads out of the root."""

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Makes sure that files can be put into a folder."""

    @abstractmethod
    def explained(self, path: str) -> AbstractContextManager[None]:
        """Turns what goes wrong on `path` into a sentence that says what to do."""

    @abstractmethod
    def write_whole(self, path: str, write: Writer) -> None:
        """Gives what `write` writes the name `path`, once it is complete; replaces what was there."""

    @abstractmethod
    def put_if_absent(self, path: str, write: Writer) -> bool:
        """Like `write_whole`, but only if nothing has the name `path`; says whether it was put."""

    @abstractmethod
    def touch(self, path: str, data: bytes) -> None:
        """Makes `path`, which holds `data`, as new as now. Raises OSError."""

    @abstractmethod
    def now(self, folder: str) -> float:
        """The time in seconds by the clock that dates the files of `folder`."""

    def modified(self, path: str) -> float:
        """When a file was last written or touched, by that clock. Raises FileNotFoundError."""
        found = self.filesystem.get_file_info(path)
        if found.type == FileType.NotFound:
            raise FileNotFoundError(path)
        return float(found.mtime_ns / 1e9)

    def read(self, path: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError as it is."""
        try:
            with self.filesystem.open_input_stream(path) as stream:
                return bytes(stream.read())
        except (FileNotFoundError, StoreError):
            raise
        except OSError:
            with self.explained(path):
                raise

    def exists(self, path: str) -> bool:
        """Whether `path` is a file."""
        return bool(self.filesystem.get_file_info(path).type == FileType.File)

    def listing(self, folder: str) -> list[FileInfo]:
        """What a folder holds; nothing where there is none."""
        selector = FileSelector(folder, allow_not_found=True)
        try:
            found: list[FileInfo] = self.filesystem.get_file_info(selector)
        except FileNotFoundError:  # another process made it between pyarrow's look and its second look
            found = self.filesystem.get_file_info(selector)
        return found

    def names(self, folder: str) -> list[str]:
        """The files of a folder, which need not exist."""
        return [info.base_name for info in self.listing(folder) if info.type == FileType.File]

    def remove(self, path: str) -> None:
        """Deletes a file. May raise FileNotFoundError."""
        self.filesystem.delete_file(path)


class LocalDisk(Disk):
    """A folder of this machine, or of a file server that it mounts."""

    scheme = "file://"
    at_once, in_a_row = 4, 64  # a file of a local disk takes no longer than a thread to be told of it

    def __init__(self, root: str) -> None:
        if not root.startswith(("/", "file:///")):
            raise StoreError(f"store {root!r} is a relative path; give an absolute one or a file:/// address")
        self.filesystem, path = LocalFileSystem.from_uri(root)
        if ".." in path.split("/"):
            raise StoreError(f"store {root} contains '..'; give the path it leads to")
        self.root = self.base = path.rstrip("/") or "/"

    def uri(self, path: str) -> str:
        return path

    def open_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """DuckDB reads local files by itself."""

    def inside(self, path: str) -> str:
        true_root, true_path = os.path.realpath(self.base), os.path.realpath(path)
        if true_path != true_root and not true_path.startswith(true_root.rstrip("/") + "/"):
            raise StoreError(f"{path} is a link that leads out of the store, to {true_path}; remove the link")
        return path

    def require_inside(self, paths: Sequence[str]) -> None:
        for path in dict.fromkeys([*map(os.path.dirname, paths), *paths]):
            if os.path.islink(path):
                self.inside(path)

    def make_folder(self, path: str) -> None:
        with self.explained(path):
            os.makedirs(path, exist_ok=True)

    def explained(self, path: str) -> AbstractContextManager[None]:
        return explained(path)

    def write_whole(self, path: str, write: Writer) -> None:
        with self._temporary(path, write) as temporary:
            os.replace(temporary, path)

    def put_if_absent(self, path: str, write: Writer) -> bool:
        with self._temporary(path, write) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        return True

    def touch(self, path: str, data: bytes) -> None:
        os.utime(path)

    def now(self, folder: str) -> float:
        probe = f"{folder}/{TEMPORARY}{os.getpid()}-{threading.get_ident()}-now"
        with self.explained(probe):
            try:
                with open(probe, "wb"):
                    pass
                return os.stat(probe).st_mtime
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(probe)

    @contextmanager
    def _temporary(self, path: str, write: Writer) -> Iterator[str]:
        """A synced file beside `path`, filled by `write`, that is gone afterwards."""
        folder, name = os.path.split(path)
        temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{name}"
        with self.explained(path):
            os.makedirs(folder, exist_ok=True)
            try:
                with self.filesystem.open_output_stream(temporary) as stream:
                    write(stream)
                sync(temporary)
                yield temporary
                sync(folder)
            finally:
                if os.path.lexists(temporary):
                    os.unlink(temporary)


def disk(root: str) -> Disk:
    """The place that an absolute path, a file:/// or an s3:// address names. Raises StoreError."""
    if root.startswith("s3://"):
        try:
            from storage.objects import Bucket
        except ModuleNotFoundError as error:
            raise StoreError(f"store {shown(root)}: buckets need {error.name}; install winnow[s3]") from error
        return Bucket(root)
    if "://" in root and not root.startswith("file:///"):
        raise StoreError(
            f"store {shown(root)}: only file:/// and s3:// addresses and absolute paths are supported"
        )
    return LocalDisk(root)


def shown(root: str) -> str:
    """An address without what may be a secret in it: a user, a password, a query."""
    return re.sub(r"//[^/]*@", "//…@", re.sub(r"[?#].*", "", root, flags=re.DOTALL))


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns an operating system's error on `path` into a sentence that says what to do."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        text = str(error)
        if error.errno in _FULL or "No space left" in text:
            raise StoreError(
                f"{path}: the disk is full; free some space and run again, finished shards are kept"
            ) from error
        if error.errno in _DENIED or "Permission denied" in text or "Read-only file system" in text:
            raise StoreError(
                f"{path} cannot be written; give this user write access, or choose another store"
            ) from error
        raise Unreachable(
            f"{path} cannot be used ({error.strerror or text.splitlines()[0]}); check the store's disk"
        ) from error


def sync(path: str) -> None:
    """Makes a file's bytes, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
