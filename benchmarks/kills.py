"""Thirty runs killed with -9 at random moments, then run again: is anything lost, doubled or done twice?

Each trial starts `winnow run` on a night of digits in an empty store, kills the process at a moment
drawn uniformly over the length of an undisturbed run, notes which finished files it left, and runs
the same command again. A finished file counts as repeated if it was written again. What the killed
process had under way is lost by nature: at most one shard a worker, which a file of the next run
replaces. Prefect runs on one server for all trials, so that start-up is a small part of a run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.progress import Progress

from benchmarks._chain import CURATIONS, REPOSITORY
from benchmarks._prefect import prefect_server
from benchmarks.figures import Figure
from storage.files import TEMPORARY
from storage.store import Store
from storage.tables import TABLES

TRIALS, NIGHT, WORKERS = 30, "2026-01-01", 2
SHARD_ROWS = 100
"""Small shards, so that there is more to lose."""


def run(progress: Progress) -> list[Figure]:
    moments = random.Random("winnow kills")
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        curation = small_shards(folder)
        started = time.perf_counter()
        finish(curation, folder / "undisturbed", environment)
        length = time.perf_counter() - started
        expected = contents(folder / "undisturbed")
        different = strays = repeated = most_under_way = stages_reached = 0
        for trial in progress.track(range(TRIALS), description="killing"):
            store = folder / f"trial{trial}"
            kill_after(moments.uniform(0, length), curation, store, environment)
            finished, under_way = left_behind(store)
            stages_reached += len(contents(store))
            finish(curation, store, environment)
            repeated += sum(path.stat().st_mtime_ns != wrote for path, wrote in finished.items())
            most_under_way = max(most_under_way, under_way)
            different += contents(store) != expected
            strays += len(stray_files(store))
    return [
        Figure("kills", TRIALS, "", "= 30"),
        Figure("length of an undisturbed run", length, "s"),
        Figure("tables finished before the kill, mean", stages_reached / TRIALS, f"of {len(expected)}"),
        Figure("runs that ended with other tables", different, "", "= 0"),
        Figure("stray files after vacuum", strays, "", "= 0"),
        Figure("finished files that were written again", repeated, "", "= 0"),
        Figure("files half written at a kill, at most", most_under_way, "", f"≤ {WORKERS}"),
    ]


def small_shards(folder: Path) -> Path:
    """The digits curation over four dates instead of two, with shards of SHARD_ROWS rows."""
    text = (CURATIONS / "digits.yaml").read_text(encoding="utf-8")
    text = text.replace("days: 2", "days: 4").replace(
        "workers: 2}", f"workers: {WORKERS}, shard_rows: {SHARD_ROWS}}}"
    )
    file = folder / "digits.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def start(curation: Path, store: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        "from flows.cli import main; main()",
        "run",
        str(curation),
        "--partition",
        NIGHT,
    ]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**environment, "WINNOW_STORE": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(curation: Path, store: Path, environment: dict[str, str]) -> None:
    """Run to the end. Raises RuntimeError if the run fails."""
    process = start(curation, store, environment)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run after a kill failed: {errors[-2000:]}")


def kill_after(seconds: float, curation: Path, store: Path, environment: dict[str, str]) -> None:
    """Start a run and kill it, and all it started, after `seconds`."""
    process = start(curation, store, environment)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def left_behind(store: Path) -> tuple[dict[Path, int], int]:
    """Finished shards and states with the time each was written, and how many were half written."""
    files = [
        path for pattern in ("*/partition=*/*", "_states/*/*") for path in store.glob(f"digits/{pattern}")
    ]
    finished = {path: path.stat().st_mtime_ns for path in files if not path.name.startswith(TEMPORARY)}
    return finished, len(files) - len(finished)


def contents(store: Path) -> dict[str, str]:
    """The content hash of every table's partition."""
    opened = Store(str(store), "digits")
    return {
        table: ref.content
        for table in TABLES
        if table != "releases" and (ref := opened.ref(table, NIGHT)) is not None
    }


def stray_files(store: Path) -> set[str]:
    """Data files that no table lists, once vacuum has run."""
    opened = Store(str(store), "digits")
    opened.vacuum()
    there = {str(path) for path in store.glob("digits/*/partition=*/*")}
    return there - {uri for table in TABLES for uri in opened.file_uris(table)}
