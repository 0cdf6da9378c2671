"""What is removed, and what never is. Run with: python -m pytest tests/storage/test_vacuum.py"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from storage import releases
from storage.errors import Busy, StoreError
from storage.leases import lease
from storage.store import Store
from storage.vacuum import Keep, Needs, vacuum
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


def test_nothing_is_removed_when_the_log_lacks_a_commit(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    put(store, "metrics", "p", metrics(["b"]), "f2")
    delta = DeltaTable(f"{store.path}/metrics")
    delta.create_checkpoint()
    os.unlink(f"{store.path}/metrics/_delta_log/00000000000000000001.json")
    with pytest.raises(StoreError, match=r"1\.json is missing, so what old versions need is unknown"):
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


def test_states_that_a_needed_commit_names_stay_in_whichever_partition(store: Store) -> None:
    """Teachers of an earlier night that a later one reuses are named in the later one's commit."""
    for partition, name in [("n1", "teach-k1-fold0"), ("n1", "teach-k2-fold0"), ("n0", "teach-k1-fold0")]:
        store.save_state(partition, name, {"w": np.zeros(1)}, {})
    store.write_shard("metrics", "n9", "f1", 0, 1, metrics(["a"]))
    first = store.commit("metrics", "n9", "f1", [(0, 1)], [], {"states": ["n1/teach-k1-"]}, None)
    left = [".safetensors", "_states/n0/teach-k1-fold0", "_states/n1/teach-k2-fold0"]
    assert [path.removeprefix(f"{store.path}/") for path in store.vacuum(dry_run=True)] == [
        left[1] + left[0],
        left[2] + left[0],
    ]
    releases.publish(store, "n9", None, [], {"metrics": first.version})
    put(store, "metrics", "n9", metrics(["b"]), "f2")
    store.vacuum()
    assert store.has_state("n1", "teach-k1-fold0"), "the release needs it"
    with releases.turn(store, "a test"):
        releases.expire(store, {1})
    assert names(store.vacuum()) == ["teach-k1-fold0.safetensors", "f1-00000000-00000001.parquet"]


def test_states_that_a_restored_version_needs_stay(store: Store) -> None:
    store.save_state("n1", "teach-k1-fold0", {"w": np.zeros(1)}, {})
    store.write_shard("metrics", "n9", "f1", 0, 1, metrics(["a"]))
    first = store.commit("metrics", "n9", "f1", [(0, 1)], [], {"states": ["n1/teach-k1-"]}, None)
    put(store, "metrics", "n9", metrics(["b"]), "f2")
    store.restore("metrics", first.version)
    store.vacuum()
    assert store.has_state("n1", "teach-k1-fold0")


def five_releases(store: Store) -> None:
    """Releases 1 to 5, each of a file of its own."""
    for n in range(5):
        ref = put(store, "metrics", "p", metrics([f"m{n}"]), f"f{n + 1}")
        releases.publish(store, "p", None, [], {"metrics": ref.version})


def test_old_releases_expire_with_the_files_that_only_they_needed(store: Store) -> None:
    five_releases(store)
    keep = Keep(releases=2)
    expected = [f"f{n}-00000000-00000001.parquet" for n in (1, 2, 3)]
    assert names(vacuum(store, True, keep)) == expected
    assert not any(release.expired for release in releases.listing(store)), "that was a dry run"
    assert names(vacuum(store, False, keep)) == expected
    assert [release.number for release in releases.listing(store) if not release.expired] == [4, 5]
    assert len(releases.listing(store)) == 5, "the rows stay"
    assert vacuum(store, False, keep) == []
    five = releases.get(store, 5)
    assert store.read(store.refs("metrics", version=five.versions["metrics"]))["id"].to_pylist() == ["m4"]


def test_what_readers_get_never_expires(store: Store) -> None:
    five_releases(store)
    for _ in range(2):
        releases.publish(store, "p", None, [], releases.versions(store), "held")
    releases.rollback(store, 2)
    vacuum(store, False, Keep(releases=1))
    seen = releases.published(store)
    assert seen is not None
    assert (seen.number, seen.expired) == (8, False)
    assert names([str(path) for path in sorted(Path(store.path).glob("metrics/partition=p/*"))]) == [
        "f2-00000000-00000001.parquet",
        "f5-00000000-00000001.parquet",
    ]


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def made(number: int, days_ago: float, status: str = "published") -> releases.Release:
    return releases.Release(number, "p", NOW - timedelta(days=days_ago), None, (), status, {})


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(), set()),
        (Keep(releases=10), set()),
        (Keep(days=50), {1, 2, 3}),
        (Keep(releases=4, days=0.5), {1, 2, 3}),
        (Keep(releases=1), {1, 2, 3, 5}),
    ],
    ids=["nothing said", "fewer than are kept", "by age", "either keeps", "by number"],
)
def test_which_releases_expire(keep: Keep, expected: set[int]) -> None:
    """4 is what readers get, 6 is held and waits for a person, 3 was held and is history."""
    past = [
        made(1, 90),
        made(2, 80),
        made(3, 70, "held"),
        made(4, 60),
        made(5, 45, "held"),
        made(6, 2, "held"),
    ]
    assert keep.expiring([*past, made(7, 1, "held")], past[3], NOW) == expected


def test_a_release_that_a_publisher_is_about_to_make_does_not_lose_its_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for its turn while vacuum removes, and is told to look again."""
    put(store, "metrics", "p", metrics(["a"]))
    looked = releases.versions(store)
    put(store, "metrics", "p", metrics(["b"]), "f2")
    monkeypatch.setattr(releases, "WAIT_SECONDS", 0.0)
    real = Needs.unneeded

    def meanwhile(self: Needs, *arguments: Any) -> dict[str, list[str]]:
        if len(arguments) == 2:
            with pytest.raises(Busy, match="vacuum"):
                releases.publish(store, "p", None, [], looked)
        return real(self, *arguments)

    monkeypatch.setattr(Needs, "unneeded", meanwhile)
    assert names(store.vacuum()) == ["f1-00000000-00000001.parquet"]
    with pytest.raises(StoreError, match="run the partition again"):
        releases.publish(store, "p", None, [], looked)


def test_what_a_release_keeps_of_another_version_stays(store: Store) -> None:
    good = put(store, "metrics", "p", metrics(["good"]))
    put(store, "metrics", "p", metrics(["between"]), "f2")
    bad = put(store, "metrics", "p", metrics(["bad"]), "f3")
    kept = [releases.Kept("metrics", "p", good.version)]
    releases.publish(store, "p", None, [], {"metrics": bad.version}, kept=kept)
    assert names(store.vacuum()) == ["f2-00000000-00000001.parquet"]
    assert store.read(good)["id"].to_pylist() == ["good"]
