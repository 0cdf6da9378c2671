"""Nights that bring nothing: no file, no row, no good row. Run: pytest tests/flows/test_empty_nights.py"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.cli import run_command
from flows.nightly import decide
from storage import releases
from storage.store import Store
from tasks.config import load
from tests.flows.test_vocabulary import FIRST, SECOND, THIRD, World

pytestmark = pytest.mark.slow

HEADER = "id,label,a,b\n"
NIGHTS = {"no row": HEADER, "no good row": HEADER + "x,cat,?,1\ny,dog,2,\n"}


@pytest.fixture(scope="module")
def one_night(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Path:
    """A folder with one night of cats and dogs through the whole chain."""
    world = World(tmp_path_factory.mktemp("pets"))
    world.arrives(FIRST, ["cat", "dog"])
    assert world.run(FIRST, empty_night="succeed") == 0
    return world.folder


@pytest.fixture
def world(one_night: Path, tmp_path: Path) -> World:
    return World(shutil.copytree(one_night, tmp_path / "case"))


def waiting(world: World) -> list[str]:
    """What a night would do."""
    curation = load(world.folder / "pets.yaml")
    choices = decide(curation, Store(curation.store, curation.dataset)).work.choices
    return [choice.partition for choice in choices]


@pytest.mark.parametrize(
    ("arrived", "sentence"),
    [
        ("no row", "ingest of 2026-01-02 kept no row: there were none; see whether it arrived whole"),
        ("no good row", "ingest of 2026-01-02 kept no row: all 2 inputs were rejected; "),
    ],
)
def test_it_fails_and_says_so(
    world: World, capfd: pytest.CaptureFixture[str], arrived: str, sentence: str
) -> None:
    world.arrives(SECOND, [], text=NIGHTS[arrived])
    assert world.run(SECOND, empty_night="fail") == 1
    assert sentence in capfd.readouterr().err
    assert waiting(world) == [SECOND]


@pytest.mark.parametrize("arrived", NIGHTS)
def test_it_succeeds_and_says_so_where_the_curation_takes_it(
    world: World, capfd: pytest.CaptureFixture[str], arrived: str
) -> None:
    """Its rejects can be read, it is over, and the next night goes on as if it had not been."""
    world.arrives(SECOND, [], text=NIGHTS[arrived])
    assert world.run(SECOND, empty_night="succeed") == 0
    assert "2026-01-02 brought no usable row, so there is nothing to teach" in capfd.readouterr().out
    assert waiting(world) == []
    release = releases.published(world.store)
    assert release is not None
    rejects = world.store.refs("rejects", version=release.versions["rejects"])
    assert {ref.partition: ref.rows for ref in rejects}[SECOND] == (0 if arrived == "no row" else 2)
    world.arrives(THIRD, ["cat", "dog"])
    assert world.run(THIRD, empty_night="succeed") == 0
    assert world.labels(THIRD) == {0: 4, 1: 4}


def test_a_night_that_held_rows_never_becomes_empty_in_silence(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.arrives(FIRST, [], text=HEADER)
    assert world.run(FIRST, empty_night="succeed") == 1
    assert "readers keep what it held before" in capfd.readouterr().err
    release = releases.published(world.store)
    assert release is not None
    rows = world.store.refs("rows", version=release.versions["rows"])
    assert [ref.rows for ref in rows] == [8]


@pytest.mark.parametrize(("policy", "code"), [("succeed", 0), ("fail", 1)])
def test_a_source_to_which_nothing_ever_came_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], policy: str, code: int
) -> None:
    world = World(tmp_path)
    (tmp_path / "incoming").mkdir()
    assert run_command(["nightly", world.configure(empty_night=policy)]) == code
    out, err = capfd.readouterr()
    assert "nothing has arrived: the source of pets holds no partition" in out + err
