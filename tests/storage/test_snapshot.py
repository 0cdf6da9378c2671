"""One look at a store: windows, their rows and their digests.

Run: pytest tests/storage/test_snapshot.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.snapshot import Lineup, Snapshot
from storage.store import Store, TableRef
from tests.storage.helpers import metrics, put


def ref(partition: str, content: str = "c", rows: int = 1, table: str = "rows") -> TableRef:
    return TableRef(table, partition, 3, rows, "f", content)


def lineup(*refs: TableRef) -> Lineup:
    return Lineup({"rows": {one.partition: one for one in refs}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "d").open(create=True)


def test_a_window_ends_with_its_partition_and_holds_the_last_that_are_asked_for() -> None:
    three = lineup(ref("a", rows=1), ref("b", rows=2), ref("c", rows=4))
    assert three.up_to("b")["rows"].partitions == ["a", "b"]
    assert three.up_to("c", last=2)["rows"].partitions == ["b", "c"]
    assert three.up_to("c", last=2)["rows"].rows == 6
    assert three.before("c", last=1)["rows"].partitions == ["b"]
    assert three.before("a")["rows"].partitions == []
    assert three.before("a")["rows"].digest == f"{0:032x}"


def test_a_window_may_be_named_by_its_ends_whether_or_not_they_are_there() -> None:
    some = lineup(ref("b"), ref("c"), ref("e"))
    assert some.between("b", "c")["rows"].partitions == ["b", "c"]
    assert some.between("a", "d")["rows"].partitions == ["b", "c"]
    assert some.between("d", "d")["rows"].partitions == []
    assert some.between("c", "e")["rows"].first == "c"


def test_only_partitions_that_every_table_has_are_lined_up() -> None:
    both = Lineup({"rows": {p: ref(p) for p in "abc"}, "labels": {p: ref(p, table="labels") for p in "acd"}})
    windows = both.up_to("c")
    assert windows["rows"].partitions == windows["labels"].partitions == ["a", "c"]
    assert [one.table for one in windows["labels"].refs] == ["labels", "labels"]


names = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=12, unique=True)


@given(names, st.data())
def test_a_digest_depends_on_the_members_alone(partitions: list[str], data: st.DataObject) -> None:
    """The window of a long line-up equals that of a line-up of its members alone."""
    whole = lineup(*(ref(name, content=name * 2) for name in sorted(partitions)))
    start = data.draw(st.integers(0, len(partitions)))
    stop = data.draw(st.integers(start, len(partitions)))
    part = sorted(partitions)[start:stop]
    alone = lineup(*(ref(name, content=name * 2) for name in part))
    assert whole.run(start, stop)["rows"].digest == alone.run(0, len(part))["rows"].digest


@given(names)
def test_another_content_or_another_name_is_another_digest(partitions: list[str]) -> None:
    def digest(*refs: TableRef) -> str:
        return lineup(*refs).run(0, len(refs))["rows"].digest

    ordered = sorted(partitions)
    same = [ref(name) for name in ordered]
    assert digest(*same) != digest(*same[:-1], ref(ordered[-1], content="other"))
    assert digest(*same) != digest(*same[:-1], ref(ordered[-1] + "g"))
    assert digest(*same) != digest(*same[:-1])


def test_a_store_is_read_once_however_often_it_is_asked(store: Store) -> None:
    put(store, "metrics", "p", metrics(["a"]))
    snapshot = Snapshot(store)
    before = snapshot.own("metrics", "p")
    put(store, "metrics", "q", metrics(["b"]))
    assert snapshot.own("metrics", "q") is None
    assert before is not None
    assert (before.rows, before.partitions) == (1, ["p"])
    assert Snapshot(store).own("metrics", "q") is not None


def test_what_is_handed_over_takes_the_place_of_what_the_log_says(store: Store) -> None:
    old = put(store, "metrics", "p", metrics(["a"]))
    new = TableRef("metrics", "p", old.version + 1, 7, "f2", "other")
    assert Snapshot(store, [new]).ref("metrics", "p") == new
    assert list(Snapshot(store, [TableRef("metrics", "o", 1, 7, "f2", "x")]).refs("metrics")) == ["o", "p"]


def test_a_commit_notes_a_partition_in_full_and_a_window_by_its_extent() -> None:
    two = lineup(ref("a", rows=5), ref("b", content="d", rows=2))
    [one] = two.up_to("b", last=1)["rows"].summary
    assert (one["partition"], one["content"], "window" in one) == ("b", "d", False)
    [window] = two.up_to("b")["rows"].summary
    assert (window["partition"], window["content"]) == ("b", "d")
    assert window["window"] == {
        "from": "a",
        "partitions": 2,
        "rows": 7,
        "digest": two.up_to("b")["rows"].digest,
    }
    assert two.before("a")["rows"].summary == []
