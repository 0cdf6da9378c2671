"""Releases. Run with: python -m pytest tests/storage/test_releases.py"""

from __future__ import annotations

import time

import pytest

from storage import classes, releases
from storage.errors import StoreError
from storage.store import Store
from tests.storage.helpers import at_once, labels, metrics, put, python, rows

CHECKS = [{"name": "accuracy", "value": 0.98, "bound": "≥ 0.977", "passed": True}]


def test_a_release_keeps_what_was_published(store: Store) -> None:
    assert releases.published(store) is None
    assert releases.listing(store) == []
    assert releases.publish(store, "p", "run-1", CHECKS, {"rows": 3, "labels": 7}) == 1
    newest = releases.published(store)
    assert newest is not None
    assert newest == releases.get(store, 1)
    assert (newest.number, newest.partition, newest.flow_run, newest.status) == (1, "p", "run-1", "published")
    assert newest.versions == {"rows": 3, "labels": 7}
    assert list(newest.checks) == CHECKS


def test_numbers_go_up_over_partitions_and_none_is_lost(store: Store) -> None:
    made = [releases.publish(store, partition, None, [], {"rows": n}) for n, partition in enumerate("pqpp")]
    assert made == [1, 2, 3, 4]
    assert [(r.number, r.partition, r.versions["rows"]) for r in releases.listing(store)] == [
        (1, "p", 0),
        (2, "q", 1),
        (3, "p", 2),
        (4, "p", 3),
    ]


def test_a_held_release_is_kept_and_not_given_to_readers(store: Store) -> None:
    releases.publish(store, "p", None, [], {"rows": 1})
    assert releases.publish(store, "p", None, [], {"rows": 2}, "held") == 2
    newest = releases.published(store)
    assert newest is not None
    assert newest.number == 1
    assert not releases.get(store, 2).readable
    with pytest.raises(StoreError, match="release 2 of digits was held back by its gates"):
        releases.rollback(store, 2)


def test_only_held_releases_is_as_good_as_none(store: Store) -> None:
    releases.publish(store, "p", None, [], {"rows": 1}, "held")
    assert releases.published(store) is None


def test_rollback_publishes_old_versions_under_a_new_number_and_rewrites_nothing(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    releases.publish(store, "p", None, CHECKS, {"metrics": first.version})
    second = put(store, "metrics", "p", metrics(["b"]), "f2")
    releases.publish(store, "p", None, [], {"metrics": second.version})
    began = time.monotonic()
    assert releases.rollback(store, 1, "by hand") == 3
    assert time.monotonic() - began < 2
    newest = releases.published(store)
    assert newest is not None
    assert (newest.status, newest.versions) == ("rolled_back_to_1", {"metrics": first.version})
    assert store.version("metrics") == second.version


def test_a_number_or_status_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no release 1; nothing was published yet"):
        releases.get(store, 1)
    releases.publish(store, "p", None, [], {})
    with pytest.raises(StoreError, match="no release 7; the newest is 1"):
        releases.rollback(store, 7)
    with pytest.raises(StoreError, match="'public' is no status"):
        releases.publish(store, "p", None, [], {}, "public")


PUBLISHER = """
import sys
from storage import releases
from storage.store import Store
store = Store(sys.argv[1], "digits")
print("ready", flush=True)
sys.stdin.readline()
print(*[releases.publish(store, sys.argv[2], None, [], {"rows": n}) for n in range(6)])
"""


def test_processes_that_publish_at_once_get_numbers_of_their_own(store: Store) -> None:
    answers = at_once([python(PUBLISHER, store.root, partition) for partition in "ppq"])
    numbers = [int(number) for answer in answers for number in answer.split()]
    assert len(set(numbers)) == 18
    assert sorted(numbers) == [release.number for release in releases.listing(store)]


def test_a_publisher_that_died_before_its_commit_costs_a_number_at_most(store: Store) -> None:
    releases.publish(store, "p", None, [], {})
    store.write_shard("releases", "p", releases.FINGERPRINT, 2, 3, store.read(store.refs("releases")))
    assert releases.publish(store, "p", None, [], {}) == 3
    assert [release.number for release in releases.listing(store)] == [1, 3]


def test_diff_counts_rows_and_labels_by_class_with_examples(store: Store) -> None:
    classes.extend(store, ["cat", "dog"])
    put(store, "rows", "same", rows(["z"], [0]))
    put(store, "labels", "same", labels(["z"], [0], [0]))

    def night(ids: list[str], given: list[int], decided: list[int | None], fingerprint: str) -> int:
        r = put(store, "rows", "p", rows(ids, list(given)), fingerprint)
        d = put(store, "labels", "p", labels(ids, given, decided), fingerprint)
        return releases.publish(store, "p", None, [], {"rows": r.version, "labels": d.version})

    night(["a", "b", "c"], [0, 0, 1], [0, 0, 1], "f1")
    night(["a", "b", "d", "e"], [0, 0, 1, 1], [1, None, 1, 1], "f2")
    assert releases.diff(store, 1, 2).to_pylist() == [
        {"change": "added", "before": None, "after": "dog", "rows": 2, "examples": ["d", "e"]},
        {"change": "label", "before": "cat", "after": "dog", "rows": 1, "examples": ["a"]},
        {"change": "label", "before": "cat", "after": None, "rows": 1, "examples": ["b"]},
        {"change": "removed", "before": "dog", "after": None, "rows": 1, "examples": ["c"]},
    ]
    assert releases.diff(store, 2, 2).num_rows == 0
    assert releases.diff(store, 2, 1)["rows"].to_pylist() == [1, 1, 1, 2]


def test_diff_of_releases_without_tables_is_empty(store: Store) -> None:
    releases.publish(store, "p", None, [], {})
    assert releases.diff(store, 1, 1).num_rows == 0
