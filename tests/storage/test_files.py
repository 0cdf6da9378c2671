"""Atomic writes. Run with: python -m pytest tests/storage/test_files.py"""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import FileSelector

from storage import files
from storage.errors import StoreError
from tests.storage.helpers import at_once, python


def test_write_whole_replaces_and_put_if_absent_does_not(tmp_path: Path) -> None:
    disk = files.disk(str(tmp_path))
    path = str(tmp_path / "a" / "b")
    assert disk.put_if_absent(path, files.writer(b"1"))
    assert not disk.put_if_absent(path, files.writer(b"2"))
    assert disk.read(path) == b"1"
    disk.write_whole(path, files.writer(b"3"))
    assert disk.read(path) == b"3"
    assert disk.names(str(tmp_path / "a")) == ["b"]


def test_the_file_and_its_folder_are_synced_before_it_counts_as_written(
    tmp_path: Path, monkeypatch: object
) -> None:
    synced: list[str] = []
    original = files.sync

    def noting(path: str) -> None:
        synced.append("folder" if Path(path).is_dir() else "file")
        original(path)

    monkeypatch.setattr(files, "sync", noting)  # type: ignore[attr-defined]
    files.disk(str(tmp_path)).write_whole(str(tmp_path / "a"), files.writer(b"1"))
    assert synced == ["file", "folder"]


def test_a_touched_file_is_as_new_as_the_clock_of_its_disk(tmp_path: Path) -> None:
    disk, path = files.disk(str(tmp_path)), str(tmp_path / "a")
    disk.write_whole(path, files.writer(b"1"))
    before = disk.now(str(tmp_path))
    disk.touch(path, b"1")
    assert 0 <= disk.modified(path) - before < 10
    assert disk.names(str(tmp_path)) == ["a"]  # the clock was read without a trace


def test_what_is_not_there_is_told_apart_from_what_cannot_be_read(tmp_path: Path) -> None:
    disk = files.disk(str(tmp_path))
    for verb in (disk.read, disk.modified, disk.remove):
        with pytest.raises(FileNotFoundError):
            verb(str(tmp_path / "none"))
    assert disk.names(str(tmp_path / "none")) == []
    with pytest.raises(StoreError, match="cannot be used"):
        disk.read(str(tmp_path))


def test_a_secret_in_an_address_of_no_kind_we_know_is_not_repeated() -> None:
    for root in ("gs://user:swordfish@bucket/x", "https://host/x?token=swordfish"):
        with pytest.raises(StoreError) as refused:
            files.disk(root)
        assert "swordfish" not in str(refused.value)


PUTTER = """
import sys
from storage import files
disk = files.disk(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(50) if disk.put_if_absent(f"{disk.base}/{n}", files.writer(b"x"))]
print(*won, "end")
"""


def test_of_processes_that_put_at_once_exactly_one_does(tmp_path: Path) -> None:
    answers = at_once([python(PUTTER, str(tmp_path)) for _ in range(2)])
    won = [int(number) for answer in answers for number in answer.split()[:-1]]
    assert sorted(won) == list(range(50))


@pytest.mark.parametrize("n", [0, 1, 64, 65, 1000])
def test_each_of_many_things_is_done_once_and_told_in_order(tmp_path: Path, n: int) -> None:
    done: list[int] = []

    def double(thing: int) -> int:
        done.append(thing)
        return 2 * thing

    assert list(files.disk(str(tmp_path)).each(double, range(n))) == [2 * thing for thing in range(n)]
    assert sorted(done) == list(range(n))


def test_what_is_read_does_not_run_far_ahead_of_who_takes_it(tmp_path: Path) -> None:
    disk, begun = files.disk(str(tmp_path)), []
    taken = disk.each(begun.append, range(100_000))
    for _ in range(1000):
        next(taken)
    assert len(begun) <= 1000 + 2 * (disk.at_once + 1) * disk.in_a_row
    taken.close()  # type: ignore[attr-defined]


def test_what_goes_wrong_with_one_thing_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(files.disk(str(tmp_path)).each(lambda thing: 1 // thing, range(-100, 100)))


def test_a_folder_that_somebody_makes_while_it_is_listed_is_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    disk = files.disk(str(tmp_path))
    inner, looks = disk.filesystem, []

    class Late:
        """pyarrow's file system, where the folder came up between its two looks."""

        def get_file_info(self, selector: FileSelector) -> object:
            looks.append(selector)
            if len(looks) == 1:
                raise FileNotFoundError(2, "Cannot list directory")
            return inner.get_file_info(selector)

    monkeypatch.setattr(disk, "filesystem", Late())
    assert disk.names(str(tmp_path)) == ["a"]
    assert len(looks) == 2
