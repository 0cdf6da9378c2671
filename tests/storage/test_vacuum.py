"""What is removed, and what never is. Run with: python -m pytest tests/storage/test_vacuum.py"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from storage import log, releases
from storage.errors import StoreError
from storage.leases import lease
from storage.store import Store
from tests.storage.helpers import metrics, put


def names(paths: list[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


def test_a_store_of_newest_files_only_is_clean(store: Store) -> None:
    assert store.vacuum() == []
    put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "q", metrics([]))
    assert store.vacuum() == []
    assert store.read(store.refs("metrics")).num_rows == 1


def test_replaced_uncommitted_and_temporary_files_go(store: Store) -> None:
    put(store, "metrics", "p", metrics(["old"]))
    ref = put(store, "metrics", "p", metrics(["new"]), "f2")
    store.write_shard("metrics", "p", "f3", 0, 1, metrics(["never committed"]))
    (Path(store.path) / "metrics/partition=p/.tmp-1-x-f4").write_bytes(b"half")
    expected = [".tmp-1-x-f4", "f1-00000000-00000001.parquet", "f3-00000000-00000001.parquet"]
    assert names(store.vacuum(dry_run=True)) == expected
    assert names(store.vacuum()) == expected
    assert store.vacuum() == []
    assert store.read(ref)["id"].to_pylist() == ["new"]


@pytest.mark.parametrize("status", ["published", "held"])
def test_what_a_release_names_stays_readable(store: Store, status: str) -> None:
    kept = put(store, "metrics", "p", metrics(["kept"]))
    releases.publish(store, "p", None, [], {"metrics": kept.version}, status)
    put(store, "metrics", "p", metrics(["between"]), "f2")
    put(store, "metrics", "p", metrics(["new"]), "f3")
    assert names(store.vacuum()) == ["f2-00000000-00000001.parquet"]
    assert store.read(kept)["id"].to_pylist() == ["kept"]
    assert releases.get(store, 1).versions == {"metrics": kept.version}


def test_a_partition_under_a_lease_is_left_alone(store: Store) -> None:
    for partition in "pq":
        store.write_shard("metrics", partition, "f1", 0, 1, metrics(["a"]))
    with lease(store, "p", 0, "a run"):
        assert [Path(path).parent.name for path in store.vacuum(dry_run=True)] == ["partition=q"]
        assert [Path(path).parent.name for path in store.vacuum()] == ["partition=q"]
        assert store.has_shard("metrics", "p", "f1", 0, 1)
    assert len(store.vacuum()) == 1


def test_a_file_committed_after_the_first_look_is_not_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage import vacuum

    store.write_shard("metrics", "p", "f1", 0, 1, metrics(["a"]))
    real = vacuum._held

    def a_run_ends_just_before(*arguments: object) -> bool:
        store.commit("metrics", "p", "f1", [(0, 1)], [], {}, None)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vacuum, "_held", a_run_ends_just_before)
    assert store.vacuum() == []
    assert store.read(store.refs("metrics"))["id"].to_pylist() == ["a"]


def test_states_go_when_no_kept_file_has_their_fingerprint(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]), "aaa")
    releases.publish(store, "p", None, [], {"metrics": first.version})
    put(store, "metrics", "p", metrics(["b"]), "bbb")
    put(store, "metrics", "p", metrics(["c"]), "ccc")
    for fingerprint in ("aaa", "bbb", "ccc"):
        store.save_state("p", f"teach-{fingerprint}", {"w": np.zeros(1)}, {})
    store.save_state("q", "teach-ccc", {}, {})
    removed = [path.removeprefix(f"{store.path}/") for path in store.vacuum()]
    assert removed == [
        "_states/p/teach-bbb.safetensors",
        "_states/q/teach-ccc.safetensors",
        "metrics/partition=p/bbb-00000000-00000001.parquet",
    ]


def test_reports_classes_and_releases_are_never_swept(store: Store) -> None:
    page = store.save_report("p", "night", "<p>")
    releases.publish(store, "p", None, [], {})
    store.write_shard("releases", "p", releases.FINGERPRINT, 2, 3, store.read(store.refs("releases")))
    assert store.vacuum() == []
    assert Path(page).exists()


def test_needed_files_are_those_that_delta_itself_lists(store: Store) -> None:
    for step, (partition, fingerprint) in enumerate(
        [("p", "a"), ("q", "a"), ("p", "b"), ("p", "a"), ("q", "c")]
    ):
        put(store, "metrics", partition, metrics([f"x{step}"] if fingerprint == "c" else ["x"]), fingerprint)
    store.restore("metrics", 2)
    folder = f"{store.path}/metrics"
    for version in range(store.version("metrics") + 1):  # type: ignore[operator]
        listed = {os.path.relpath(uri, folder) for uri in DeltaTable(folder, version=version).file_uris()}
        assert log.needed(folder, {version}) == listed


def test_nothing_is_removed_when_the_log_lacks_a_commit(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    delta = DeltaTable(f"{store.path}/metrics")
    delta.create_checkpoint()
    os.unlink(f"{store.path}/metrics/_delta_log/00000000000000000001.json")
    with pytest.raises(StoreError, match="lacks some commits"):
        store.vacuum()
    assert len(list(Path(store.path).glob("metrics/partition=p/*"))) == 2


def test_a_link_out_of_the_store_is_not_swept(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    put(store, "metrics", "p", metrics(["a"]))
    (Path(store.path) / "metrics/partition=q").symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of the store"):
        store.vacuum()
    assert (outside / "precious").exists()
