"""Stores in a bucket, on a server that speaks S3. Run with: python -m pytest tests/storage/test_objects.py

What a store promises is tested on local disks in this folder; here is what differs in a bucket: who may
put, whose clock counts, what happens when answers are lost, and that no secret gets out.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow.fs import FileSelector, FileType

from benchmarks._s3 import BUCKET, SECRET_KEY, Faulty, Strict, faults, s3_server
from storage import classes, files, leases, objects, query, releases
from storage.errors import Busy, Fenced, StoreError, Unreachable
from storage.leases import lease, live
from storage.objects import Ranges
from storage.store import Store
from tests.storage.helpers import NAMES, at_once, kill, labels, metrics, put, python, rows, says, shards


@pytest.fixture
def environment(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return s3_environment


@pytest.fixture
def store(environment: dict[str, str]) -> Store:
    """An empty store of one data set, below a prefix of its own."""
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}/store", "digits").open(create=True)


# The server: what these tests stand on


def test_of_twenty_that_put_at_once_on_a_condition_exactly_one_does(store: Store) -> None:
    start = threading.Barrier(20)

    def race(writer: int) -> list[bool]:
        won = []
        for n in range(5):
            start.wait()
            won.append(store.disk.put_if_absent(f"{store.path}/{n}", files.writer(b"%d" % writer)))
        return won

    with ThreadPoolExecutor(20) as racers:
        won = list(racers.map(race, range(20)))
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 5
    for n, column in enumerate(zip(*won, strict=True)):
        assert store.disk.read(f"{store.path}/{n}") == b"%d" % column.index(True)


def test_an_upload_that_broke_off_makes_no_object() -> None:
    answers: list[str] = []

    class Cut:
        def read(self, length: int) -> bytes:
            return b"half"

    reached: list[bool] = []
    strict = Strict(lambda environ, start: reached.append(True) or [])  # type: ignore[func-returns-value]
    strict({"CONTENT_LENGTH": "8", "wsgi.input": Cut()}, lambda status, headers: answers.append(status))
    assert (answers, reached) == (["400 Bad Request"], [])


def test_a_faulty_server_fails_every_tenth_request_and_counts() -> None:
    seen: list[str] = []
    server = Faulty(lambda environ, start: start("200 OK", []) or [], slow_down=10, hang=0)
    for _ in range(30):
        server({"PATH_INFO": "/", "wsgi.input": None}, lambda status, headers: seen.append(status))
    assert [number for number, status in enumerate(seen, 1) if status != "200 OK"] == [10, 20, 30]
    assert server.counts == {"requests": 30, "slow_down": 3, "hang": 0}


# What a store on disk does


def test_shards_are_committed_read_and_listed(store: Store) -> None:
    assert store.version("metrics") is None
    assert store.refs("metrics") == []
    shards(store, "2026-01-01", "f1", (0, 4), (4, 10))
    assert store.has_shard("metrics", "2026-01-01", "f1", 0, 4)
    ref = store.commit("metrics", "2026-01-01", "f1", [(0, 4), (4, 10)], [], {"seconds": 1.5}, None)
    assert store.read(ref)["id"].to_pylist() == NAMES
    assert store.read(ref, ["id"], span=(3, 6))["id"].to_pylist() == NAMES[3:6]
    assert store.info(ref) == {"seconds": 1.5}
    assert store.refs("metrics") == [ref]
    root = store.root.removeprefix("s3://")
    assert store.file_uris("metrics")[0] == (
        f"{root}/digits/metrics/partition=2026-01-01/f1-00000000-00000004.parquet"
    )


def test_the_content_hash_is_that_of_the_same_rows_on_disk(store: Store, tmp_path: Path) -> None:
    local = Store(str(tmp_path), "digits").open(create=True)
    assert put(store, "metrics", "p", metrics(NAMES)) == put(local, "metrics", "p", metrics(NAMES))
    [here], [there] = local.file_uris("metrics"), store.file_uris("metrics")
    assert store.disk.read(there) == Path(here).read_bytes()


def test_a_finished_shard_is_never_replaced(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    store.write_shard("metrics", "p", "f1", 0, 1, metrics(["a"]))
    with pytest.raises(StoreError, match="holds other values than were computed now"):
        store.write_shard("metrics", "p", "f1", 0, 1, metrics(["b"]))


def test_any_version_is_gone_back_to(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    store.restore("metrics", first.version)
    assert store.read(store.refs("metrics"))["id"].to_pylist() == ["a"]


def test_states_reports_and_classes_are_kept(store: Store) -> None:
    assert store.load_state("p", "s") is None
    store.save_state("p", "s", {"a": np.arange(3)}, {"x": 1})
    arrays, info = store.load_state("p", "s") or ({}, {})
    assert (arrays["a"].tolist(), info, store.has_state("p", "s")) == ([0, 1, 2], {"x": 1}, True)
    assert store.report_path("p") is None
    page = store.save_report("p", "night", "<p>é")
    assert store.report_path("p") == page
    assert store.address(page) == f"{store.root}/digits/_reports/p/night.html"
    assert classes.extend(store, ["a", "b"]) == ("a", "b")
    assert classes.extend(store, ["b", "c"]) == classes.vocabulary(store) == ("a", "b", "c")


def test_releases_are_published_read_and_rolled_back(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    releases.publish(store, "p", None, [], releases.versions(store))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    releases.publish(store, "p", None, [], releases.versions(store))
    assert releases.rollback(store, 1) == 3
    with query.connect(store) as connection:
        assert query.select(connection, "SELECT id FROM metrics").to_pylist() == [{"id": "a"}]


def test_what_nothing_needs_is_swept(store: Store) -> None:
    put(store, "metrics", "p", metrics(["old"]))
    ref = put(store, "metrics", "p", metrics(["new"]), "f2")
    store.write_shard("metrics", "p", "f3", 0, 1, metrics(["never committed"]))
    assert [path.rpartition("/")[2][:2] for path in store.vacuum()] == ["f1", "f3"]
    assert store.read(ref)["id"].to_pylist() == ["new"]


def test_a_reader_that_is_not_ours_reads_the_tables(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a", "b"]))
    table = DeltaTable(f"{store.root}/digits/metrics")
    assert pa.table(table.to_pyarrow_table())["id"].to_pylist() == ["a", "b"]


def test_a_data_set_that_does_not_exist_says_what_to_do(environment: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="digits does not exist; run a partition of digits first"):
        Store(f"s3://{BUCKET}/nothing-here", "digits").open(create=False)


def test_a_store_travels_to_another_process_without_its_credentials(store: Store) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    data = pickle.dumps(store)
    assert SECRET_KEY.encode() not in data
    assert pickle.loads(data).ref("metrics", "p") == ref  # noqa: S301 - what multiprocessing does with it


# Listing and reading, as pyarrow does it


def test_files_and_folders_are_listed_as_on_a_disk(store: Store, tmp_path: Path) -> None:
    local = Store(str(tmp_path), "digits").open(create=True)
    for each in (store, local):
        for name in ("a/b/one", "a/two", "ab/three"):
            each.disk.write_whole(f"{each.path}/{name}", files.writer(name.encode()))

    def listed(each: Store, folder: str, recursive: bool) -> set[tuple[str, Any, int | None]]:
        selector = FileSelector(f"{each.path}/{folder}", recursive=recursive)
        return {
            (info.path.removeprefix(each.path), info.type, info.size)
            for info in each.filesystem.get_file_info(selector)
        }

    for folder, recursive in (("a", False), ("a", True), ("", True)):
        assert listed(store, folder, recursive) == listed(local, folder, recursive)
    assert len(listed(store, "a", True)) == 3
    for each in (store, local):
        kinds = [
            info.type
            for info in each.filesystem.get_file_info([f"{each.path}/{n}" for n in ("a", "a/two", "b")])
        ]
        assert kinds == [FileType.Directory, FileType.File, FileType.NotFound]
        with pytest.raises(FileNotFoundError):
            each.filesystem.get_file_info(FileSelector(f"{each.path}/none"))
        assert each.disk.names(f"{each.path}/none") == []
        each.filesystem.delete_dir(f"{each.path}/a")
        assert {path for path, _, _ in listed(each, "", True)} == {"/ab", "/ab/three"}


def test_an_object_is_read_in_ranges_and_each_byte_is_right() -> None:
    data = bytes(range(256)) * 40
    asked: list[tuple[int, int]] = []

    def fetch(start: int, length: int) -> memoryview:
        asked.append((start, length))
        return memoryview(data)[start : start + length]

    file = Ranges(fetch, len(data))
    generator = np.random.default_rng(0)
    for start, length in generator.integers(0, len(data), (50, 2)).tolist():
        file.seek(start)
        assert bytes(file.read(length)) == data[start : start + length]
    assert len(asked) < 10  # reads that follow each other share a range
    assert file.seek(-4, os.SEEK_END) == len(data) - 4
    assert bytes(file.read()) == data[-4:]
    assert bytes(file.read(1)) == b""


def test_only_what_is_asked_for_of_a_large_file_is_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "READ_AHEAD", 64)
    fetched: list[int] = []
    real = objects.obstore.get_range

    def counting(client: Any, key: str, *, start: int, length: int) -> Any:
        fetched.append(length)
        return real(client, key, start=start, length=length)

    noise = np.random.default_rng(0).bytes(1 << 20)
    data = {**rows(["a"], [0]), "image": pa.array([noise], pa.binary())}
    ref = put(store, "rows", "p", data)
    monkeypatch.setattr(objects.obstore, "get_range", counting)
    assert store.read(ref, ["id", "label"]).num_rows == 1
    assert 0 < sum(fetched) < 200_000 < len(noise)


# Commits


RACER = """
import sys
from storage.errors import Fenced
from storage.store import Store
from tests.storage.helpers import metrics
root, partition, name = sys.argv[1:]
store = Store(root, "digits")
base = store.version("metrics")
store.write_shard("metrics", partition, name, 0, 1, metrics([name]))
print("ready", flush=True)
sys.stdin.readline()
try:
    store.commit("metrics", partition, name, [(0, 1)], [], {}, base)
    print("done")
except Fenced:
    print("fenced")
"""


def test_of_two_that_replace_a_partition_at_once_one_does_and_others_partitions_go_on(store: Store) -> None:
    put(store, "metrics", "p", metrics(["before"]), "before")
    racers = [python(RACER, store.root, partition, f"f{i}") for i, partition in enumerate("ppq")]
    answers = at_once(racers)
    assert (sorted(answers[:2]), answers[2]) == (["done", "fenced"], "done")
    assert store.partitions("metrics") == ["p", "q"]


def test_a_writer_that_slept_through_a_commit_is_fenced(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    shards(store, "p", "slow", (0, 4))
    base = store.version("metrics")
    put(store, "metrics", "p", metrics(["b"]), "f2")
    with pytest.raises(Fenced, match="was committed by another run"):
        store.commit("metrics", "p", "slow", [(0, 4)], [], {}, base)


# Leases


HOLDER = """
import sys
from storage import leases
from storage.errors import Fenced
from storage.store import Store
leases.BEAT_SECONDS = float(sys.argv[2])
with leases.lease(Store(sys.argv[1], "digits"), "p", 0, "the other run") as held:
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_held_lease_is_busy_and_free_again_afterwards(store: Store) -> None:
    with lease(store, "p", 0, "a run") as held:
        assert "a run" in (live(store, "p") or "")
        with pytest.raises(Busy, match="by a run"), lease(store, "p", 0, "b"):
            pass
        held.check()
    assert live(store, "p") is None
    with lease(store, "p", 0, "another") as held:
        assert held.generation == 2
    assert store.disk.names(f"{store.path}/_leases/p") == ["00000002.json"]


def test_a_holder_that_was_killed_here_is_replaced_at_once_and_by_one_only(store: Store) -> None:
    process = python(HOLDER, store.root, "2")
    assert says(process) == "ready"
    with pytest.raises(Busy, match="the other run"), lease(store, "p", 0, "me"):
        pass
    kill(process)
    outcomes: list[str] = []

    def take() -> None:
        try:
            with lease(store, "p", 0, "a taker"):
                outcomes.append("held")
                arrived.wait(20)
        except Busy:
            outcomes.append("busy")
            arrived.release()

    arrived = _Gate(3)
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy", "busy", "busy", "held"]


class _Gate:
    """Opens once it was released `n` times."""

    def __init__(self, n: int) -> None:
        self._left = threading.Semaphore(0)
        self._n = n

    def release(self) -> None:
        self._left.release()

    def wait(self, seconds: float) -> None:
        for _ in range(self._n):
            assert self._left.acquire(timeout=seconds)


def test_a_holder_elsewhere_counts_as_gone_when_its_heart_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = leases._place()
    monkeypatch.setattr(leases, "_place", lambda: "another machine")
    monkeypatch.setattr(leases, "BEAT_SECONDS", 60.0)
    with lease(store, "p", 0, "far away") as held:
        monkeypatch.setattr(leases, "_place", lambda: place)
        assert "far away" in (live(store, "p") or "")
        monkeypatch.setattr(leases, "EXPIRES_SECONDS", -1.0)
        with lease(store, "p", 0, "me"), pytest.raises(Fenced):
            held.check()


def test_a_heartbeat_puts_the_object_again_and_changes_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 60.0)  # the lease's own could come first, in the same second
    with lease(store, "p", 0, "a") as held:
        path = f"{store.path}/_leases/p/00000001.json"
        before = store.disk.read(path)
        etag = objects.obstore.head(store.disk.client, store.disk.key(path))["e_tag"]  # type: ignore[attr-defined]
        _older_than(store, path, 1.1)
        first = store.disk.modified(path)
        store.disk.touch(path, before)
        assert store.disk.modified(path) > first
        assert store.disk.read(path) == before
        assert objects.obstore.head(store.disk.client, store.disk.key(path))["e_tag"] == etag  # type: ignore[attr-defined]
        held.check()


def _older_than(store: Store, path: str, seconds: float) -> None:
    """Waits until a file is that old; S3 counts in whole seconds."""
    import time

    while store.disk.now(path.rpartition("/")[0]) - store.disk.modified(path) < seconds:
        time.sleep(0.1)


# Lost answers


def test_a_put_whose_answer_was_lost_still_counts_as_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = objects.obstore.put, []

    def lossy(*arguments: Any, **options: Any) -> Any:
        calls.append(options.get("mode"))
        done = real(*arguments, **options)
        if len(calls) == 1:
            raise objects.BaseError("the answer never came")
        return done

    monkeypatch.setattr(objects.obstore, "put", lossy)
    assert store.disk.put_if_absent(f"{store.path}/x", files.writer(b"mine"))
    assert calls == ["create", "create"]
    assert not store.disk.put_if_absent(
        f"{store.path}/x", files.writer(b"mine")
    )  # the same bytes, another put


def test_a_commit_whose_answer_was_lost_is_found_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(store, "p", "f1", (0, 4))
    real, calls = Store._transact, []

    def lossy(self: Store, *arguments: Any) -> int:
        calls.append(real(self, *arguments))
        raise Unreachable("the answer never came")

    monkeypatch.setattr(Store, "_transact", lossy)
    ref = store.commit("metrics", "p", "f1", [(0, 4)], [], {}, None)
    assert (calls, ref.version, ref.rows) == ([1], 1, 4)


@pytest.fixture(scope="module")
def faulty() -> Iterator[dict[str, str]]:
    """A server that answers every fourth request 503 and every ninetieth never."""
    with s3_server(slow_down=4, hang=90) as environment:
        yield environment


@pytest.mark.slow
def test_a_faulty_server_changes_nothing(faulty: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in faulty.items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://{BUCKET}/s", "digits").open(create=True)
    for number in range(4):
        put(store, "rows", f"p{number}", rows([f"{number}a", f"{number}b"], [0, 1]))
    put(store, "labels", "p0", labels(["0a", "0b"], [0, 1], [0, 0]))
    with lease(store, "p0", 0, "me") as held:
        held.check()
    releases.publish(store, "p0", None, [], releases.versions(store))
    assert store.version("rows") == 4  # the empty table and four commits, none of them twice
    with query.connect(store) as connection:
        found = query.select(connection, "SELECT id FROM story WHERE action = 'fix'").to_pylist()
    assert found == [{"id": "0b"}]
    counts = faults(faulty)
    assert counts["slow_down"] > 20
    assert counts["hang"] > 0


# Queries


def test_sql_reads_the_release_and_nothing_else(store: Store) -> None:
    classes.extend(store, ["zero", "one"])
    ref = put(store, "rows", "2026-01-01T00.site=b_c", rows(["a"], [1]))
    releases.publish(store, "p", None, [], {"rows": ref.version})
    put(store, "rows", "q", rows(["b"], [0]))
    other = store.disk.uri(store.file_uris("rows")[1])
    log = f"{store.root}/digits/rows/_delta_log/00000000000000000000.json"
    with query.connect(store) as connection:
        found = query.select(connection, "SELECT partition, id, label_name FROM rows").to_pylist()
        assert found == [{"partition": "2026-01-01T00.site=b_c", "id": "a", "label_name": "one"}]
        assert query.select(connection, "SELECT count(*) AS n FROM labels").to_pylist() == [{"n": 0}]
        for sql in (
            f"SELECT * FROM '{other}'",
            f"SELECT * FROM read_parquet('{other}')",
            f"SELECT * FROM read_text('{log}')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM read_parquet('s3://other/x.parquet')",
            f"COPY (SELECT 1) TO '{store.root}/x.parquet'",
            "LOAD httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(query.QueryError):
                query.select(connection, sql)
            with pytest.raises(duckdb.Error):
                connection.execute(sql).fetchall()


def test_a_query_of_what_is_gone_says_so_in_a_sentence(store: Store) -> None:
    put(store, "rows", "p", rows(["a"], [1]))
    with query.connect(store) as connection:
        store.disk.remove(store.file_uris("rows")[0])
        with pytest.raises(StoreError, match=r"f1-00000000-00000001\.parquet is not there$") as told:
            query.select(connection, "SELECT label FROM rows")
    assert "\n" not in str(told.value)


def test_a_process_ends_after_a_query_that_was_cut_short(store: Store) -> None:
    for number in range(3):
        put(store, "rows", f"p{number}", rows([f"{number}"], [0]))
    code = (
        "import sys\nfrom storage import query\nfrom storage.store import Store\n"
        "connection = query.connect(Store(sys.argv[1], 'digits'))\n"
        "print(query.select(connection, 'SELECT id FROM rows LIMIT 1').num_rows)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.root],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


# Addresses, credentials and errors


@pytest.mark.parametrize(
    "root",
    [
        "s3://AKIASWORDFISH:swordfish@bucket/x",
        "s3://swordfish@bucket",
        "s3://bucket/x?secret_access_key=swordfish",
        "s3://bucket/x#swordfish",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(root: str) -> None:
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY") as refused:
        Store(root, "digits")
    assert "swordfish" not in str(refused.value).lower()


@pytest.mark.parametrize(
    "root", ["s3://", "s3:///x", "s3://bucket/../x", "s3://bucket//x", "s3://bucket/a b"]
)
def test_an_address_that_is_no_bucket_and_prefix_is_refused(root: str) -> None:
    with pytest.raises(StoreError, match="give s3://bucket/prefix"):
        Store(root, "digits")


def test_both_spellings_of_an_address_are_one_place(environment: dict[str, str]) -> None:
    assert Store(f"s3://{BUCKET}/a/", "d").path == Store(f"s3://{BUCKET}/a", "d").path == f"{BUCKET}/a/d"
    assert Store(f"s3://{BUCKET}", "d").path == f"{BUCKET}/d"


def test_an_unencrypted_server_must_be_meant(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StoreError, match="set AWS_ALLOW_HTTP=true"):
        Store(f"s3://{BUCKET}/a", "d")


@pytest.mark.parametrize("seconds", ["soon", "-1", "0", "1e3"])
def test_a_time_out_that_is_none_is_refused(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv(objects.TIMEOUT, seconds)
    with pytest.raises(StoreError, match=r"WINNOW_S3_TIMEOUT is .* give a number of seconds"):
        Store(f"s3://{BUCKET}/a", "d")


def test_a_bucket_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    store = Store("s3://no-such-bucket/a", "d")
    calls: list[Callable[[], object]] = [
        lambda: store.open(create=True),
        lambda: store.version("rows"),
        lambda: store.save_state("p", "s", {}, {}),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"no (such )?bucket"):
            call()


def test_a_server_that_is_away_is_worth_a_retry_and_no_secret_is_told(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    monkeypatch.setattr(objects, "RETRIES", 1)
    monkeypatch.setattr(objects, "PUTS", 1)
    store = Store(f"s3://{BUCKET}/{uuid.uuid4().hex}", "d")
    calls: list[Callable[[], object]] = [
        lambda: store.open(create=True),
        lambda: store.version("rows"),
        lambda: store.load_state("p", "s"),
        lambda: store.save_state("p", "s", {}, {}),
        lambda: store.write_shard("metrics", "p", "f", 0, 1, metrics(["a"])),
        lambda: live(store, "p"),
    ]
    for call in calls:
        with pytest.raises(
            Unreachable, match=r"^s3://winnow/.* cannot be used \(no answer.*then run again$"
        ) as told:
            call()
        assert isinstance(told.value, OSError)  # what a task run is tried again for
        assert "swordfish" not in repr(told.value) + str(told.value.__cause__)
        assert told.value.__suppress_context__


@pytest.mark.parametrize(
    ("status", "code"), [("403 Forbidden", "SignatureDoesNotMatch"), ("401 Unauthorized", "")]
)
def test_a_refusal_says_what_to_check_and_quotes_nothing(status: str, code: str) -> None:
    text = f"Server returned non-2xx status code: {status}: <Error><Code>{code}</Code><StringToSign>swordfish"
    told = objects.in_words("s3://bucket/x", objects.BaseError(text))
    assert str(told).startswith(f"s3://bucket/x refuses access ({status[:3]}")
    assert "AWS_SECRET_ACCESS_KEY" in str(told)
    assert "swordfish" not in str(told)
    assert not isinstance(told, OSError)  # asking again changes nothing


def test_secrets_are_in_no_object_and_no_setting(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    with lease(store, "p", 0, "me"):
        selector = FileSelector(store.path, recursive=True)
        found = [i.path for i in store.filesystem.get_file_info(selector) if i.type == FileType.File]
        assert len(found) >= 4
        assert not [path for path in found if SECRET_KEY.encode() in store.disk.read(path)]
    assert SECRET_KEY not in json.dumps(store.disk.options) + repr(vars(store)) + repr(vars(store.disk))
