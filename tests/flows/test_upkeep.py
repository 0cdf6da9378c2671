"""The verbs that look after a store. Run with: python -m pytest tests/flows/test_upkeep.py"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import cli, upkeep
from storage import releases
from storage.store import Store
from tests.conftest import Finished
from tests.flows.cli_stores import NIGHTS, filled
from tests.storage.helpers import metrics, shards

FAILED = [{"name": "share_rejected", "value": 0.4, "bound": "at most 0.1", "passed": False}]


@pytest.fixture
def two_nights(tmp_path: Path) -> tuple[Path, Store]:
    """A curation's file, and its store with two published nights."""
    return filled(tmp_path)


@pytest.fixture
def winnow_here(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`winnow_here(*arguments)`: a command line run in this process; its exit code and all it printed."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        code = cli.run_command([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


Run = Callable[..., tuple[int, str]]


def hold(store: Store) -> int:
    return releases.publish(store, NIGHTS[1], "run", FAILED, releases.versions(store), "held")


def test_a_person_approves_a_held_release(two_nights: tuple[Path, Store], winnow_here: Run) -> None:
    path, store = two_nights
    hold(store)
    code, out = winnow_here("release", "approve", path, "3", "--why", "new camera, checked", "--by", "mia")
    assert code == 0
    assert "readers of digits get release 3, as release 4" in out
    assert "gates that failed and stay on record: share_rejected" in out
    code, out = winnow_here("releases", path)
    newest, held = [line for line in out.splitlines() if line.strip()[:1] in "43"][:2]
    assert "published" in newest
    assert "release 3 approved by mia: new camera, checked" in newest
    assert "share_rejected 0.4, at most 0.1 FAILED" in newest
    assert "held" in held
    code, out = winnow_here("release", "show", path, "4")
    assert "release 3 approved by mia" in out
    assert "share_rejected" in out


def test_an_approval_names_who_is_logged_in(
    two_nights: tuple[Path, Store], winnow_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = two_nights
    monkeypatch.setattr(upkeep.getpass, "getuser", lambda: "root-of-all")
    hold(store)
    assert winnow_here("release", "approve", path, "3", "--why", "fine")[0] == 0
    note = releases.get(store, 4).note
    assert note == "release 3 approved by root-of-all: fine"

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(upkeep.getpass, "getuser", nobody)
    hold(store)
    code, out = winnow_here("release", "approve", path, "5", "--why", "fine")
    assert (code, "add --by NAME" in out) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("1", "--why", "x"), "release 1 of digits is published; only a held one is approved"),
        (("9", "--why", "x"), "digits has no release 9; they are 1 to 2"),
        (("1", "--why", " "), "--why is empty"),
        (("1",), "--why"),
    ],
)
def test_what_cannot_be_approved_is_bad_input(
    two_nights: tuple[Path, Store], winnow_here: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out = winnow_here("release", "approve", two_nights[0], *arguments)
    assert code == 2
    assert sentence in out


def test_vacuum_lets_old_releases_go(two_nights: tuple[Path, Store], winnow_here: Run) -> None:
    path, store = two_nights
    shards(store, NIGHTS[1], "f9", (0, 1))
    store.commit("metrics", NIGHTS[1], "f9", [(0, 1)], [], {}, store.version("metrics"))
    for _ in range(2):
        releases.publish(store, NIGHTS[1], None, [], releases.versions(store))
    code, out = winnow_here("vacuum", path, "--keep-releases", "1", "--dry-run")
    assert code == 0
    assert "would expire: 3 releases (1 to 3)" in out
    assert "1 file would be deleted" in out
    code, out = winnow_here("vacuum", path, "--keep-releases", "1", "--keep-days", "1")
    assert "expired" not in out, "they are younger than a day"
    code, out = winnow_here("vacuum", path, "--keep-releases", "1")
    assert "expired: 3 releases (1 to 3)" in out
    assert "1 file deleted" in out
    code, out = winnow_here("releases", path)
    assert out.count("published, expired") == 3
    for verb in ("rollback", "diff"):
        code, out = winnow_here(verb, path, "2", *["4"] * (verb == "diff"))
        assert (code, "release 2 of digits has expired" in out) == (2, True)
    code, out = winnow_here("sql", path, "SELECT 1", "--release", "2")
    assert (code, "release 2 of digits has expired" in out) == (2, True)
    assert winnow_here("doctor", path, "--deep")[0] == 0


def test_numbers_in_words() -> None:
    assert upkeep.runs([1, 2, 3, 5, 8, 9]) == ["1 to 3", "5", "8 to 9"]
    assert upkeep.runs([]) == []


def test_compact_merges_and_says_what(two_nights: tuple[Path, Store], winnow_here: Run) -> None:
    path, store = two_nights
    assert winnow_here("compact", path) == (0, "digits has nothing to merge\n")
    shards(store, NIGHTS[0], "f9", (0, 2), (2, 4))
    store.commit("metrics", NIGHTS[0], "f9", [(0, 2), (2, 4)], [], {}, store.version("metrics"))
    code, out = winnow_here("compact", path, "--dry-run")
    assert "nothing was merged" in out
    code, out = winnow_here("compact", path)
    assert code == 0
    assert [line.split() for line in out.splitlines() if "metrics" in line] == [
        ["metrics", NIGHTS[0], "2", "1"]
    ]
    assert winnow_here("compact", path) == (0, "digits has nothing to merge\n")


def test_doctor_says_that_nothing_is_wrong(two_nights: tuple[Path, Store], winnow_here: Run) -> None:
    path, _ = two_nights
    assert winnow_here("doctor", path) == (0, "digits is sound, as far as a quick look tells\n")
    assert winnow_here("doctor", path, "--deep") == (0, "digits is sound\n")


def test_doctor_names_what_is_wrong_and_mends_what_is_safe(
    two_nights: tuple[Path, Store], winnow_here: Run
) -> None:
    path, store = two_nights
    [lost] = store.file_uris("labels", partitions=[NIGHTS[0]])
    os.unlink(lost)
    store.write_shard("metrics", NIGHTS[1], "f9", 0, 1, metrics(["never committed"]))
    code, out = winnow_here("doctor", path)
    assert code == 1
    assert f"missing_file: {lost} is missing" in out
    assert f"run partition {NIGHTS[0]} again with --force" in out
    assert "orphan_file" in out
    assert "has 2 problems; --fix mends 1 of them" in out
    code, out = winnow_here("doctor", path, "--fix")
    assert code == 1
    assert "mended orphan_file" in out
    assert "has 1 problem" in out
    store.write_shard("labels", NIGHTS[0], "f0", 0, 3, store.read(store.refs("labels")[1:]))
    assert winnow_here("doctor", path)[0] == 0


def test_doctor_mends_all_of_what_lies_about(two_nights: tuple[Path, Store], winnow_here: Run) -> None:
    path, store = two_nights
    store.write_shard("metrics", NIGHTS[1], "f9", 0, 1, metrics(["never committed"]))
    code, out = winnow_here("doctor", path, "--fix")
    assert (code, out.splitlines()[-1]) == (0, "digits is mended")


def test_doctor_tells_of_what_is_stale_without_calling_it_wrong(
    two_nights: tuple[Path, Store], winnow_here: Run
) -> None:
    path, store = two_nights
    made = store.refs("metrics")[0]
    parent = {
        "table": "metrics",
        "partition": made.partition,
        "version": made.version,
        "content": made.content,
    }
    shards(store, NIGHTS[0], "f9", (0, 1))
    base = store.version("metrics")
    store.commit("metrics", NIGHTS[0], "f9", [(0, 1)], [], {}, base)
    labels = store.refs("labels")[0]
    data = store.read(labels)
    store.write_shard("labels", NIGHTS[0], "f9", 0, 3, data)
    store.commit("labels", NIGHTS[0], "f9", [(0, 3)], [parent], {}, store.version("labels"))
    code, out = winnow_here("doctor", path)
    assert code == 0
    assert f"stale: labels of {NIGHTS[0]} was made from inputs that changed since" in out


@pytest.mark.slow
def test_a_curated_store_is_sound_and_stays_so_through_all_upkeep(
    winnow: Callable[..., Finished], digits_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    path = digits_yaml(tmp_path, runner={"kind": "threads", "workers": 2, "shard_rows": 100})
    for night in NIGHTS:
        assert winnow("run", path, "--partition", night).code == 0
    assert winnow("doctor", path, "--deep").out == "digits is sound\n"
    store = Store(str(tmp_path / "store"), "digits")
    before = {
        table: [ref.content for ref in store.refs(table)] for table in ("rows", "soft_labels", "labels")
    }
    assert "merged into" in winnow("compact", path).out
    assert before == {table: [ref.content for ref in store.refs(table)] for table in before}
    assert "is up to date (release 3)" in winnow("run", path, "--partition", NIGHTS[0]).out
    assert "expired: 2 releases (1 to 2)" in winnow("vacuum", path, "--keep-releases", "1").out
    assert winnow("doctor", path, "--deep").out == "digits is sound\n"
    assert "is up to date (release 3)" in winnow("run", path, "--partition", NIGHTS[1]).out
    soft = store.ref("soft_labels", NIGHTS[0])
    assert soft is not None
    state = store.info(soft)["states"][0]
    (Path(store.path) / "_states" / f"{state}.safetensors").unlink()
    found = winnow("doctor", path)
    assert found.code == 1
    assert "missing_state" in found.out
    assert winnow("run", path, "--partition", NIGHTS[0], "--force").code == 0
    assert winnow("doctor", path, "--deep").code == 0


def test_a_release_tells_what_it_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(str(tmp_path), "digits").open(create=True)
    kept = [releases.Kept("distilled", "p", 3), releases.Kept("distilled", "q", None)]
    number = releases.publish(store, "p", None, [], {}, kept=kept)
    upkeep.show_release(store, number)
    said = capsys.readouterr().out
    assert "as at version 3" in said
    assert "refused, and no earlier one was published" in said
