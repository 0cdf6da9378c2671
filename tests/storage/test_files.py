"""Atomic writes. Run with: python -m pytest tests/storage/test_files.py"""

from __future__ import annotations

from pathlib import Path

from pyarrow.fs import LocalFileSystem

from storage import files
from tests.storage.helpers import at_once, python

LOCAL = LocalFileSystem()


def test_write_whole_replaces_and_put_if_absent_does_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b")
    assert files.put_if_absent(path, files.writer(LOCAL, b"1"))
    assert not files.put_if_absent(path, files.writer(LOCAL, b"2"))
    assert files.read_bytes(LOCAL, path) == b"1"
    files.write_whole(path, files.writer(LOCAL, b"3"))
    assert files.read_bytes(LOCAL, path) == b"3"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]


def test_the_file_and_its_folder_are_synced_before_it_counts_as_written(
    tmp_path: Path, monkeypatch: object
) -> None:
    synced: list[str] = []
    original = files.sync

    def noting(path: str) -> None:
        synced.append("folder" if Path(path).is_dir() else "file")
        original(path)

    monkeypatch.setattr(files, "sync", noting)  # type: ignore[attr-defined]
    files.write_whole(str(tmp_path / "a"), files.writer(LOCAL, b"1"))
    assert synced == ["file", "folder"]


PUTTER = """
import sys
from pyarrow.fs import LocalFileSystem
from storage import files
print("ready", flush=True)
sys.stdin.readline()
write = files.writer(LocalFileSystem(), b"x")
won = [n for n in range(50) if files.put_if_absent(f"{sys.argv[1]}/{n}", write)]
print(*won, "end")
"""


def test_of_processes_that_put_at_once_exactly_one_does(tmp_path: Path) -> None:
    answers = at_once([python(PUTTER, str(tmp_path)) for _ in range(2)])
    won = [int(number) for answer in answers for number in answer.split()[:-1]]
    assert sorted(won) == list(range(50))
