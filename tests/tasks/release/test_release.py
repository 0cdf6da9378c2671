"""A release as it is read. Run with: python -m pytest tests/tasks/release/test_release.py"""

from __future__ import annotations

from pathlib import Path

import pytest

import tasks.release
from storage import releases
from storage.releases import Kept
from storage.store import Store
from tasks.config import load
from tasks.errors import BadInput
from tasks.release import open_release
from tests.storage.helpers import metrics, put
from tests.tasks.release.releases import NIGHTS, released


def test_it_is_what_stood_when_it_was_published(tmp_path: Path) -> None:
    curation = load(released(tmp_path))
    assert [p.name for p in open_release(curation, 2).partitions] == list(NIGHTS[:2])
    newest = open_release(curation)
    assert (newest.number, str(newest)) == (3, "release 3 of digits")
    assert (newest.payload, newest.shape, len(newest.classes)) == ("image", (8, 8, 1), 10)


def test_a_partition_that_readers_have_from_before_is_read_from_before(tmp_path: Path) -> None:
    curation = load(released(tmp_path, nights=NIGHTS[:1]))
    store = Store(curation.store, curation.dataset)
    for number, night in enumerate(("p", "p", "q")):
        put(store, "metrics", night, metrics(["x"], float(number)), f"g{number}")
    versions = {"rows": 1, "labels": 1, "metrics": store.version("metrics") or 0}
    before = put(store, "metrics", "p", metrics(["x"], 9.0), "g9").version - 3
    kept = [Kept("metrics", "p", before), Kept("metrics", "q", None)]
    releases.publish(store, "p", None, [], versions, kept=kept)
    [ref] = open_release(curation).refs("metrics")
    assert (ref.partition, store.read(ref)["value"].to_pylist()) == ("p", [0.0])


def test_a_large_row_group_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.release, "PIECE_ROWS", 10)
    release = open_release(load(released(tmp_path, nights=NIGHTS[:1])))
    [partition] = release.partitions
    assert release.pieces(partition)[:4] == [(0, 10), (10, 16), (16, 26), (26, 32)]


def test_a_release_that_expired_is_refused(tmp_path: Path) -> None:
    curation = load(released(tmp_path))
    releases.expire(Store(curation.store, curation.dataset), {1})
    with pytest.raises(BadInput, match="release 1 of digits has expired"):
        open_release(curation, 1)


def test_before_the_first_run_there_is_nothing_to_open(tmp_path: Path) -> None:
    path = released(tmp_path, nights=())
    curation = load(path, store=str(tmp_path / "elsewhere"))
    with pytest.raises(BadInput, match="run a partition of digits first"):
        open_release(curation)
