"""Classes that get another name. Run with: python -m pytest tests/storage/test_renames.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import classes
from storage.store import Store
from tests.storage.helpers import at_once, python


def test_a_renamed_class_keeps_its_index_and_its_first_name_is_remembered(store: Store) -> None:
    classes.extend(store, ["cat", "dog"])
    assert classes.rename(store, {"cat": "kitten"}) == ("kitten", "dog")
    assert classes.vocabulary(store) == ("kitten", "dog")
    assert classes.first_names(store) == ("cat", "dog")
    assert classes.former_names(store) == {"cat": "kitten"}
    assert classes.extend(store, ["cat", "owl"]) == ("kitten", "dog", "owl")


def test_earlier_files_stay_as_they_were(store: Store) -> None:
    classes.extend(store, ["cat", "dog"])
    classes.rename(store, {"cat": "kitten"})
    files = sorted((Path(store.path) / "_classes").iterdir())
    assert [json.loads(file.read_text()) for file in files] == [["cat", "dog"], [["cat", "kitten"], "dog"]]


def test_two_classes_never_become_one(store: Store) -> None:
    classes.extend(store, ["cat", "dog", "kitten"])
    assert classes.rename(store, {"cat": "kitten"}) == ("cat", "dog", "kitten")
    classes.rename(store, {"dog": "hound"})
    assert classes.rename(store, {"cat": "dog"}) == ("cat", "hound", "kitten")


def test_a_name_that_is_not_known_renames_nothing(store: Store) -> None:
    classes.extend(store, ["cat"])
    assert classes.rename(store, {"owl": "bird"}) == ("cat",)
    assert len(list((Path(store.path) / "_classes").iterdir())) == 1


def test_a_class_can_get_its_old_name_back(store: Store) -> None:
    classes.extend(store, ["cat"])
    classes.rename(store, {"cat": "kitten"})
    assert classes.rename(store, {"kitten": "cat"}) == ("cat",)
    assert classes.rename(store, {"kitten": "cat"}) == ("cat",)
    assert classes.former_names(store) == {"kitten": "cat"}


NAMES = st.sampled_from("abcde")


@given(
    st.lists(NAMES, min_size=1, max_size=3), st.lists(st.dictionaries(NAMES, NAMES, max_size=2), max_size=4)
)
def test_names_stay_different_and_every_name_leads_to_one_class(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], renamings: list[dict[str, str]]
) -> None:
    store = Store(str(tmp_path_factory.mktemp("renames")), "d").open(create=True)
    classes.extend(store, first)
    begun = classes.first_names(store)
    for renaming in renamings:
        classes.rename(store, renaming)
        now = classes.vocabulary(store)
        assert classes.first_names(store) == begun
        assert len(set(now)) == len(now) == len(begun)
        assert set(classes.former_names(store)).isdisjoint(now)
        assert set(classes.former_names(store).values()) <= set(now)


RENAMER = """
import sys
from storage import classes
from storage.store import Store
store = Store(sys.argv[1], "digits")
print("ready", flush=True)
sys.stdin.readline()
for n in range(10):
    classes.extend(store, [f"{sys.argv[2]}{n}"])
    classes.rename(store, {f"{sys.argv[2]}{n}": f"{sys.argv[2]}{n}-now"})
print("done")
"""


def test_processes_that_rename_at_once_lose_no_name(store: Store) -> None:
    at_once([python(RENAMER, store.root, letter) for letter in "ab"])
    assert set(classes.vocabulary(store)) == {f"{letter}{n}-now" for letter in "ab" for n in range(10)}
