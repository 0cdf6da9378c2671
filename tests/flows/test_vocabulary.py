"""What a source may change from one night to the next, and what then happens, through the whole chain.

Run: pytest tests/flows/test_vocabulary.py
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import run_command
from storage import classes
from storage.store import Store
from tasks.config import load
from tasks.errors import BadInput
from tasks.plan import Planner

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"
PLACE = {"cat": 0, "kitten": 0, "dog": 1, "owl": 2, "emu": 3}
"""Where the features of a class lie, whatever the class is called."""
CURATION: dict[str, Any] = {
    "dataset": "pets",
    "store": "./store",
    "source": {
        "kind": "csv",
        "path": "incoming/{partition}.csv",
        "id": "id",
        "label": "label",
        "features": ["a", "b"],
    },
    "ingest": {"encoder": {"kind": "features"}},
    "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "distill": {"kind": "herding", "per_class": 1},
    "report": {"kind": "student", "seeds": 1, "steps": 20},
}


class World:
    """A folder with a curation, what has arrived for it, and its store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def arrives(self, partition: str, labels: list[str], more: str = "", text: str | None = None) -> None:
        """Four rows a label. more: the header of one more column; text: the whole file instead."""
        rows = [
            f"{partition[-2:]}-{label}-{i},{label},{PLACE.get(label, 5)}.{i},{i % 3}" + ",?" * bool(more)
            for i in range(4)
            for label in labels
        ]
        file = self.folder / "incoming" / f"{partition}.csv"
        file.parent.mkdir(exist_ok=True)
        header = "id,label,a,b" + f",{more}" * bool(more)
        file.write_text(text if text is not None else "\n".join([header, *rows, ""]))

    def configure(self, **changes: Any) -> str:
        file = self.folder / "pets.yaml"
        file.write_text(yaml.safe_dump({**CURATION, **changes}))
        return str(file)

    def ingest(self, partition: str, **changes: Any) -> int:
        """The one stage that learns classes."""
        return run_command(["run", self.configure(**changes), "--partition", partition, "--stage", "ingest"])

    def run(self, partition: str, **changes: Any) -> int:
        return run_command(["run", self.configure(**changes), "--partition", partition])

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "store"), "pets")

    def labels(self, partition: str) -> Counter[int | None]:
        """How many rows of a partition have each index."""
        ref = self.store.ref("rows", partition)
        return Counter(self.store.read([ref], ["label"])["label"].to_pylist()) if ref else Counter()

    def content(self, partition: str) -> str | None:
        ref = self.store.ref("rows", partition)
        return ref.content if ref else None

    def rejected(self, partition: str) -> Counter[str]:
        ref = self.store.ref("rejects", partition)
        return Counter(self.store.read([ref], ["reason"])["reason"].to_pylist()) if ref else Counter()

    def stale(self, partition: str) -> dict[str, str]:
        """The stages that would run, and why."""
        plans = Planner(load(self.folder / "pets.yaml"), self.store).partition(partition)
        return {plan.stage: plan.reason for plan in plans if plan.verdict == "runs"}

    def read(self, partition: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
        """The given labels of a partition by name, as its readers see them."""
        capsys.readouterr()
        query = f"SELECT DISTINCT given_name FROM labels WHERE partition = '{partition}' ORDER BY 1"
        assert run_command(["sql", str(self.folder / "pets.yaml"), query, "--format", "csv"]) == 0
        return capsys.readouterr().out.replace('"', "").split()[1:]


@pytest.fixture(scope="module")
def one_night(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Path:
    """A folder with one night of cats, dogs and owls through the whole chain."""
    world = World(tmp_path_factory.mktemp("pets"))
    world.arrives(FIRST, ["cat", "dog", "owl"])
    assert world.run(FIRST) == 0
    return world.folder


@pytest.fixture
def world(one_night: Path, tmp_path: Path) -> World:
    return World(shutil.copytree(one_night, tmp_path / "case"))


def test_a_new_column_is_ignored(world: World) -> None:
    world.arrives(SECOND, ["cat", "dog", "owl"], more="colour")
    assert world.ingest(SECOND) == 0
    assert world.labels(SECOND) == {0: 4, 1: 4, 2: 4}
    assert not world.rejected(SECOND)


def test_a_mapped_column_that_is_missing_fails_its_night_and_no_other(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    before = world.store.refs("labels")
    world.arrives(SECOND, [], text="id,queue,a,b\nx,cat,0.1,1\n")
    assert world.ingest(SECOND) == 2
    assert capfd.readouterr().err == "winnow: 2026-01-02.csv: has no column label; it has id, queue, a, b\n"
    assert world.store.refs("labels") == before
    assert world.store.ref("rows", SECOND) is None
    world.arrives(SECOND, ["cat", "dog", "owl"])
    assert world.ingest(SECOND) == 0


def test_a_new_class_gets_the_next_index(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Earlier nights keep their rows; what was learned with fewer classes is stale and says why."""
    content = world.content(FIRST)
    world.arrives(SECOND, ["cat", "dog", "emu", "owl"])
    assert world.run(SECOND) == 0
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl", "emu")
    assert world.labels(SECOND) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert world.content(FIRST) == content
    assert world.stale(FIRST) == {"teach": "classes changed"}
    assert world.read(SECOND, capsys) == ["cat", "dog", "emu", "owl"]


def test_a_new_class_is_a_reject_until_it_is_declared(world: World) -> None:
    world.arrives(SECOND, ["cat", "dog", "emu", "owl"])
    assert world.ingest(SECOND, classes=["cat", "dog", "owl"]) == 0
    assert world.rejected(SECOND) == {"unknown_label": 4}
    assert world.ingest(SECOND, classes=["cat", "dog", "owl", "emu"]) == 0
    assert world.labels(SECOND) == {0: 4, 1: 4, 2: 4, 3: 4}


def test_a_class_that_is_declared_anywhere_but_at_the_end_is_refused(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.arrives(SECOND, ["cat", "dog", "emu", "owl"])
    assert world.ingest(SECOND, classes=["cat", "emu", "dog", "owl"]) == 2
    assert "append new classes at the end" in capfd.readouterr().err
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl")


def test_a_renamed_class_keeps_its_index_and_readers_see_the_new_name(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.arrives(SECOND, ["kitten", "dog", "owl"])
    assert world.run(SECOND, rename={"cat": "kitten"}) == 0
    assert classes.vocabulary(world.store) == ("kitten", "dog", "owl")
    assert world.labels(FIRST) == world.labels(SECOND) == {0: 4, 1: 4, 2: 4}
    assert world.read(FIRST, capsys) == world.read(SECOND, capsys) == ["dog", "kitten", "owl"]


def test_a_renaming_changes_nothing_in_earlier_nights(world: World) -> None:
    """Their ingest is stale, since a rename decides what rows become; it ends with the same rows, and
    nothing after it runs."""
    world.arrives(SECOND, ["kitten", "dog", "owl"])
    assert world.run(SECOND, rename={"cat": "kitten"}) == 0
    assert world.stale(FIRST) == {"ingest": "its methods changed"}
    before = {table: world.store.ref(table, FIRST) for table in ("soft_labels", "labels", "metrics")}
    content = world.content(FIRST)
    assert world.run(FIRST, rename={"cat": "kitten"}) == 0
    assert world.content(FIRST) == content
    assert {table: world.store.ref(table, FIRST) for table in before} == before


def test_the_old_name_goes_on_meaning_the_class(world: World) -> None:
    """Rows may still arrive under it, and the store remembers when the curation has forgotten."""
    world.arrives(SECOND, ["cat", "kitten", "dog", "owl"])
    assert world.ingest(SECOND, rename={"cat": "kitten"}) == 0
    assert world.labels(SECOND) == {0: 8, 1: 4, 2: 4}
    world.arrives(THIRD, ["cat", "dog", "owl"])
    assert world.ingest(THIRD) == 0
    assert classes.vocabulary(world.store) == ("kitten", "dog", "owl")
    assert world.labels(THIRD) == {0: 4, 1: 4, 2: 4}


def test_a_name_that_got_an_index_of_its_own_can_still_be_mapped_back(world: World) -> None:
    """Noticed a night late: the index stays reserved, and the night is made again without it."""
    world.arrives(SECOND, ["kitten", "dog", "owl"])
    assert world.ingest(SECOND) == 0
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl", "kitten")
    assert world.labels(SECOND) == {3: 4, 1: 4, 2: 4}
    assert world.ingest(SECOND, rename={"kitten": "cat"}) == 0
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl", "kitten")
    assert world.labels(SECOND) == {0: 4, 1: 4, 2: 4}


def test_a_class_that_no_longer_arrives_keeps_its_index(world: World) -> None:
    world.arrives(SECOND, ["cat", "dog"])
    assert world.ingest(SECOND) == 0
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl")
    assert world.labels(SECOND) == {0: 4, 1: 4}


def test_rows_of_a_retired_class_are_rejects_and_its_index_stays_reserved(world: World) -> None:
    world.arrives(SECOND, ["cat", "dog", "emu", "owl"])
    assert world.ingest(SECOND, retired=["owl"]) == 0
    assert world.rejected(SECOND) == {"retired_class": 4}
    assert classes.vocabulary(world.store) == ("cat", "dog", "owl", "emu")
    assert world.labels(SECOND) == {0: 4, 1: 4, 3: 4}
    assert world.labels(FIRST) == {0: 4, 1: 4, 2: 4}
    assert world.ingest(FIRST, retired=["owl"]) == 0
    assert world.labels(FIRST) == {0: 4, 1: 4}
    assert world.ingest(FIRST) == 0
    assert world.labels(FIRST) == {0: 4, 1: 4, 2: 4}


def test_a_class_that_is_left_out_of_the_declared_ones_is_refused(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.arrives(SECOND, ["cat", "dog"])
    assert world.ingest(SECOND, classes=["cat", "dog"]) == 2
    assert "classes leave out owl, which the data set knows" in capfd.readouterr().err
    assert world.ingest(SECOND, classes=["cat", "dog", "owl"], retired=["owl"]) == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rename": {"cat": "kitten", "kitten": "puss"}}, "kitten is both a new name and an old one"),
        ({"rename": {"cat": "kitten"}, "classes": ["cat", "dog"]}, "kitten is not among classes"),
        ({"rename": {"cat": ""}}, "a class has an empty name"),
        ({"retired": ["owl"], "classes": ["cat", "dog"]}, "owl is not among classes; keep it there"),
        ({"retired": ["cat"], "rename": {"cat": "kitten"}}, "cat is called kitten now"),
    ],
)
def test_names_that_cannot_be_meant_are_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        load(World(tmp_path).configure(**changes))
