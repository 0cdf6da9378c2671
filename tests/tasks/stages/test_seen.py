"""What occurred in earlier partitions. Run: .venv/bin/python -m pytest tests/tasks/stages/test_seen.py"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.snapshot import Lineup
from storage.store import Store, TableRef
from tasks.stages import seen
from tasks.stages.seen import blocks, keys_of_strings, occurs_in, place_of, seen_before


def lineup(rows: list[int]) -> Lineup:
    refs = [TableRef("rows", f"p{i:05d}", 1, n, "f", f"c{i}") for i, n in enumerate(rows)]
    return Lineup({"rows": {ref.partition: ref for ref in refs}})


def spans(rows: list[int]) -> list[tuple[int, int]]:
    return [(window.start, window.stop) for window in blocks(lineup(rows))]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def arrive(store: Store, partition: str, names: list[str]) -> TableRef:
    """A partition of rows with these names as ids, their SHA-256 as content."""
    n, base = len(names), store.version("rows")
    data = pa.table(
        {
            "id": names,
            "source": ["s"] * n,
            "position": pa.array(range(n), pa.int64()),
            "content_hash": [sha(name) for name in names],
            "split": ["train"] * n,
        }
    )
    fingerprint = sha("".join(names))[:16]
    store.write_shard("rows", partition, fingerprint, 0, n, data)
    return store.commit("rows", partition, fingerprint, [(0, n)], [], {}, base)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "seen").open(create=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two partitions a block, so that a dozen make several levels."""
    monkeypatch.setattr(seen, "FAN", 2)


def test_a_night_after_ten_thousand_looks_into_a_few_dozen_blocks() -> None:
    found = spans([100] * 9_999)
    assert found[:3] == [(0, 4096), (4096, 8192), (8192, 8448)]
    assert found[-1] == (9_998, 9_999)
    assert len(found) == 2 + 7 + 0 + 15
    assert [stop for _, stop in found[:-1]] == [start for start, _ in found[1:]]


def test_partitions_too_large_for_a_block_stay_by_themselves() -> None:
    assert spans([seen.BLOCK_ROWS] * 32) == [(i, i + 1) for i in range(32)]
    assert spans([seen.BLOCK_ROWS // 16] * 32) == [(0, 16), (16, 32)]


@pytest.mark.parametrize("column", ["id", "content_hash"])
@pytest.mark.usefixtures("small_blocks")
def test_whatever_the_number_of_earlier_nights_exactly_what_they_hold_was_seen(
    store: Store, column: str
) -> None:
    refs: list[TableRef] = []
    for night in range(12):
        asked = [f"row {n}" for n in range(0, 60, 2)]
        values = pa.array([asked[i] if column == "id" else sha(asked[i]) for i in range(30)])
        there = {f"row {3 * n + k}" for n in range(night) for k in range(2)}
        found = seen_before(store, refs, values, column)
        assert found.tolist() == [name in there for name in asked]
        refs.append(arrive(store, f"p{night:02d}", [f"row {3 * night + k}" for k in range(2)]))


@pytest.mark.usefixtures("small_blocks")
def test_a_partition_that_changes_or_comes_late_is_looked_into_anew(store: Store) -> None:
    refs = {name: arrive(store, name, [f"in {name}"]) for name in ("p1", "p2", "p3", "p5", "p6", "p7")}
    values = pa.array([sha("in p2"), sha("new"), sha("late"), None])

    def found() -> list[bool]:
        were: list[bool] = seen_before(
            store, [refs[name] for name in sorted(refs)], values, "content_hash"
        ).tolist()
        return were

    assert found() == [True, False, False, False]
    refs["p2"] = arrive(store, "p2", ["new"])
    assert found() == [False, True, False, False]
    refs["p4"] = arrive(store, "p4", ["late"])
    assert found() == [False, True, True, False]


@pytest.mark.usefixtures("small_blocks")
def test_blocks_may_be_deleted_at_any_time(store: Store) -> None:
    refs = [arrive(store, f"p{i}", [f"row {i}"]) for i in range(8)]
    values = pa.array([sha(f"row {i}") for i in range(10)])
    assert seen_before(store, refs, values, "content_hash").tolist() == [True] * 8 + [False] * 2
    window = next(iter(blocks(Lineup({"rows": {ref.partition: ref for ref in refs}}))))
    partition, name = place_of(window, "content_hash")
    assert store.has_state(partition, name)
    for path in Path(store.path, "_states").rglob("*.safetensors"):
        path.unlink()
    assert seen_before(store, refs, values, "content_hash").tolist() == [True] * 8 + [False] * 2


def test_nobody_was_seen_before_the_first_night(store: Store) -> None:
    assert not seen_before(store, [], pa.array(["a"]), "id").any()
    assert seen_before(store, [arrive(store, "p", ["a"])], pa.array([], pa.string()), "id").tolist() == []


def test_a_key_is_the_first_half_of_a_sha_256() -> None:
    expected = int(sha("a")[:32], 16)
    for values, column in ((pa.array(["a"]), "id"), (pa.array([sha("a")]), "content_hash")):
        high, low = (int(half) for half in keys_of_strings(values, column)[0])
        assert (high << 64) + low == expected


Pairs = list[tuple[int, int]]
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)


@given(pairs, pairs)
def test_membership_is_exact_even_where_halves_are_shared(kept: Pairs, wanted: Pairs) -> None:
    keys = np.unique(np.array(kept, np.uint64).reshape(-1, 2), axis=0)
    found = occurs_in(np.array(wanted, np.uint64).reshape(-1, 2), keys)
    assert found.tolist() == [pair in set(kept) for pair in wanted]
