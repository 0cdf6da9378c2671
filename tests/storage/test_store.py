"""Partitions, commits, races and states. Run with: python -m pytest tests/storage/test_store.py"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import files, parquet, query
from storage.store import Fenced, Store, StoreError, TableRef
from storage.tables import TABLES
from tests.storage.helpers import NAMES, at_once, kill, metrics, put, python, says, shards

Ten = tuple[Store, list[TableRef]]

# Reading back


def test_what_is_committed_is_read_back_in_order(store: Store) -> None:
    shards(store, "p", "f1", (4, 10), (0, 4))
    ref = store.commit("metrics", "p", "f1", [(4, 10), (0, 4)], [], {}, None)
    assert store.read(ref)["id"].to_pylist() == NAMES
    assert (ref.rows, ref.fingerprint, ref.version) == (10, "f1", 1)
    assert store.ref("metrics", "p") == ref
    assert store.shards(ref) == [(0, 4, 4), (4, 10, 6)]


def test_nothing_is_there_before_the_first_commit(store: Store) -> None:
    shards(store, "p", "f1", (0, 10))
    assert store.ref("metrics", "p") is None
    assert store.refs("metrics") == []
    assert store.version("metrics") is None
    assert store.file_uris("metrics") == []
    assert store.history("metrics", 5) == []
    assert store.has_shard("metrics", "p", "f1", 0, 10)
    assert not store.has_shard("metrics", "p", "f2", 0, 10)


def test_a_partition_of_no_rows_is_there_all_the_same(store: Store) -> None:
    ref = put(store, "metrics", "p", metrics([]))
    assert ref.rows == 0
    assert store.ref("metrics", "p") == ref
    assert store.partitions("metrics") == ["p"]
    assert store.read(ref).num_rows == 0
    assert store.read(ref, ["partition", "value"]).schema.names == ["partition", "value"]


def test_columns_come_as_asked_and_partition_only_if_asked(store: Store) -> None:
    ref = put(store, "metrics", "2026-11-22", metrics(["a"]))
    assert store.read(ref).schema.names == ["id", "stage", "name", "value", "unit"]
    assert store.read(ref, ["value", "partition"]).to_pylist() == [{"value": 1.0, "partition": "2026-11-22"}]
    assert store.read(ref, ["partition"]).to_pylist() == [{"partition": "2026-11-22"}]
    assert store.read(ref, []).num_columns == 0
    with pytest.raises(StoreError, match="metrics has no column colour"):
        store.read(ref, ["colour"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_a_span_counts_rows_over_files_row_groups_and_partitions(
    ten_rows: Ten, start: int, length: int
) -> None:
    store, refs = ten_rows
    expected = NAMES[start : start + length]
    assert store.read(refs, ["id"], (start, start + length))["id"].to_pylist() == expected


@pytest.fixture(scope="module")
def ten_rows(tmp_path_factory: pytest.TempPathFactory) -> Ten:
    """The rows of NAMES in three files, row groups of two, and two partitions."""
    store = Store(str(tmp_path_factory.mktemp("ten")), "d").open(create=True)
    patch = pytest.MonkeyPatch()
    patch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    shards(store, "p1", "f", (0, 5), (5, 7))
    store.write_shard("metrics", "p2", "f", 0, 3, metrics(NAMES[7:]))
    patch.undo()
    one = store.commit("metrics", "p1", "f", [(0, 5), (5, 7)], [], {}, None)
    two = store.commit("metrics", "p2", "f", [(0, 3)], [], {}, one.version)
    return store, [one, two]


def test_a_span_reads_only_the_row_groups_it_touches(ten_rows: Ten, monkeypatch: pytest.MonkeyPatch) -> None:
    store, refs = ten_rows
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counting(self: pq.ParquetFile, group: int, **arguments: object) -> pa.Table:
        read.append(group)
        return original(self, group, **arguments)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    assert store.read(refs, ["id"], (3, 5))["id"].to_pylist() == NAMES[3:5]
    assert read == [1, 2]


def test_row_groups_are_runs_of_a_partitions_rows_over_its_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)
    shards(store, "p", "f1", (0, 4), (4, 10))
    ref = store.commit("metrics", "p", "f1", [(0, 4), (4, 10)], [], {}, None)
    assert store.row_groups(ref) == [(0, 3), (3, 4), (4, 7), (7, 10)]
    empty = put(store, "metrics", "q", metrics([]))
    assert store.row_groups(empty) == []


def test_batches_stream_the_same_rows(ten_rows: Ten) -> None:
    store, refs = ten_rows
    batches = list(store.batches(refs, ["id", "partition"]))
    assert len(batches) == 6
    assert pa.Table.from_batches(batches).to_pydict() == {"id": NAMES, "partition": ["p1"] * 7 + ["p2"] * 3}


def test_refs_are_in_name_order_and_can_be_cut_to_the_last_few(store: Store) -> None:
    for partition in ("2026-01-03", "2026-01-01", "2026-01-02"):
        put(store, "metrics", partition, metrics(["a"]))
    names = [ref.partition for ref in store.refs("metrics")]
    assert names == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [r.partition for r in store.refs("metrics", up_to="2026-01-02")] == names[:2]
    assert [r.partition for r in store.refs("metrics", up_to="2026-01-02", last=1)] == names[1:2]
    assert store.refs("metrics", last=0) == []
    assert len(store.refs("metrics", last=9)) == 3
    assert {ref.version for ref in store.refs("metrics")} == {3}


def test_refs_of_many_partitions_are_in_name_order_too(store: Store) -> None:
    """Grouping in Arrow is by hash, which displaces a few of some thirty names or more; a gate that asks for
    the last one would then judge another night."""
    names = [f"2026-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)]
    for partition in names:
        put(store, "metrics", partition, metrics(["a"]))
    assert [ref.partition for ref in store.refs("metrics")] == names
    for place, partition in enumerate(names):
        last = store.refs("metrics", up_to=partition, last=2)
        assert [ref.partition for ref in last] == names[max(place - 1, 0) : place + 1]


def test_an_older_reference_still_reads_what_it_saw(store: Store) -> None:
    old = put(store, "metrics", "p", metrics(["old"]))
    put(store, "metrics", "p", metrics(["new"]), "f2")
    assert store.read(old)["id"].to_pylist() == ["old"]
    assert store.ref("metrics", "p").fingerprint == "f2"  # type: ignore[union-attr]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_keeps_its_values(store: Store, table: str) -> None:
    row = {field.name: _example(field.type) for field in TABLES[table] if field.name != "partition"}
    data = pa.Table.from_pylist([row], schema=pa.schema([f for f in TABLES[table] if f.name != "partition"]))
    assert store.read(put(store, table, "p", data)).equals(data)


def _example(kind: pa.DataType) -> object:
    if pa.types.is_map(kind):
        return [("rows", 3)]
    if pa.types.is_list(kind):
        return [_example(kind.value_type)] * 2
    if pa.types.is_struct(kind):
        return {field.name: _example(field.type) for field in kind}
    if pa.types.is_string(kind):
        return "é"
    return {"binary": b"\x00\xff", "bool": True}.get(str(kind), 1)


# Files


def test_the_same_table_is_written_as_the_same_bytes(tmp_path: Path, store: Store) -> None:
    table = metrics(NAMES)
    for name in ("a", "b"):
        with store.filesystem.open_output_stream(str(tmp_path / name)) as stream:
            parquet.write(pa.concat_tables([table.slice(0, 3), table.slice(3)]), stream)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_finished_shard_is_never_replaced(store: Store) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    [path] = store.file_uris("metrics")
    before = os.stat(path)
    store.write_shard("metrics", "p", "f1", 0, 1, metrics(["a"]))
    assert os.stat(path).st_ino == before.st_ino
    with pytest.raises(StoreError, match="holds other values than were computed now"):
        store.write_shard("metrics", "p", "f1", 0, 1, metrics(["b"]))
    assert store.read(ref)["id"].to_pylist() == ["a"]


def test_no_temporary_file_is_left_even_when_writing_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(StoreError, match="the disk is full; free some space"):
        shards(store, "p", "f1", (0, 4))
    assert [path.name for path in Path(store.path).rglob("*") if path.is_file()] == []


def test_a_store_that_may_not_be_written_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, exist_ok: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "makedirs", denied)
    with pytest.raises(StoreError, match="cannot be written; give this user write access"):
        shards(store, "p", "f1", (0, 4))


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_file_that_is_gone_or_broken_is_named(store: Store, harm: str) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    [path] = store.file_uris("metrics")
    if harm == "missing":
        os.unlink(path)
    else:
        Path(path).write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(StoreError, match=rf"{path} is {harm}"):
        store.read(ref)


# Commits


def test_a_commit_replaces_exactly_its_partition(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a", "b"]))
    other = put(store, "metrics", "q", metrics(["c"]))
    ref = put(store, "metrics", "p", metrics(["d"]), "f2")
    assert store.read(ref)["id"].to_pylist() == ["d"]
    assert store.read(store.refs("metrics"), ["id"])["id"].to_pylist() == ["d", "c"]
    assert store.ref("metrics", "q").content == other.content  # type: ignore[union-attr]


def test_the_same_files_again_make_no_new_version(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    assert put(store, "metrics", "p", metrics(["a"])) == first
    assert store.commit("metrics", "p", "f1", [(0, 1)], [], {}, None) == first  # an old plan, the same result
    assert store.version("metrics") == 1


def test_files_may_stay_while_others_of_their_partition_change(store: Store) -> None:
    shards(store, "p", "f1", (0, 4), (4, 10), (4, 7))
    whole = store.commit("metrics", "p", "f1", [(0, 4), (4, 10)], [], {}, None)
    part = store.commit("metrics", "p", "f1", [(0, 4), (4, 7)], [], {}, whole.version)
    assert store.read(part)["id"].to_pylist() == NAMES[:7]
    assert store.read(whole)["id"].to_pylist() == NAMES
    assert part.content != whole.content
    assert store.ref("metrics", "p") == part


def test_content_does_not_depend_on_the_shards(store: Store) -> None:
    shards(store, "p", "f1", (0, 10))
    shards(store, "q", "f2", (0, 3), (3, 3), (3, 10))
    one = store.commit("metrics", "p", "f1", [(0, 10)], [], {}, None)
    two = store.commit("metrics", "q", "f2", [(0, 3), (3, 3), (3, 10)], [], {}, one.version)
    assert one.content == two.content
    assert store.ref("metrics", "q").content == one.content  # type: ignore[union-attr]


def test_fingerprint_parents_and_info_ride_in_the_commit(store: Store) -> None:
    parent = put(store, "metrics", "p", metrics(["a"]))
    store.write_shard("issues", "p", "f9", 0, 0, TABLES["issues"].empty_table())
    ref = store.commit("issues", "p", "f9", [(0, 0)], [asdict(parent)], {"seconds": 1.5}, None)
    [newest] = store.history("issues", 1)
    assert (newest["partition"], newest["fingerprint"], newest["content"]) == ("p", "f9", ref.content)
    assert json.loads(newest["info"]) == {"seconds": 1.5}
    assert json.loads(newest["parents"])[0]["content"] == parent.content


def test_info_and_size_of_a_reference_are_those_of_its_own_commit(store: Store) -> None:
    shards(store, "p", "f1", (0, 4))
    ref = store.commit("metrics", "p", "f1", [(0, 4)], [], {"seconds": 2}, None)
    put(store, "metrics", "q", metrics(["a"]))
    assert store.info(ref) == {"seconds": 2}
    assert store.size(ref) == os.path.getsize(store.file_uris("metrics", ref.version, ["p"])[0])


def test_a_missing_shard_is_not_committed(store: Store) -> None:
    shards(store, "p", "f1", (0, 4))
    with pytest.raises(StoreError, match=r"f1-00000004-00000010.parquet is missing"):
        store.commit("metrics", "p", "f1", [(0, 4), (4, 10)], [], {}, None)
    assert store.version("metrics") is None


def test_other_delta_readers_see_the_same_rows(store: Store) -> None:
    put(store, "metrics", "2026-11-22", metrics(["a", "b"]))
    put(store, "metrics", "2026-11-22", metrics(["c"]), "f2")
    seen = pa.table(DeltaTable(f"{store.path}/metrics").to_pyarrow_table())
    assert seen.select(["partition", "id"]).to_pylist() == [{"partition": "2026-11-22", "id": "c"}]


def test_restore_brings_back_a_version_with_its_fingerprints(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    put(store, "metrics", "q", metrics(["c"]))
    version = store.restore("metrics", first.version)
    back = store.ref("metrics", "p")
    assert back is not None
    assert (back.version, back.fingerprint, back.content) == (version, "f1", first.content)
    assert store.partitions("metrics") == ["p"]
    with pytest.raises(StoreError, match="no version 99"):
        store.restore("metrics", 99)


def test_old_versions_outlive_checkpoints_and_log_cleanup(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    delta = DeltaTable(f"{store.path}/metrics")
    delta.create_checkpoint()
    assert delta.metadata().configuration["delta.enableExpiredLogCleanup"] == "false"
    assert store.read(first)["id"].to_pylist() == ["a"]
    assert store.ref("metrics", "p").fingerprint == "f2"  # type: ignore[union-attr]


# Fencing and races, with real processes


def test_a_writer_that_slept_through_another_commit_is_fenced(store: Store) -> None:
    base = put(store, "metrics", "p", metrics(["a"])).version
    shards(store, "p", "late", (0, 4))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    with pytest.raises(Fenced, match="partition p was committed by another run"):
        store.commit("metrics", "p", "late", [(0, 4)], [], {}, base)
    assert store.ref("metrics", "p").fingerprint == "f2"  # type: ignore[union-attr]


def test_a_writer_that_saw_no_table_is_fenced_by_one_who_filled_its_partition(store: Store) -> None:
    shards(store, "p", "late", (0, 4))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    with pytest.raises(Fenced):
        store.commit("metrics", "p", "late", [(0, 4)], [], {}, None)


def test_commits_to_other_partitions_do_not_fence(store: Store) -> None:
    base = put(store, "metrics", "p", metrics(["a"])).version
    put(store, "metrics", "q", metrics(["b"]))
    shards(store, "p", "f2", (0, 4))
    assert store.commit("metrics", "p", "f2", [(0, 4)], [], {}, base).rows == 4


def test_alone_is_fenced_by_any_commit(store: Store) -> None:
    base = put(store, "metrics", "p", metrics(["a"])).version
    put(store, "metrics", "q", metrics(["b"]))
    shards(store, "p", "f2", (0, 4))
    with pytest.raises(Fenced):
        store.commit("metrics", "p", "f2", [(0, 4)], [], {}, base, alone=True)


RACER = """
import sys
from storage.store import Fenced, Store
from tests.storage.helpers import shards
root, partition, fingerprint = sys.argv[1:]
store = Store(root, "digits")
shards(store, partition, fingerprint, (0, 4))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(store.commit("metrics", partition, fingerprint, [(0, 4)], [], {}, None).fingerprint)
except Fenced:
    print("fenced")
"""


def test_processes_that_commit_at_once_make_one_table_and_one_winner_a_partition(store: Store) -> None:
    racers = [python(RACER, store.root, partition, f"f{i}") for i, partition in enumerate("ppq")]
    first, second, other = at_once(racers)
    assert other == "f2"
    assert [first, second].count("fenced") == 1
    ref = store.ref("metrics", "p")
    assert ref is not None
    assert ref.fingerprint in {first, second}
    assert store.read(ref)["id"].to_pylist() == NAMES[:4]
    assert store.read(store.refs("metrics")).num_rows == 8


KILLED = """
import sys, time
import deltalake
from storage.store import Store
from tests.storage.helpers import shards
store = Store(sys.argv[1], "digits")
base = store.version("metrics")
shards(store, "p", "f2", (0, 4), (4, 10))
if sys.argv[2] == "before":
    def stop(*args, **kwargs):
        print("ready", flush=True)
        time.sleep(60)
    deltalake.DeltaTable.create_write_transaction = stop
store.commit("metrics", "p", "f2", [(0, 4), (4, 10)], [], {}, base)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("moment", "fingerprint"), [("before", "f1"), ("after", "f2")])
def test_kill_9_around_a_commit_leaves_the_old_partition_or_the_new_one(
    store: Store, moment: str, fingerprint: str
) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    process = python(KILLED, store.root, moment)
    assert says(process) == "ready"
    kill(process)
    ref = store.ref("metrics", "p")
    assert ref is not None
    assert ref.fingerprint == fingerprint
    assert store.read(ref).num_rows == {"f1": 1, "f2": 10}[fingerprint]
    again = store.commit("metrics", "p", "f2", [(0, 4), (4, 10)], [], {}, 1)  # what the next run finds done
    assert again.rows == 10


HALF = """
import sys, time
from storage import files
from storage.store import Store
from tests.storage.helpers import shards
def stop(path):
    print("ready", flush=True)
    time.sleep(60)
files.sync = stop
shards(Store(sys.argv[1], "digits"), "p", "f1", (0, 4))
"""


def test_kill_9_in_the_middle_of_a_shard_leaves_no_shard(store: Store) -> None:
    process = python(HALF, store.root)
    assert says(process) == "ready"
    kill(process)
    assert not store.has_shard("metrics", "p", "f1", 0, 4)
    shards(store, "p", "f1", (0, 4))
    assert store.commit("metrics", "p", "f1", [(0, 4)], [], {}, None).rows == 4


# States and reports


def test_states_keep_arrays_and_info(store: Store) -> None:
    arrays: dict[str, np.ndarray] = {
        "transposed": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(3.5),
        "flags": np.array([True, False]),
        "strided": np.arange(10, dtype=np.uint8)[::3],
    }
    assert not store.has_state("p", "fit-f1")
    assert store.load_state("p", "fit-f1") is None
    store.save_state("p", "fit-f1", arrays, {"notes": ["é"], "n": 2})
    assert store.has_state("p", "fit-f1")
    loaded = store.load_state("p", "fit-f1")
    assert loaded is not None
    assert loaded[1] == {"notes": ["é"], "n": 2}
    assert loaded[0].keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[0][name], array, strict=True)


def test_a_state_of_facts_alone_is_a_state(store: Store) -> None:
    store.save_state("p", "s", {}, {"n": 1})
    assert store.load_state("p", "s") == ({}, {"n": 1})


def test_the_same_state_is_the_same_file(store: Store) -> None:
    path = Path(store.path) / "_states/p/s.safetensors"
    store.save_state("p", "s", {"a": np.zeros(2), "b": np.ones(1)}, {"x": 1, "y": 2})
    first = path.read_bytes()
    store.save_state("p", "s", {"b": np.ones(1), "a": np.zeros(2)}, {"y": 2, "x": 1})
    assert path.read_bytes() == first


def test_what_would_need_pickle_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="state array 'names' is object; states hold numbers"):
        store.save_state("p", "s", {"names": np.array(["a"], object)}, {})


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"\xff" * 20])
def test_a_damaged_state_is_named(store: Store, data: bytes) -> None:
    store.save_state("p", "s", {"a": np.zeros(2)}, {})
    (Path(store.path) / "_states/p/s.safetensors").write_bytes(data)
    with pytest.raises(StoreError, match=r"s\.safetensors is damaged"):
        store.load_state("p", "s")


def test_the_newest_report_of_a_partition_is_found(store: Store) -> None:
    assert store.report_path("p") is None
    store.save_report("p", "zzz", "<p>old")
    path = store.save_report("p", "aaa", "<p>new é")
    assert store.report_path("p") == path
    assert Path(path).read_text(encoding="utf-8") == "<p>new é"


# Where a store may be


@pytest.mark.parametrize(
    "root", ["store", "./store", "../store", "", "gs://bucket/x", "file://host/x", "~/x"]
)
def test_a_root_that_is_no_absolute_place_is_refused(root: str) -> None:
    with pytest.raises(StoreError, match=r"relative path|only file:///"):
        Store(root, "d")


def test_a_root_with_dots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"contains '\.\.'"):
        Store(f"{tmp_path}/a/../b", "d")
    with pytest.raises(StoreError, match=r"contains '\.\.'"):
        Store("file:///a/%2e%2e/b", "d")


def test_both_spellings_of_a_root_are_one_place(tmp_path: Path) -> None:
    assert (
        Store(f"file://{tmp_path}/a%20b", "d").path
        == Store(f"{tmp_path}/a b/", "d").path
        == f"{tmp_path}/a b/d"
    )


HOSTILE = [
    "",
    "..",
    ".",
    ".hidden",
    "a/b",
    "../x",
    "/etc",
    "a\x00b",
    "a b",
    "-rf",
    "é",
    "a\n",
    "_log",
    "a%2fb",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_could_lead_anywhere_else_are_refused(store: Store, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: Store(store.root, name),
        lambda: store.ref("metrics", name),
        lambda: store.write_shard("metrics", name, "f", 0, 0, metrics([])),
        lambda: store.has_shard("metrics", "p", name, 0, 0),
        lambda: store.commit("metrics", name, "f", [(0, 0)], [], {}, None),
        lambda: store.save_state(name, "s", {}, {}),
        lambda: store.load_state("p", name),
        lambda: store.save_report("p", name, ""),
        lambda: store.report_path(name),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="cannot be the name of a"):
            call()
    assert list(Path(store.path).iterdir()) == []


def test_names_with_every_allowed_sign_work(store: Store) -> None:
    ref = put(store, "metrics", "2026-01-01T00.site=b_c", metrics(["a"]), "f-1")
    assert store.refs("metrics") == [ref]
    assert store.read(ref, ["partition"])["partition"].to_pylist() == ["2026-01-01T00.site=b_c"]


@pytest.mark.parametrize("link", ["metrics", "metrics/partition=p", "_states", "_states/p"])
def test_a_link_out_of_the_store_is_not_followed(store: Store, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = Path(store.path) / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    writes: dict[str, Callable[[], None]] = {
        "metrics": lambda: shards(store, "p", "f1", (0, 4)),
        "_states": lambda: store.save_state("p", "s", {}, {}),
    }
    with pytest.raises(StoreError, match="is a link that leads out of the store"):
        writes[link.split("/")[0]]()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("what", ["file", "folder", "table"])
def test_a_link_put_in_later_is_not_read(store: Store, tmp_path: Path, what: str) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    path = Path(store.file_uris("metrics")[0])
    path = {"file": path, "folder": path.parent, "table": path.parent.parent}[what]
    shutil.move(path, tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    calls: list[Callable[[], object]] = [lambda: store.read(ref), lambda: store.file_uris("metrics")]
    for call in calls:
        with pytest.raises(StoreError, match="leads out of the store"):
            call()


def test_the_root_itself_may_be_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    linked = Store(f"{tmp_path}/link", "digits").open(create=False)
    assert put(linked, "metrics", "p", metrics(["a"])) == store.ref("metrics", "p")


def test_a_data_set_that_does_not_exist_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"digits does not exist; run a partition of digits first"):
        Store(str(tmp_path), "digits").open(create=False)


def test_a_store_travels_to_another_process(store: Store) -> None:
    ref = put(store, "metrics", "p", metrics(["a"]))
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - what multiprocessing does with it
    assert copy.ref("metrics", "p") == ref


def test_states_are_found_by_how_their_names_start(store: Store) -> None:
    for name in ("teach-a-fold0", "teach-a-fold1", "teach-b-fold0"):
        store.save_state("p", name, {}, {})
    assert store.states("p/teach-a-") == ["p/teach-a-fold0", "p/teach-a-fold1"]
    assert store.states("p/") == ["p/teach-a-fold0", "p/teach-a-fold1", "p/teach-b-fold0"]
    assert store.states("p/detect") == store.states("q/teach") == []


def test_the_partitions_of_an_older_version_can_be_listed(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    put(store, "metrics", "q", metrics(["c"]))
    assert store.refs("metrics", version=first.version) == [first]
    assert len(store.refs("metrics")) == 2


def test_a_merge_may_not_change_what_a_partition_holds(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    store.write_shard("metrics", "p", "f1", 0, 2, metrics(["a", "b"]))
    with pytest.raises(StoreError, match="do not hold what was committed"):
        store.commit("metrics", "p", "f1", [(0, 2)], [], {}, 1, merge=True)


def test_a_table_that_has_grown_takes_new_rows_beside_its_old_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = {"id": ["a"], "distiller": ["random"], "label": [0], "origins": [["a"]]}
    with monkeypatch.context() as before:
        columns = [field for field in TABLES["distilled"] if field.name != "tiles"]
        before.setitem(TABLES, "distilled", pa.schema(columns))
        old = put(store, "distilled", "p", example)
    fresh = Store(store.root, "digits")
    put(fresh, "distilled", "q", {**example, "tiles": pa.array([2], pa.int16())})
    assert fresh.ref("distilled", "p").content == old.content  # type: ignore[union-attr]
    assert fresh.read(fresh.refs("distilled"))["tiles"].to_pylist() == [None, 2]
    with query.connect(fresh, "live") as connection:
        found = query.select(connection, "SELECT tiles FROM distilled ORDER BY partition")
    assert found["tiles"].to_pylist() == [None, 2]
    assert fresh.vacuum() == []
