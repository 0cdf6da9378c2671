"""What the doctor finds, and what it mends. Run with: python -m pytest tests/storage/test_doctor.py

Each test damages a store that was sound, and wants exactly that damage named.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage import classes, parquet, releases
from storage.doctor import Finding, examine, mend
from storage.leases import lease
from storage.store import Store
from tests.storage.helpers import kill, labels, metrics, put, python, rows, says, shards
from tests.storage.test_releases import as_older_winnow_wrote_it

IDS = ["a", "b", "c"]


@pytest.fixture
def sound(store: Store) -> Store:
    """Two nights with rows, labels, figures, a state, a page and a release each; the first night's
    figures were made twice, so that release 1 needs an old version."""
    classes.extend(store, ["cat", "dog"])
    classes.extend(store, ["cat", "dog", "owl"])
    for night in ("n1", "n2"):
        made = put(store, "rows", night, rows(IDS, [0, 1, 2]))
        parent = {"table": "rows", "partition": night, "version": made.version, "content": made.content}
        store.save_state(night, "teach-k-fold0", {"w": np.ones(3)}, {})
        store.write_shard("labels", night, "f1", 0, 3, _labels())
        info = {"states": [f"{night}/teach-k-fold0"]}
        store.commit("labels", night, "f1", [(0, 3)], [parent], info, store.version("labels"))
        put(store, "metrics", night, metrics(["x"]))
        store.save_report(night, "page", "<p>")
        releases.publish(store, night, None, [], releases.versions(store))
    put(store, "metrics", "n1", metrics(["x", "y"]), "f2")
    with lease(store, "n1", 0, "a run that ended well"):
        pass
    assert examine(store, deep=True) == []
    return store


def _labels() -> pa.Table:
    return pa.table(labels(IDS, [0, 1, 2], [0, 1, 1]))


def only(store: Store, deep: bool = False) -> Finding:
    """The one thing that is wrong."""
    [finding] = examine(store, deep)
    assert finding.wrong
    assert finding.sentence
    assert finding.remedy
    return finding


def file_of(store: Store, table: str, partition: str) -> Path:
    [uri] = store.file_uris(table, partitions=[partition])
    return Path(uri)


def test_nothing_is_wrong_with_an_empty_store(store: Store) -> None:
    assert examine(store, deep=True) == []


def test_a_listed_file_that_is_missing(sound: Store) -> None:
    path = file_of(sound, "labels", "n2")
    path.unlink()
    finding = only(sound)
    assert (finding.code, finding.table, finding.partition, finding.path) == (
        "missing_file",
        "labels",
        "n2",
        str(path),
    )
    assert "needed by the newest version and release 2" in finding.sentence
    assert "run partition n2 again with --force" in finding.remedy


def test_a_file_that_only_an_old_release_needs(sound: Store) -> None:
    old = Path(sound.path) / "metrics/partition=n1/f1-00000000-00000001.parquet"
    old.unlink()
    finding = only(sound)
    assert finding.code == "missing_file"
    assert "needed by releases 1, 2" in finding.sentence
    assert "let releases 1, 2 expire" in finding.remedy


@pytest.mark.parametrize("cut", [1, 400], ids=["by a byte", "to nearly nothing"])
def test_a_file_that_was_cut_off(sound: Store, cut: int) -> None:
    path = file_of(sound, "rows", "n1")
    path.write_bytes(path.read_bytes()[:-cut])
    finding = only(sound)
    assert (finding.code, finding.path) == ("damaged_file", str(path))


def test_a_file_whose_footer_is_damaged_at_the_same_length(sound: Store) -> None:
    path = file_of(sound, "rows", "n1")
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes(40))
    assert only(sound).code == "damaged_file"


def test_a_file_swapped_with_one_of_as_many_rows_and_bytes_is_found_by_reading_it(sound: Store) -> None:
    path = file_of(sound, "labels", "n2")
    table = pq.read_table(path)
    codes = table["label"].to_numpy()[::-1]
    other = table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), [codes])
    size = path.stat().st_size
    with path.open("wb") as stream:
        parquet.write(other, stream)
    assert path.stat().st_size == size, "else the quick look would find it"
    assert examine(sound) == []
    assert only(sound, deep=True).code == "changed_content"


def test_a_file_with_other_rows_is_found_by_its_footer(sound: Store) -> None:
    path = file_of(sound, "labels", "n2")
    size = path.stat().st_size
    table = pq.read_table(path).slice(1)
    pq.write_table(table, path)
    if path.stat().st_size < size:
        padded = path.read_bytes()
        path.write_bytes(padded[:4] + bytes(size - len(padded)) + padded[4:])
    assert only(sound).code in ("changed_content", "damaged_file")


def test_a_flipped_bit_in_the_data_is_found_by_reading_it(sound: Store) -> None:
    path = file_of(sound, "labels", "n1")
    flip_a_bit(path)
    assert only(sound, deep=True).code == "changed_content"


def flip_a_bit(path: Path) -> None:
    """Flips the first bit that changes a value and leaves a file that can be read."""
    whole, table = path.read_bytes(), pq.read_table(path)
    for at in range(4, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with suppress(OSError, pa.ArrowException):
            if pq.read_table(path) != table and pq.read_metadata(path).num_rows == table.num_rows:
                return
    raise AssertionError("no bit of this file can be flipped unseen")


def test_a_file_that_was_never_committed(sound: Store) -> None:
    shards(sound, "n1", "f9", (0, 2))
    finding = only(sound)
    assert (finding.code, finding.safe_to_fix) == ("orphan_file", True)
    with lease(sound, "n1", 0, "a run"):
        assert examine(sound) == [], "a run that is under way has such files"
        assert mend(sound, [finding]) == []
    assert mend(sound, [finding]) == [finding]
    assert examine(sound) == []


def test_a_file_that_was_committed_after_the_look_is_not_removed(sound: Store) -> None:
    shards(sound, "n1", "f9", (0, 2))
    finding = only(sound)
    sound.commit("metrics", "n1", "f9", [(0, 2)], [], {}, sound.version("metrics"))
    assert mend(sound, [finding]) == []
    assert Path(str(finding.path)).exists()


@pytest.mark.parametrize("folder", ["metrics/partition=n1", "_states/n1", "_reports/n1", "_leases/n1"])
def test_an_unfinished_file_of_a_dead_process(sound: Store, folder: str) -> None:
    path = Path(sound.path) / folder / ".tmp-1-abc-x"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    finding = only(sound)
    assert (finding.code, finding.path) == ("unfinished_file", str(path))
    assert mend(sound, [finding]) == [finding]
    assert examine(sound, deep=True) == []


def test_an_unfinished_file_of_somebody_who_still_writes_is_none(sound: Store) -> None:
    (Path(sound.path) / "_leases/n1/.tmp-1-abc-x").write_bytes(b"half")
    (Path(sound.path) / "_states/n2/.tmp-1-abc-x").write_bytes(b"half")
    with lease(sound, "n2", 0, "a run"):
        assert examine(sound) == []


def test_a_missing_state(sound: Store) -> None:
    (Path(sound.path) / "_states/n2/teach-k-fold0.safetensors").unlink()
    finding = only(sound)
    assert (finding.code, finding.table, finding.partition) == ("missing_state", "labels", "n2")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 3, b"\xff" * 40, None], ids=["empty", "short", "foreign", "cut"]
)
def test_a_damaged_state(sound: Store, data: bytes | None) -> None:
    path = Path(sound.path) / "_states/n2/teach-k-fold0.safetensors"
    path.write_bytes(path.read_bytes()[:-1] if data is None else data)
    assert (only(sound).code, only(sound).path) == ("damaged_state", str(path))


def test_parents_that_the_store_does_not_hold(sound: Store) -> None:
    parent = {"table": "rows", "partition": "n1", "version": 1, "content": "0" * 32}
    shards(sound, "n1", "f3", (0, 1))
    sound.commit("metrics", "n1", "f3", [(0, 1)], [parent], {}, sound.version("metrics"))
    finding = only(sound)
    assert (finding.code, finding.table, finding.partition) == ("broken_parent", "metrics", "n1")
    assert "made from rows of n1 at version 1" in finding.sentence


def test_inputs_that_changed_since_are_stale_and_not_wrong(sound: Store) -> None:
    put(sound, "rows", "n1", rows(IDS, [0, 0, 0]), "f2")
    [finding] = examine(sound)
    assert (finding.code, finding.table, finding.wrong) == ("stale", "labels", False)
    assert "labels of n1 " in finding.sentence


HOLDER = """
import sys, time
from storage.leases import lease
from storage.store import Store
with lease(Store(sys.argv[1], "digits"), "n1", 0, "a run that is killed"):
    print("holding", flush=True)
    time.sleep(60)
"""


def test_the_lease_of_a_dead_process(sound: Store) -> None:
    process = python(HOLDER, sound.root)
    assert says(process) == "holding"
    assert examine(sound) == [], "it lives"
    kill(process)
    finding = only(sound)
    assert finding.code == "dead_lease"
    assert "a run that is killed" in finding.sentence
    assert mend(sound, [finding]) == [finding]
    assert examine(sound) == []


def test_a_damaged_lease(sound: Store) -> None:
    [path] = (Path(sound.path) / "_leases/n1").iterdir()
    path.write_text("{")
    os.utime(path, (time.time() - 100, time.time() - 100))
    finding = only(sound)
    assert (finding.code, finding.path) == ("damaged_lease", str(path))
    assert mend(sound, [finding]) == [finding]
    with lease(sound, "n1", 0, "a run"):
        pass
    assert examine(sound) == []


def log_of(store: Store, version: int) -> Path:
    return Path(store.path) / f"rows/_delta_log/{version:020d}.json"


def test_a_missing_commit(sound: Store) -> None:
    DeltaTable(f"{sound.path}/rows").create_checkpoint()
    log_of(sound, 1).unlink()
    finding = only(sound)
    assert (finding.code, finding.table, finding.path) == ("missing_commit", "rows", str(log_of(sound, 1)))


def test_a_commit_that_cannot_be_read(sound: Store) -> None:
    log_of(sound, 1).write_text("{")
    finding = only(sound)
    assert (finding.code, finding.path) == ("damaged_commit", str(log_of(sound, 1)))


def test_a_checkpoint_that_says_something_else(sound: Store) -> None:
    DeltaTable(f"{sound.path}/rows").create_checkpoint()
    [checkpoint] = (Path(sound.path) / "rows/_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    assert only(sound).code == "unreadable_log"


def vocabulary(store: Store, number: int) -> Path:
    return Path(store.path) / f"_classes/{number:06d}.json"


def damaged(store: Store) -> None:
    vocabulary(store, 0).write_text('["cat"')


def without_the_first(store: Store) -> None:
    vocabulary(store, 0).unlink()


def swapped(store: Store) -> None:
    vocabulary(store, 1).write_text('["dog", "cat", "owl"]')


def shrunk(store: Store) -> None:
    vocabulary(store, 1).write_text('["cat"]')


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (damaged, "damaged_classes"),
        (without_the_first, "missing_classes"),
        (swapped, "changed_classes"),
        (shrunk, "changed_classes"),
    ],
)
def test_class_names(sound: Store, damage: Callable[[Store], None], code: str) -> None:
    damage(sound)
    assert only(sound).code == code


def test_a_class_that_got_a_new_name_is_the_same_class(sound: Store) -> None:
    classes.rename(sound, {"cat": "tomcat"})
    assert examine(sound) == []


def test_a_release_of_versions_that_do_not_exist(sound: Store) -> None:
    with releases.turn(sound, "a test"):
        releases.append(sound, "n2", None, [], {"rows": 99, "issues": 1}, "published")
    [issues_finding, rows_finding] = examine(sound)
    assert rows_finding.code == issues_finding.code == "broken_release"
    assert "release 3 names version 99 of rows, but the newest is 2" in rows_finding.sentence
    assert "there is no issues" in issues_finding.sentence


def test_what_an_expired_release_needed_is_not_missed(sound: Store) -> None:
    with releases.turn(sound, "a test"):
        releases.expire(sound, {1, 2})
    (Path(sound.path) / "metrics/partition=n1/f1-00000000-00000001.parquet").unlink()
    assert examine(sound) == []


def test_a_missing_page(sound: Store) -> None:
    shutil.rmtree(Path(sound.path) / "_reports/n2")
    assert (only(sound).code, only(sound).partition) == ("missing_report", "n2")


@pytest.mark.parametrize("place", ["_reports/n3", "metrics/partition=n3", "rejects"])
def test_a_folder_that_is_a_link_out_of_the_store(sound: Store, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (Path(sound.path) / place).symlink_to(outside)
    finding = only(sound)
    assert (finding.code, finding.path) == ("link_outside", f"{sound.path}/{place}")
    assert mend(sound, [finding]) == []
    assert (outside / "precious").exists()


def test_a_file_that_is_a_link_out_of_the_store(sound: Store, tmp_path: Path) -> None:
    path = file_of(sound, "rows", "n1")
    shutil.move(path, tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert (only(sound).code, only(sound).path) == ("link_outside", str(path))


def test_old_files_that_wait_for_vacuum_are_nothing_wrong(sound: Store) -> None:
    put(sound, "metrics", "n2", metrics(["z"]), "f4")
    put(sound, "metrics", "n2", metrics(["w"]), "f5")
    assert examine(sound) == []
    sound.vacuum()
    assert examine(sound, deep=True) == []


def test_releases_of_an_older_winnow_without_notes_are_sound(sound: Store) -> None:
    as_older_winnow_wrote_it(sound)
    assert examine(Store(sound.root, "digits"), deep=True) == []


def test_mending_does_nothing_about_what_is_not_safe(sound: Store) -> None:
    file_of(sound, "labels", "n2").unlink()
    shards(sound, "n1", "f9", (0, 2))
    found = examine(sound)
    assert [finding.code for finding in mend(sound, found)] == ["orphan_file"]
    assert [finding.code for finding in examine(sound)] == ["missing_file"]


def test_a_finding_is_told_as_data(sound: Store) -> None:
    file_of(sound, "labels", "n2").unlink()
    assert json.loads(json.dumps(vars(only(sound))))["code"] == "missing_file"


def test_a_file_is_missed_that_only_a_kept_partition_needs(sound: Store) -> None:
    good = put(sound, "metrics", "n2", metrics(["good"]), "f4")
    gone = Path(sound.file_uris("metrics", good.version, ["n2"])[0])
    bad = put(sound, "metrics", "n2", metrics(["bad"]), "f5")
    kept = [releases.Kept("metrics", "n2", good.version)]
    versions = {**releases.versions(sound), "metrics": bad.version}
    releases.publish(sound, "n2", None, [], versions, kept=kept)
    assert examine(sound, deep=True) == []
    gone.unlink()
    assert [finding.code for finding in examine(sound)] == ["missing_file"]
