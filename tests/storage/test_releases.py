"""Releases. Run with: python -m pytest tests/storage/test_releases.py"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pytest

from storage import classes, query, releases
from storage.errors import StoreError
from storage.releases import Kept
from storage.store import Store
from storage.tables import TABLES, file_schema
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


FAILED = [{"name": "accuracy", "value": 0.5, "bound": "≥ 0.977", "passed": False}]


def test_a_person_approves_a_held_release_and_the_failed_checks_stay_visible(store: Store) -> None:
    releases.publish(store, "p", "run-1", CHECKS, {"rows": 1})
    releases.publish(store, "q", "run-2", FAILED, {"rows": 2}, "held")
    assert releases.approve(store, 2, "a new camera, checked by hand", "mia") == 3
    newest = releases.published(store)
    assert newest is not None
    assert (newest.number, newest.status, newest.partition) == (3, "published", "q")
    assert (newest.versions, list(newest.checks)) == ({"rows": 2}, FAILED)
    assert newest.note == "release 2 approved by mia: a new camera, checked by hand"
    assert releases.get(store, 2).status == "held"


def test_only_what_is_held_and_still_news_can_be_approved(store: Store) -> None:
    releases.publish(store, "p", None, [], {"rows": 1})
    releases.publish(store, "q", None, FAILED, {"rows": 2}, "held")
    releases.publish(store, "r", None, FAILED, {"rows": 3}, "held")
    with pytest.raises(StoreError, match="release 1 of digits is not held, but published"):
        releases.approve(store, 1, "why not", "mia")
    with pytest.raises(StoreError, match="needs a person and a reason"):
        releases.approve(store, 2, " ", "mia")
    assert releases.approve(store, 2, "fine", "mia") == 4
    assert releases.approve(store, 3, "fine too", "mia") == 5, "release 4 holds less than release 3"
    with pytest.raises(StoreError, match="release 5 of digits already gave readers all that release 2 holds"):
        releases.approve(store, 2, "again", "mia")


def test_standing_finds_the_release_of_the_tables_as_they_are(store: Store) -> None:
    assert releases.standing(store) is None
    for n in range(40):
        put(store, "metrics", "p", metrics([f"m{n}"]), f"f{n}")
        releases.publish(store, "p", None, [], releases.versions(store), "held" if n % 2 else "published")
    newest = releases.standing(store)
    assert newest is not None
    assert newest.number == 40
    for _ in range(20):
        releases.rollback(store, 1)
    again = releases.standing(store)
    assert again is not None, "what people chose proves nothing of the releases before it"
    assert again.number == 40
    put(store, "metrics", "p", metrics(["news"]), "news")
    assert releases.standing(store) is None


def test_standing_reads_a_few_of_many_releases(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    for _ in range(60):
        releases.publish(store, "p", None, [], {"metrics": 0})
    read: list[str] = []
    real = releases._read

    def counted(store: Store, paths: list[str]) -> list[releases.Release]:
        read.extend(paths)
        return real(store, paths)

    monkeypatch.setattr(releases, "_read", counted)
    assert releases.standing(store) is None
    assert len(read) < 40
    read.clear()
    assert releases.published(store) is not None
    assert len(read) == 1


def test_releases_are_read_newest_first_and_all_of_them(store: Store) -> None:
    for _ in range(9):
        releases.publish(store, "p", None, [], {"rows": 1})
    assert [release.number for release in releases.newest(store)] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert list(releases.newest(store))[::-1] == releases.listing(store)


def test_an_expired_release_is_told_of_and_cannot_be_read(store: Store) -> None:
    for _ in range(3):
        releases.publish(store, "p", None, [], {"rows": 1})
    with releases.turn(store, "a test"):
        releases.expire(store, {1})
        releases.expire(store, {3})
    assert [(r.number, r.expired, r.readable) for r in releases.listing(store)] == [
        (1, True, False),
        (2, False, True),
        (3, True, False),
    ]
    newest = releases.published(store)
    assert newest is not None
    assert newest.number == 2
    for use in (releases.get, releases.rollback):
        with pytest.raises(StoreError, match="release 1 of digits has expired"):
            use(store, 1)


def test_what_was_removed_since_the_publisher_looked_is_not_published(store: Store) -> None:
    first = put(store, "metrics", "p", metrics(["a"]))
    looked = releases.versions(store)
    put(store, "metrics", "p", metrics(["b"]), "f2")
    assert releases.publish(store, "p", None, [], looked) == 1, "an older version that is whole is no problem"
    with releases.turn(store, "a test"):
        releases.expire(store, {1})
    store.vacuum()
    with pytest.raises(StoreError, match="was removed while metrics of digits changed"):
        releases.publish(store, "p", None, [], {"metrics": first.version})


def as_older_winnow_wrote_it(store: Store) -> None:
    """Makes `releases` what it was before releases had a note: files, schema and content hashes."""
    path = Path(store.path) / "releases"
    shutil.rmtree(path)
    with pytest.MonkeyPatch.context() as patch:
        old = pa.schema([field for field in TABLES["releases"] if field.name not in ("note", "kept")])
        patch.setitem(TABLES, "releases", old)
        row = {
            "id": "1",
            "release": 1,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "flow_run": None,
            "checks": [],
            "status": "published",
            "versions": sorted(releases.versions(store).items()),
        }
        data = pa.Table.from_pylist([row], schema=file_schema("releases"))
        store.write_shard("releases", "p", releases.FINGERPRINT, 1, 2, data)
        store.commit("releases", "p", releases.FINGERPRINT, [(1, 2)], [], {}, None)


def test_releases_from_before_there_were_notes_are_read_and_added_to(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    releases.publish(store, "p", None, [], {})
    as_older_winnow_wrote_it(store)
    fresh = Store(store.root, "digits")
    assert [(release.number, release.note) for release in releases.listing(fresh)] == [(1, None)]
    with query.connect(fresh) as connection:
        assert query.select(connection, "SELECT release, note FROM releases").to_pylist() == [
            {"release": 1, "note": None}
        ]
    for partition in "pq":
        releases.publish(fresh, partition, None, FAILED, {"metrics": 1}, "held")
    assert releases.approve(fresh, 2, "fine", "mia") == 4
    notes = [None, None, None, "release 2 approved by mia: fine"]
    assert [release.note for release in releases.listing(fresh)] == notes
    with query.connect(fresh) as connection:
        found = query.select(connection, "SELECT note FROM releases ORDER BY release")
    assert found["note"].to_pylist() == notes
    elsewhere = pl.scan_delta(f"{fresh.path}/releases").sort("release").collect()
    assert elsewhere["note"].to_list() == notes, "a reader that is not ours"


def test_a_kept_partition_is_read_as_it_was_and_a_refused_one_not_at_all(store: Store) -> None:
    for partition in "pqr":
        last = put(store, "metrics", partition, metrics([f"good {partition}"]))
    releases.publish(store, "p", None, [], {"metrics": last.version})
    put(store, "metrics", "p", metrics(["bad p"]), "f2")
    bad = put(store, "metrics", "r", metrics(["bad r"]), "f2")
    kept = (Kept("metrics", "p", last.version), Kept("metrics", "r", None), Kept("rows", "q", None))
    releases.publish(store, "p", None, [], {"metrics": bad.version}, kept=kept)
    assert releases.get(store, 2).kept == kept
    assert named(store) == ["good p", "good q"]
    assert named(store, 1) == ["good p", "good q", "good r"]
    assert named(store, "live") == ["bad p", "bad r", "good q"]


def named(store: Store, release: int | Literal["live"] | None = None) -> list[str]:
    with query.connect(store, release) as connection:
        found = query.select(connection, "SELECT name FROM metrics ORDER BY name")["name"].to_pylist()
    return [str(name) for name in found]


def test_what_is_kept_stays_so_when_a_release_is_gone_back_to_and_when_files_are_swept(store: Store) -> None:
    good = put(store, "metrics", "p", metrics(["good"]))
    bad = put(store, "metrics", "p", metrics(["bad"]), "f2")
    kept = (Kept("metrics", "p", good.version),)
    first = releases.publish(store, "p", None, [], {"metrics": bad.version}, kept=kept)
    put(store, "metrics", "p", metrics(["new"]), "f3")
    store.vacuum()
    number = releases.rollback(store, first)
    assert releases.get(store, number).kept == kept
    assert named(store) == ["good"]


def test_what_was_held_with_something_kept_is_approved_with_it(store: Store) -> None:
    good = put(store, "metrics", "p", metrics(["good"]))
    bad = put(store, "metrics", "p", metrics(["bad"]), "f2")
    kept = (Kept("metrics", "p", good.version),)
    held = releases.publish(store, "p", None, [], {"metrics": bad.version}, releases.HELD, kept)
    number = releases.approve(store, held, "it is a holiday", "ann")
    assert releases.get(store, number).kept == kept
    assert named(store) == ["good"]
