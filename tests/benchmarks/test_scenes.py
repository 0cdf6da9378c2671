"""What scenes of many nights share, and how they count. Run: pytest tests/benchmarks/test_scenes.py"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from benchmarks import _journal, backfill_kills, month
from benchmarks._scenes import Scene, children, deal, descendants, digits, images_given, kill, nights
from tasks.config import load


def test_every_digit_is_dealt_once_and_some_labels_are_wrong() -> None:
    rows = digits(300, "a seed")
    dealt = deal(rows, nights("2026-02-27", 7))
    assert list(dealt)[:3] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert pa.concat_tables(dealt.values()).equals(rows)
    assert {table.num_rows for table in dealt.values()} == {42, 43}
    wrong = sum(a != b for a, b in zip(rows["label"].to_pylist(), rows["truth"].to_pylist(), strict=True))
    assert 10 <= wrong <= 40
    assert digits(300, "a seed").equals(rows)
    assert not digits(300, "another").equals(rows)


@pytest.mark.parametrize("changes", [{}, month.CHANGES])
def test_a_scene_is_a_curation_that_loads(tmp_path: Path, changes: dict[str, object]) -> None:
    scene = Scene(tmp_path, os.environ, changes)
    assert load(scene.curation).dataset == "nights"
    scene.arrives("2026-01-01", digits(10, "a seed"))
    assert [file.name for file in scene.incoming.iterdir()] == ["2026-01-01.parquet"]


def test_an_image_that_comes_twice_is_counted_twice() -> None:
    rows = digits(2, "a seed")
    counted = images_given({"n": pa.concat_tables([rows, rows.slice(0, 1)])})
    assert sorted(counted.values()) == [1, 2]
    assert {night for night, _ in counted} == {"n"}


def test_the_processes_below_one_are_found_and_killed() -> None:
    inner = "import time; print(flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    (child,) = children(process.pid)
    assert child in descendants(os.getpid())
    assert process.pid in children(os.getpid())
    kill([child, process.pid, child])
    process.communicate()
    assert child not in descendants(os.getpid())


def test_a_process_writes_down_what_it_began_and_what_it_ended(tmp_path: Path) -> None:
    """Also when it is killed, and without being changed."""
    fake = tmp_path / "fake" / "tasks"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "stages.py").write_text(
        "import os, signal, types\n"
        "def fit(job, part):\n"
        "    if part == 'second': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return part\n"
        "STAGES = {'teach': types.SimpleNamespace(fit=fit, apply=lambda job, start, stop: stop)}\n"
    )
    program = (
        "import types; from tasks.stages import STAGES\n"
        "job = types.SimpleNamespace(stage='teach', partition='p', fingerprint='f')\n"
        "assert STAGES['teach'].fit(job, 'first') == 'first'\n"
        "assert STAGES['teach'].apply(job, 0, 9) == 9\n"
        "STAGES['teach'].fit(job, 'second')\n"
    )
    journal = tmp_path / "journal"
    environment = _journal.environment(journal, os.environ)
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path / "fake")
    assert done.returncode == -9
    pieces = _journal.pieces(journal)
    assert [piece.name for piece in pieces] == [
        "fit teach p f first",
        "apply teach p f 0 9",
        "fit teach p f second",
    ]
    assert [piece.ended is None for piece in pieces] == [False, False, True]


def test_work_is_repeated_where_it_was_cut_off_or_done_before(tmp_path: Path) -> None:
    """Process 1 finishes a and is killed 3 s into b; process 2 does b, and a again in 1 s."""
    first = [["began", 10.0, "a"], ["ended", 12.0, "a"], ["began", 12.0, "b"]]
    second = [["began", 20.0, "b"], ["ended", 24.0, "b"], ["began", 24.0, "a"], ["ended", 25.0, "a"]]
    for process, lines in ((1, first), (2, second)):
        (tmp_path / f"{process}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert backfill_kills.repeated(tmp_path, {1: 15.0}) == (3.0 + 1.0, 1)
    assert backfill_kills.repeated(tmp_path, {7: 11.0, 8: 14.0}) == (2.0 + 1.0, 1)


def test_a_file_that_is_written_again_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "nights" / "rows" / "partition=p" / "f.parquet"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    chaos = backfill_kills.Chaos()
    assert [chaos.look(tmp_path), chaos.look(tmp_path)] == [1, 1]
    assert chaos.again == 0
    os.utime(file, (time.time() + 5,) * 2)
    chaos.look(tmp_path)
    assert chaos.again == 1


def a_month() -> tuple[dict[str, pa.Table], list[dict[str, pa.Table]]]:
    rows = digits(month.ROWS_A_NIGHT * len(month.NIGHTS), "winnow month")
    happened = {
        night: month.dated(rows.slice(month.ROWS_A_NIGHT * number, month.ROWS_A_NIGHT), night)
        for number, night in enumerate(month.NIGHTS)
    }
    return happened, month.delivered(happened)


def test_a_month_has_its_first_and_last_second_in_berlin() -> None:
    happened, _ = a_month()
    for night, hours in ((month.SHORT, 23), (month.LONG, 25), ("2026-03-28", 24)):
        moments = happened[night]["at"].to_pylist()
        local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in (moments[0], moments[-1])]
        assert [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in local] == [
            f"{night} 00:00:00",
            f"{night} 23:59:59",
        ]
        assert (moments[-1] - moments[0]).total_seconds() == 3600 * hours - 1


def test_everything_of_the_month_is_delivered_once_and_late_rows_are_late() -> None:
    happened, deliveries = a_month()
    came = pa.concat_tables(table for files in deliveries for table in files.values())
    assert Counter(came["image"].to_pylist()) == Counter(
        image for table in happened.values() for image in table["image"].to_pylist()
    )
    late = 0
    for number, files in enumerate(deliveries):
        for name, table in files.items():
            if "late" not in name:
                continue
            late += table.num_rows
            for moment in table["at"].to_pylist():
                day = str(moment.astimezone(ZoneInfo("Europe/Berlin")).date())
                assert 1 <= number - month.NIGHTS.index(day) <= month.LATEST + 1
    assert late == month.LATE
    empty = deliveries[month.NIGHTS.index(month.EMPTY)]
    assert {name: table.num_rows for name, table in empty.items()} == {f"{month.EMPTY}.parquet": 0}
    assert month.midnight(datetime(2026, 3, 29).date()).hour == 23
