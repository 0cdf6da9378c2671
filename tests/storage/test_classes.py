"""The class vocabulary. Run with: python -m pytest tests/storage/test_classes.py"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import classes
from storage.errors import StoreError
from storage.store import Store
from tests.storage.helpers import at_once, python


def test_it_starts_empty_and_only_grows(store: Store) -> None:
    assert classes.vocabulary(store) == ()
    assert classes.extend(store, ["cat", "dog", "cat"]) == ("cat", "dog")
    assert classes.extend(store, ["cow", "cat"]) == ("cat", "dog", "cow")
    assert classes.vocabulary(store) == ("cat", "dog", "cow")


def test_known_names_write_nothing(store: Store) -> None:
    classes.extend(store, ["cat"])
    classes.extend(store, ["cat"])
    classes.extend(store, [])
    assert [path.name for path in (Path(store.path) / "_classes").iterdir()] == ["000000.json"]


def test_an_empty_name_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="has an empty name"):
        classes.extend(store, ["cat", ""])
    assert classes.vocabulary(store) == ()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=3), max_size=4), max_size=4))
def test_an_index_never_changes_its_meaning(
    tmp_path_factory: pytest.TempPathFactory, growths: list[list[str]]
) -> None:
    store = Store(str(tmp_path_factory.mktemp("classes")), "d").open(create=True)
    before: tuple[str, ...] = ()
    for names in growths:
        after = classes.extend(store, names)
        assert after[: len(before)] == before
        assert len(set(after)) == len(after)
        assert set(after) == {*before, *names}
        before = after
    assert classes.vocabulary(store) == before


GROWER = """
import sys
from storage import classes
from storage.store import Store
store = Store(sys.argv[1], "digits")
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    classes.extend(store, [f"{sys.argv[2]}{n}", f"both{n}"])
print("done")
"""


def test_processes_that_grow_it_at_once_lose_no_name(store: Store) -> None:
    at_once([python(GROWER, store.root, letter) for letter in "ab"])
    names = classes.vocabulary(store)
    assert len(names) == len(set(names)) == 60
    assert [name for name in names if name.startswith("a")] == [f"a{n}" for n in range(20)]
