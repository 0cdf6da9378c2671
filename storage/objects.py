"""A store in a bucket of S3, or of a server that speaks its language.

Objects appear whole by nature; that only one of two writers gets a name is S3's conditional put
(`If-None-Match: *`, in S3 itself since August 2024; MinIO, Ceph, Garage and R2 have it too). Clocks
are the server's: an object is dated when it is put, so a heartbeat puts its object again.

An answer can be lost while its put was carried out, and a put that is tried again would then lose to
itself. So each put carries a token of its own in the object's metadata: who finds the name taken
looks whose token it is.

Objects are read and listed through the same client as they are put (obstore, the object_store crate
that deltalake has inside too), so one set of environment variables, time-outs and retries holds for
all. pyarrow's own S3FileSystem is not used: it gives a small read up that was answered 503 ("Failed
to flush response stream": the answer does not fit the buffer meant for the data), and where a scan
was cut short it can keep a process from ending.

Who may do this, and where, says the environment alone: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP and what else the object_store crate
reads. Nothing of it is ever held in a message, a table or a pickle.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import obstore
import pyarrow as pa
from fsspec import AbstractFileSystem
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType, PyFileSystem

from storage.errors import StoreError, Unreachable
from storage.files import NAME, TEMPORARY, Disk, Writer, shown, writer

if TYPE_CHECKING:
    import duckdb

TIMEOUT = "WINNOW_S3_TIMEOUT"
TIMEOUT_SECONDS = 60.0
"""How long one request may take, unless the environment says other; one puts a whole shard."""
CONNECT_SECONDS = 5.0
RETRIES, RETRY_SECONDS = 10, 120.0
TOUCH_SECONDS, TOUCH_RETRY_SECONDS = 5.0, 20.0
"""The same for a heartbeat: a lease runs out after thirty."""
PUTS = 5
"""How often a conditional put is tried whose answer was lost; the client itself must not try it again."""
READ_AHEAD = 1 << 20
TOKEN = "winnow-put"


class Bucket(Disk):
    """A bucket, or the part of it below a prefix."""

    scheme = "s3://"
    at_once, in_a_row = 16, 1

    def __init__(self, root: str) -> None:
        self.bucket, *below = re.sub(r"^s3://|/+$", "", root).split("/")
        if re.search(r"[@?#]", root):
            raise StoreError(
                f"store {shown(root)} carries a user, a password or settings; give s3://bucket/prefix, "
                "and put credentials into the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )
        if not all(NAME.fullmatch(part) for part in (self.bucket, *below)):
            raise StoreError(
                f"store {root}: a bucket and the parts of a prefix have letters, digits and . _ = - only; "
                "give s3://bucket/prefix"
            )
        refuse_plain_http(root)
        self.base = "/".join((self.bucket, *below))
        self.root = f"s3://{self.base}"
        self.client = client(self.bucket, timeout(), RETRY_SECONDS)
        self.filesystem = PyFileSystem(Objects(self))
        self.options = {
            "aws_conditional_put": "etag",
            "timeout": f"{timeout():g}s",
            "connect_timeout": f"{CONNECT_SECONDS:g}s",
            "max_retries": str(RETRIES),
            "retry_timeout": f"{RETRY_SECONDS:g}s",
        }

    def key(self, path: str) -> str:
        """A path without its bucket."""
        return path.removeprefix(self.bucket).strip("/")

    def below(self, path: str) -> str:
        """How the keys start of what is in a folder."""
        return f"{key}/" if (key := self.key(path)) else ""

    def open_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.register_filesystem(Readable(self))

    def ranges(self, path: str, size: int) -> Ranges:
        """An object of that size, opened to read."""

        def fetch(start: int, length: int) -> memoryview:
            with self.explained(path):
                return memoryview(obstore.get_range(self.client, self.key(path), start=start, length=length))

        return Ranges(fetch, size)

    def inside(self, path: str) -> str:
        return path  # an object is never a link

    def require_inside(self, paths: Sequence[str]) -> None:
        """Nothing leads out of a bucket."""

    def make_folder(self, path: str) -> None:
        """Folders come with their objects; but the bucket must be there, and open to us."""
        with self.explained(path):
            try:
                next(iter(obstore.list(self.client, self.below(path), chunk_size=1)), None)
            except FileNotFoundError:
                raise StoreError(
                    f"{self.root}: there is no bucket {self.bucket}; make it, or name another"
                ) from None

    @contextmanager
    def explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except (StoreError, AlreadyExistsError):
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise in_words(self.address(path), error) from None
            raise FileNotFoundError(f"{self.address(path)} is not there") from None
        except (BaseError, OSError) as error:
            # The library's text quotes requests and answers; none of that goes into ours, nor is it chained.
            raise in_words(self.address(path), error) from None

    def write_whole(self, path: str, write: Writer) -> None:
        data = filled(write)
        with self.explained(path):
            obstore.put(self.client, self.key(path), data, use_multipart=False)

    def put_if_absent(self, path: str, write: Writer) -> bool:
        data, token, tries_left = filled(write), secrets.token_hex(8), PUTS
        while True:
            tries_left -= 1
            try:
                with self.explained(path):
                    obstore.put(
                        self.client,
                        self.key(path),
                        data,
                        attributes={TOKEN: token},
                        mode="create",
                        use_multipart=False,
                    )
                return True
            except AlreadyExistsError:
                return self._token(path) == token
            except Unreachable:
                if not tries_left:
                    raise

    def _token(self, path: str) -> str | None:
        """Who put the object: the token of its put; None where it is gone again."""
        with self.explained(path), suppress(FileNotFoundError):
            found: Mapping[str, str] = obstore.get(self.client, self.key(path)).attributes
            return found.get(TOKEN)
        return None

    def touch(self, path: str, data: bytes) -> None:
        quick = client(self.bucket, min(TOUCH_SECONDS, timeout()), TOUCH_RETRY_SECONDS)
        with self.explained(path):
            obstore.put(quick, self.key(path), data)

    def exists(self, path: str) -> bool:
        with self.explained(path), suppress(FileNotFoundError):
            obstore.head(self.client, self.key(path))
            return True
        return False

    def now(self, folder: str) -> float:
        probe = f"{folder}/{TEMPORARY}{os.getpid()}-{threading.get_ident()}-now"
        self.write_whole(probe, writer(b""))
        try:
            return self.modified(probe)
        finally:
            self.remove(probe)


class Objects(FileSystemHandler):  # type: ignore[misc]
    """A bucket as pyarrow sees file systems: to list, to read and to delete; `Bucket` has the puts."""

    def __init__(self, bucket: Bucket) -> None:
        self.disk = bucket

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objects) and other.disk.root == self.disk.root

    def get_type_name(self) -> str:
        return "s3"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> FileInfo:
        with self.disk.explained(path):
            with suppress(FileNotFoundError):
                return self._file(obstore.head(self.disk.client, self.disk.key(path)))
            with suppress(FileNotFoundError):  # no such bucket
                if next(iter(obstore.list(self.disk.client, self.disk.below(path), chunk_size=1)), None):
                    return FileInfo(path, FileType.Directory)
        return FileInfo(path, FileType.NotFound)

    def _file(self, meta: Any) -> FileInfo:
        return FileInfo(
            f"{self.disk.bucket}/{meta['path']}",
            FileType.File,
            size=meta["size"],
            mtime=meta["last_modified"].timestamp(),
        )

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        prefix = self.disk.below(selector.base_dir)
        with self.disk.explained(selector.base_dir):
            if selector.recursive:
                objects: Sequence[Any] = list(chain.from_iterable(obstore.list(self.disk.client, prefix)))
                folders = {parent for meta in objects for parent in parents(meta["path"], len(prefix))}
            else:
                listed = obstore.list_with_delimiter(self.disk.client, prefix)
                objects, folders = listed["objects"], set(listed["common_prefixes"])
        if not objects and not folders and not selector.allow_not_found:
            raise FileNotFoundError(selector.base_dir)
        inner = [FileInfo(f"{self.disk.bucket}/{name}", FileType.Directory) for name in sorted(folders)]
        return [*inner, *map(self._file, objects)]

    def open_input_stream(self, path: str) -> pa.NativeFile:
        with self.disk.explained(path):
            return pa.BufferReader(pa.py_buffer(obstore.get(self.disk.client, self.disk.key(path)).bytes()))

    def open_input_file(self, path: str) -> pa.NativeFile:
        with self.disk.explained(path):
            size = obstore.head(self.disk.client, self.disk.key(path))["size"]
        return pa.PythonFile(self.disk.ranges(path, size), mode="r")

    def delete_file(self, path: str) -> None:
        with self.disk.explained(path), suppress(FileNotFoundError):
            obstore.delete(self.disk.client, self.disk.key(path))

    def delete_dir(self, path: str) -> None:
        inner = self.get_file_info_selector(FileSelector(path, recursive=True))
        with self.disk.explained(path):
            obstore.delete(self.disk.client, [self.disk.key(info.path) for info in inner if info.is_file])

    def _refused(self, *arguments: Any) -> Any:
        raise StoreError(f"{self.disk.root} is written by the verbs of its store only")

    copy_file = create_dir = delete_dir_contents = delete_root_dir_contents = _refused
    move = open_append_stream = open_output_stream = _refused


class Readable(AbstractFileSystem):  # type: ignore[misc]
    """A bucket as DuckDB reads files through Python."""

    protocol = "s3"
    cachable = False

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._disk = bucket
        self._known: dict[str, FileInfo] = {}

    def glob(self, path: str, **options: Any) -> list[str]:
        return [path]  # files are named one by one

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path not in self._known:  # DuckDB asks again and again, and data files never change
            self._known[path] = self._disk.filesystem.get_file_info(path)
        found = self._known[path]
        if found.type != FileType.File:
            raise FileNotFoundError(f"{self._disk.address(path)} is not there")
        return {"name": path, "size": found.size, "type": "file", "mtime": found.mtime}

    def modified(self, path: str) -> Any:
        return self.info(path)["mtime"]

    def open(self, path: str, mode: str = "rb", **options: Any) -> Ranges:
        found = self.info(path)
        return self._disk.ranges(found["name"], found["size"])


class Ranges(io.RawIOBase):
    """An object as a file: every read asks for its range, and for some more, as columns follow each other."""

    def __init__(self, fetch: Callable[[int, int], memoryview], size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._held, self._held_at = memoryview(b""), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read(self, n: int = -1) -> memoryview:
        rest = max(self._size - self._at, 0)
        n = rest if n < 0 else min(n, rest)
        if not self._held_at <= self._at <= self._at + n <= self._held_at + len(self._held):
            self._held, self._held_at = self._fetch(self._at, min(max(n, READ_AHEAD), rest)), self._at
        start = self._at - self._held_at
        self._at += n
        return self._held[start : start + n]


def parents(key: str, below: int) -> Iterator[str]:
    """The folders of a key that are deeper than its first `below` characters."""
    at = key.find("/", below)
    while at >= 0:
        yield key[:at]
        at = key.find("/", at + 1)


def filled(write: Writer) -> memoryview:
    """What `write` writes."""
    stream = pa.BufferOutputStream()
    write(stream)
    return memoryview(stream.getvalue()).cast("B")


def timeout() -> float:
    """Seconds for a request. Raises StoreError."""
    text = os.environ.get(TIMEOUT) or str(TIMEOUT_SECONDS)
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise StoreError(f"{TIMEOUT} is {text!r}; give a number of seconds")
    return float(text)


def refuse_plain_http(root: str) -> None:
    """Raises StoreError where the environment names an unencrypted server and does not say that it may."""
    if endpoint().startswith("http://") and not plain_http_allowed():
        raise StoreError(
            f"store {root}: AWS_ENDPOINT_URL is an http:// address, which sends data in clear; "
            "use https://, or set AWS_ALLOW_HTTP=true"
        )


def endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def plain_http_allowed() -> bool:
    return os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")


def client(bucket: str, seconds: float, retry_seconds: float) -> S3Store:
    """A client for what the environment says now; making one takes 20 ms, so they are kept."""
    settings = tuple(
        sorted((name, hash(value)) for name, value in os.environ.items() if name.startswith("AWS_"))
    )
    return _client(bucket, seconds, retry_seconds, settings)


@cache
def _client(
    bucket: str, seconds: float, retry_seconds: float, settings: tuple[tuple[str, int], ...]
) -> S3Store:
    return S3Store(
        bucket,
        client_options={
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
            "allow_http": plain_http_allowed(),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=retry_seconds)},
    )


def in_words(address: str, error: Exception) -> StoreError:
    """An error of S3 as a sentence: its kind and the server's code for it, and nothing that it quotes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # deltalake's are coloured
    status = re.search(r"status code\W*(\d{3})", text)
    code = re.search(r"<Code>(\w{1,60})</Code>", text)
    number = status[1] if status else ""
    if code and code[1] == "NoSuchBucket":
        return StoreError(f"{address}: there is no such bucket; make it, or name another")
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError) or number in ("401", "403")
    what = " ".join([number, code[1] if code else ""]).strip()
    if denied:
        return StoreError(
            f"{address} refuses access ({what or 'no credentials'}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and what the bucket's policy allows"
        )
    if not what:
        lost = re.search(r"time[d ]*out|TimedOut|connect|dns|certificate|credential", text, re.IGNORECASE)
        what = "no answer" if lost is None else f"no answer: {lost[0].lower()}"
    return Unreachable(
        f"{address} cannot be used ({what}); check AWS_ENDPOINT_URL and the network, then run again"
    )
