"""Files that appear whole or not at all, and paths that stay inside the store.

Rename and hard link are atomic on one local disk, and durable once the file and its folder are
synced; both are used nowhere but here. An object store has neither, but a conditional put of a
whole object is the same promise, so this module is all that another kind of store replaces.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyarrow.fs import FileSystem, FileType

from storage.errors import StoreError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")
TEMPORARY = ".tmp-"
"""How the names of unfinished files start; Delta and DuckDB never look at a name with a leading dot."""

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


def local_root(root: str) -> tuple[FileSystem, str]:
    """The file system and the absolute path of a store's root, `file:///...` or an absolute path."""
    if "://" in root and not root.startswith("file:///"):
        raise StoreError(f"store {root}: only file:/// addresses and absolute paths are supported")
    if not root.startswith(("/", "file:///")):
        raise StoreError(f"store {root!r} is a relative path; give an absolute one or a file:/// address")
    filesystem, path = FileSystem.from_uri(root)
    if ".." in path.split("/"):
        raise StoreError(f"store {root} contains '..'; give the path it leads to")
    return filesystem, path.rstrip("/") or "/"


def inside(root: str, path: str) -> str:
    """`path`, if following every link still leads below `root`. Raises StoreError."""
    true_root, true_path = os.path.realpath(root), os.path.realpath(path)
    if true_path != true_root and not true_path.startswith(true_root.rstrip("/") + "/"):
        raise StoreError(f"{path} is a link that leads out of the store, to {true_path}; remove the link")
    return path


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns an operating system's error on `path` into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        text = str(error)
        if error.errno in _FULL or "No space left" in text:
            message = f"{path}: the disk is full; free some space and run again, finished shards are kept"
        elif error.errno in _DENIED or "Permission denied" in text or "Read-only file system" in text:
            message = f"{path} cannot be written; give this user write access, or choose another store"
        else:
            message = (
                f"{path} cannot be used ({error.strerror or text.splitlines()[0]}); check the store's disk"
            )
        raise StoreError(message) from error


def sync(path: str) -> None:
    """Makes a file's bytes, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(path: str, write: Callable[[str], None]) -> Iterator[str]:
    """A synced file beside `path`, written by `write`, that is gone afterwards."""
    folder, name = os.path.split(path)
    temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{name}"
    with explained(path):
        os.makedirs(folder, exist_ok=True)
        try:
            write(temporary)
            sync(temporary)
            yield temporary
            sync(folder)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)


def write_whole(path: str, write: Callable[[str], None]) -> None:
    """Lets `write` fill a temporary file, then gives it the name `path`; replaces what was there."""
    with _temporary(path, write) as temporary:
        os.replace(temporary, path)


def put_if_absent(path: str, write: Callable[[str], None]) -> bool:
    """Like `write_whole`, but only if nothing has the name `path`; says whether it was put."""
    with _temporary(path, write) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def writer(filesystem: FileSystem, data: bytes) -> Callable[[str], None]:
    """A `write` for the functions above that writes `data`."""

    def write(path: str) -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    return write


def read_bytes(filesystem: FileSystem, path: str) -> bytes:
    """All bytes of a file. Raises FileNotFoundError as it is, every other OSError as StoreError."""
    try:
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        raise
    except OSError:
        with explained(path):
            raise


def exists(filesystem: FileSystem, path: str) -> bool:
    """Whether `path` is a file."""
    return bool(filesystem.get_file_info(path).type == FileType.File)
