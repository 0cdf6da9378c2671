"""What each version of a table listed. Run with: python -m pytest tests/storage/test_history.py"""

from __future__ import annotations

import os

import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreError
from storage.history import History
from storage.store import Store
from tests.storage.helpers import metrics, put


def some_commits(store: Store) -> None:
    steps = [("p", "a"), ("q", "a"), ("p", "b"), ("p", "a"), ("q", "c")]
    for step, (partition, fingerprint) in enumerate(steps):
        put(store, "metrics", partition, metrics([f"x{step}"] if fingerprint == "c" else ["x"]), fingerprint)
    store.restore("metrics", 2)
    put(store, "metrics", "p", metrics([]), "d")


def test_it_lists_for_every_version_what_delta_lists(store: Store) -> None:
    some_commits(store)
    history = History(store, "metrics")
    folder = f"{store.path}/metrics"
    for version in range(history.version + 1):
        listed = {os.path.relpath(uri, folder) for uri in DeltaTable(folder, version=version).file_uris()}
        assert {life.path for life in history.needed([version])} == listed
    assert {life.path for life in history.newest()} == listed
    assert [life.partition for life in history.newest("q")] == ["q"]


@given(versions=st.sets(st.integers(0, 12)), since=st.integers(0, 12), length=st.integers(1, 12) | st.none())
def test_a_life_is_needed_by_the_versions_within_it(
    versions: set[int], since: int, length: int | None
) -> None:
    from storage.history import Life

    until = None if length is None else since + length
    life = Life("partition=p/f-00000000-00000001.parquet", 1, 1, "p", "c", since, until, {})
    expected = [v for v in sorted(versions) if v >= since and (until is None or v < until)]
    assert life.needed(sorted(versions)) == expected


def test_it_goes_on_from_where_it_was(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    history = History(store, "metrics")
    assert history.version == 1
    put(store, "metrics", "p", metrics(["b"]), "f2")
    history.refresh()
    assert (history.version, [life.fingerprint for life in history.newest()]) == (2, ["f2"])
    assert {(life.fingerprint, life.since, life.until) for life in history.all()} == {
        ("f1", 1, 2),
        ("f2", 2, None),
    }
    history.refresh()
    assert len(history.all()) == 2


def test_what_was_noted_is_found_again_after_a_restore(store: Store) -> None:
    some_commits(store)
    lives = History(store, "metrics").newest()
    assert all("fingerprint" in life.noted for life in lives)


def test_a_table_that_does_not_exist_has_no_history(store: Store) -> None:
    history = History(store, "issues")
    assert (history.version, history.all(), history.lost, history.damaged) == (-1, [], [], [])


def test_missing_and_damaged_commits_are_told_apart(store: Store) -> None:
    some_commits(store)
    log = f"{store.path}/metrics/_delta_log"
    os.unlink(f"{log}/{2:020d}.json")
    with open(f"{log}/{4:020d}.json", "w") as file:
        file.write("{")
    history = History(store, "metrics")
    assert (history.lost, history.damaged) == ([f"{log}/{2:020d}.json"], [f"{log}/{4:020d}.json"])
    with pytest.raises(StoreError, match=r"2\.json is missing, so what old versions need is unknown"):
        history.whole()
