"""Gates where releases are made. Run: python -m pytest tests/flows/test_gates.py"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage import query, releases
from storage.store import Store
from tasks.config import load
from tasks.errors import StageFailed
from tests.storage.helpers import put

pytestmark = pytest.mark.slow

Digits = Callable[..., Path]
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
SMALL: dict[str, Any] = {
    "detect": None,
    "relabel": None,
    "reinforce": None,
    "distill": None,
    "teach": None,
    "window": "partition",
    "report": {"seeds": 1, "steps": 1},
}
"""Ingest and report alone: all that gates need."""


@pytest.fixture
def curate(prefect_api: str, tmp_path: Path, digits_yaml: Digits) -> Callable[..., Store]:
    """`curate(night, *gates)`: curate one night of digits under these gates; the store."""

    def run(night: str, *gates: dict[str, Any], **changes: Any) -> Store:
        from flows.curate import curate as flow
        from flows.engine import task_runner

        curation = load(digits_yaml(tmp_path, **SMALL | {"gates": list(gates)} | changes))
        flow.with_options(task_runner=task_runner(curation))(curation, night)
        return Store(curation.store, curation.dataset)

    return run


def statuses(store: Store) -> list[str]:
    return [release.status for release in releases.listing(store)]


def store_in(folder: Path) -> Store:
    return Store(str(folder / "store"), "digits")


def test_gates_that_change_run_no_stage_again_and_a_release_stands(curate: Callable[..., Store]) -> None:
    store = curate(DAYS[0])
    before = {table: store.version(table) for table in ("rows", "rejects", "metrics", "releases")}
    curate(DAYS[0], {"metric": "rows", "at_most": 1}, {"kind": "standard"})
    assert {table: store.version(table) for table in before} == before


def test_what_was_held_is_judged_by_the_gates_of_the_day_without_being_made_again(
    curate: Callable[..., Store], tmp_path: Path
) -> None:
    gate = {"metric": "rows", "at_most": 1}
    for _ in range(2):  # told once: the second run finds it held for the same reason
        with pytest.raises(StageFailed, match=r"release 1 of .* is held: rows is 4\d\d, must be at most 1;"):
            curate(DAYS[0], gate)
    store = store_in(tmp_path)
    version = store.version("metrics")
    with pytest.raises(StageFailed, match=r"release 2 of .* must be at most 2;"):
        curate(DAYS[0], gate | {"at_most": 2})
    curate(DAYS[0], gate | {"at_most": 1000})
    assert statuses(store) == ["held", "held", "published"]
    assert store.version("metrics") == version


def test_a_waiver_publishes_what_failed_and_the_release_says_why(curate: Callable[..., Store]) -> None:
    until = datetime.now(UTC).date() + timedelta(days=2)
    gate = {"metric": "rows", "at_most": 1, "waived": {"until": until, "why": "a | known\nfault"}}
    store = curate(DAYS[0], gate)
    [release] = releases.listing(store)
    assert release.status == "published"
    [check] = release.checks
    assert not check["passed"]
    assert check["bound"] == f"at most 1; waived until {until}: a | known\nfault"


def test_a_waiver_that_expired_holds_again(curate: Callable[..., Store], tmp_path: Path) -> None:
    gate = {"metric": "rows", "at_most": 1, "waived": {"until": date(2026, 1, 1), "why": "a known fault"}}
    if datetime.now(UTC).date() < date(2026, 1, 1):
        pytest.skip("the clock of this machine is set before the waiver expires")
    with pytest.raises(StageFailed, match="must be at most 1; look at it"):
        curate(DAYS[0], gate)
    assert statuses(store_in(tmp_path)) == ["held"]


def test_a_metric_is_compared_with_the_last_release(curate: Callable[..., Store], tmp_path: Path) -> None:
    gate = {"metric": "share_rejected", "at_most_above_last": 0.1}
    store = curate(DAYS[0], gate)
    assert releases.listing(store)[0].checks[0]["bound"].endswith("(not judged: no release has it)")
    curate(DAYS[1], gate)
    assert releases.listing(store)[1].checks[0]["bound"] == "at most 0.1 above the last release (0)"
    fewer = {"ingest": {"filters": [{"kind": "where", "allow": "position % 2 = 0"}]}}
    with pytest.raises(
        StageFailed, match=r"share_rejected is 0\.\d+, must be at most 0.1 above the last rel"
    ):
        curate(DAYS[2], gate, **fewer)
    assert statuses(store) == ["published", "published", "held"]


def test_a_metric_is_compared_with_its_history_by_name(curate: Callable[..., Store]) -> None:
    gate = {"metric": "rows", "z_within": 5, "min_history": 3}
    for night in DAYS[:3]:
        store = curate(night, gate)
    assert releases.listing(store)[2].checks[0]["bound"] == (
        "z within 5 (not judged: 2 of 3 earlier partitions)"
    )
    fewer = {"ingest": {"filters": [{"kind": "where", "allow": "position % 2 = 0"}]}}
    with pytest.raises(StageFailed, match=r"rows is 2\d\d, must be z within 5 \(is -10.0: usually 449"):
        curate(DAYS[3], gate, **fewer)


def test_nights_are_compared_with_those_before_them_and_the_first_with_none(
    curate: Callable[..., Store],
) -> None:
    curate(DAYS[0], {"kind": "standard"}, window="all")
    store = curate(DAYS[1], {"kind": "standard"}, window="all")
    assert statuses(store) == ["published", "published"]
    first, second = (set(store.read(ref, ["name"])["name"].to_pylist()) for ref in store.refs("metrics"))
    assert second - first == {
        "share_repeated", "share_leaked", "class_shift", "class_jump", "new_classes", "drift_accuracy",
        "drift_z", "embedding_drift", "label_agreement", "label_shift", "label_swap",
    }  # fmt: skip


def test_a_night_that_arrives_twice_is_held(curate: Callable[..., Store], tmp_path: Path) -> None:
    import numpy as np

    images = np.random.Generator(np.random.PCG64(0)).integers(0, 255, (60, 8, 8, 1), np.uint8)
    (tmp_path / "in").mkdir()
    for night in DAYS[:2]:
        np.savez(tmp_path / f"in/{night}.npz", image=images, label=np.arange(60) % 3)
    source = {
        "kind": "numpy",
        "path": "in/{partition}.npz",
        "image": "image",
        "label": "label",
        "image_shape": [8, 8, 1],
    }
    curate(DAYS[0], {"kind": "standard"}, source=source, ingest=None, window=2)
    with pytest.raises(StageFailed, match=r"share_repeated is 1, must be at most 0.5"):
        curate(DAYS[1], {"kind": "standard"}, source=source, ingest=None, window=2)


GOOD, BAD = ({"metric": "rows", "at_most": most, "keeps": "distilled"} for most in (1000, 1))


def arrives(store: Store, night: str, name: str, fingerprint: str = "f1") -> None:
    """A distilled set of one example."""
    example = {"id": [name], "distiller": ["random"], "label": [0], "origins": [["a"]]}
    put(store, "distilled", night, example, fingerprint)


def seen(store: Store) -> list[str]:
    with query.connect(store) as connection:
        found = query.select(connection, "SELECT id FROM distilled ORDER BY partition")["id"].to_pylist()
    return [str(name) for name in found]


def test_a_refused_set_leaves_the_last_good_one_and_does_not_hold_the_night_back(
    curate: Callable[..., Store], tmp_path: Path
) -> None:
    store = store_in(tmp_path).open(create=True)
    arrives(store, DAYS[0], "first")
    curate(DAYS[0], GOOD)
    arrives(store, DAYS[1], "second")
    curate(DAYS[1], BAD)
    release = releases.listing(store)[-1]
    assert release.status == "published"
    [check] = release.checks
    assert not check["passed"]
    assert check["bound"] == "at most 1; distilled stays as it was in the partitions before"
    assert seen(store) == ["first"]
    with query.connect(store) as connection:
        rows = query.select(connection, "SELECT count(DISTINCT partition) AS n FROM rows")
    assert rows["n"].to_pylist() == [2]  # all else of the night is there

    arrives(store, DAYS[2], "third")
    curate(DAYS[2], GOOD)
    assert seen(store) == ["first", "third"]  # the refused one did not come along

    made = len(releases.listing(store))
    curate(DAYS[1], BAD)
    assert len(releases.listing(store)) == made  # refused as before, and told once
    curate(DAYS[1], GOOD)
    assert seen(store) == ["first", "second", "third"]


def test_a_night_done_again_that_is_refused_keeps_its_own_good_set(
    curate: Callable[..., Store], tmp_path: Path
) -> None:
    store = store_in(tmp_path).open(create=True)
    arrives(store, DAYS[0], "good")
    curate(DAYS[0], GOOD)
    for number in (2, 3):
        arrives(store, DAYS[0], f"bad {number}", f"f{number}")
        curate(DAYS[0], BAD)
        assert seen(store) == ["good"]
    assert releases.listing(store)[-1].checks[0]["bound"] == "at most 1; distilled stays as it was"
    arrives(store, DAYS[0], "better", "f4")
    curate(DAYS[0], GOOD)
    assert seen(store) == ["better"]


def test_a_waiver_publishes_a_set_that_was_refused(curate: Callable[..., Store], tmp_path: Path) -> None:
    store = store_in(tmp_path).open(create=True)
    arrives(store, DAYS[0], "bad")
    curate(DAYS[0], BAD)
    assert seen(store) == []
    until = datetime.now(UTC).date() + timedelta(days=2)
    curate(DAYS[0], BAD | {"waived": {"until": until, "why": "somebody looked at it"}})
    assert seen(store) == ["bad"]
