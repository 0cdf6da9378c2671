"""Merged files hold what the small ones held. Run with: python -m pytest tests/storage/test_compact.py"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage import compact, releases
from storage.errors import StoreError
from storage.leases import lease
from storage.releases import Release
from storage.store import Store, TableRef
from tests.storage.helpers import NAMES, metrics, put, shards

SPANS = [(0, 3), (3, 5), (5, 5), (5, 10)]
PARENT = {"table": "rows", "partition": "p", "version": 1, "rows": 10, "fingerprint": "x", "content": "y"}


def dealt(store: Store, partition: str = "p") -> TableRef:
    """A partition of ten rows in four files."""
    shards(store, partition, "f1", *SPANS)
    base = store.version("metrics")
    return store.commit("metrics", partition, "f1", SPANS, [PARENT], {"seconds": 2.0}, base)


def visible(store: Store) -> Release:
    found = releases.published(store)
    assert found is not None
    return found


def test_many_files_become_one_that_holds_the_same(store: Store) -> None:
    before = dealt(store)
    assert compact.compact(store, dry_run=False) == [compact.Merge("metrics", "p", 4, 1)]
    after = store.ref("metrics", "p")
    assert after is not None
    assert (after.content, after.fingerprint, after.rows) == (before.content, before.fingerprint, before.rows)
    assert store.shards(after) == [(0, 10, 10)]
    assert store.read(after)["id"].to_pylist() == NAMES
    assert store.read(before)["id"].to_pylist() == NAMES, "the old version still reads its own files"
    assert store.info(after) == {"seconds": 2.0, "merged": 4}
    assert json.loads(store.history("metrics", 1)[0]["parents"]) == [PARENT]
    assert compact.compact(store, dry_run=False) == []


def test_a_dry_run_only_says_what_would_be_merged(store: Store) -> None:
    dealt(store)
    version = store.version("metrics")
    assert compact.compact(store, dry_run=True) == [compact.Merge("metrics", "p", 4, 1)]
    assert store.version("metrics") == version


def test_the_merged_file_is_the_one_that_a_single_shard_would_have_been(store: Store) -> None:
    dealt(store)
    compact.compact(store, dry_run=False)
    whole = put(store, "metrics", "q", metrics(NAMES))
    [merged], [alone] = (store.file_uris("metrics", partitions=[p]) for p in "pq")
    assert Path(merged).read_bytes() == Path(alone).read_bytes()
    assert whole.content == store.refs("metrics")[0].content


def test_files_are_merged_up_to_a_size_and_no_further(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = dealt(store)
    sizes = [Path(uri).stat().st_size for uri in store.file_uris("metrics")]
    monkeypatch.setattr(compact, "TARGET_BYTES", sum(sizes[:2]))
    compact.compact(store, dry_run=False)
    merged = store.ref("metrics", "p")
    assert merged is not None
    assert [span[:2] for span in store.shards(merged)] == [(0, 5), (5, 10)]
    assert merged.content == ref.content
    assert store.read(merged)["id"].to_pylist() == NAMES


def test_a_run_that_deals_the_partition_again_finds_its_shards_or_writes_them(store: Store) -> None:
    dealt(store)
    compact.compact(store, dry_run=False)
    assert store.has_shard("metrics", "p", "f1", 0, 3), "small files stay until vacuum"
    assert len(store.vacuum()) == 4
    assert not store.has_shard("metrics", "p", "f1", 0, 3)
    shards(store, "p", "f1", *SPANS)
    again = store.commit("metrics", "p", "f1", SPANS, [], {}, store.version("metrics"))
    assert len(store.shards(again)) == 4
    assert store.read(again)["id"].to_pylist() == NAMES


def test_readers_get_the_merged_files_by_a_release_that_holds_the_same(store: Store) -> None:
    first = dealt(store)
    releases.publish(store, "p", "run", [], {"metrics": first.version})
    compact.compact(store, dry_run=False)
    seen = visible(store)
    assert (seen.number, seen.status, seen.note) == (2, "published", "release 1 with its files merged")
    assert seen.versions == releases.versions(store)
    standing = releases.standing(store)
    assert standing is not None
    assert standing.number == 2


def test_a_night_that_readers_do_not_have_yet_is_not_given_to_them_by_merging(store: Store) -> None:
    first = dealt(store)
    releases.publish(store, "p", None, [], {"metrics": first.version})
    dealt(store, "q")
    releases.publish(store, "q", None, [], releases.versions(store), "held")
    compact.compact(store, dry_run=False)
    assert visible(store).versions == {"metrics": first.version}
    standing = releases.standing(store)
    assert standing is not None, "merging is no news to the release that holds the tables as they stand"
    assert (standing.number, standing.status) == (2, "held")


def test_what_changed_after_the_commit_is_not_made_good(store: Store) -> None:
    dealt(store)
    path = store.file_uris("metrics")[0]
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(StoreError, match="do not hold what was committed"):
        compact.compact(store, dry_run=False)
    assert not store.has_shard("metrics", "p", "f1", 0, 10), "nor is it left where a run could find it"


def test_a_partition_that_somebody_works_on_is_left(store: Store) -> None:
    dealt(store)
    dealt(store, "q")
    with lease(store, "p", 0, "a run"):
        assert [merged.partition for merged in compact.compact(store, dry_run=False)] == ["q"]


def test_delta_is_told_that_nothing_changed(store: Store) -> None:
    dealt(store)
    compact.compact(store, dry_run=False)
    log = Path(store.path) / f"metrics/_delta_log/{store.version('metrics'):020d}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    changes = [a[kind]["dataChange"] for a in actions for kind in ("add", "remove") if kind in a]
    assert changes == [False] * 5
    assert DeltaTable(f"{store.path}/metrics").to_pyarrow_table().num_rows == 10
