"""A store on a server that speaks S3, sound and faulty: is everything as it is on a disk?

Two nights of real digits (`curations/digits.yaml`) are curated into a store on disk, one in a bucket,
and one in a bucket of a server that answers every tenth request 503 and now and then never answers,
half of those times having carried the request out. Then one small night in the sound bucket: triggered
four times at once, and ten times killed with -9 at a random moment and run again.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from pyarrow.fs import FileSelector
from rich.progress import Progress

from benchmarks._chain import CURATIONS, REPOSITORY
from benchmarks._prefect import prefect_server
from benchmarks._s3 import BUCKET, faults, s3_server
from benchmarks._scenes import DATASET, Scene, contents, digits
from benchmarks.figures import Figure
from storage import releases
from storage.store import Store
from storage.tables import TABLES

NIGHTS = ("2026-01-01", "2026-01-02")
NIGHT, ROWS = "2026-03-01", 200
TRIGGERS, KILLS = 4, 10
SLOW_DOWN, HANG = 10, 211
BUSY, DONE = "is being worked on by", "is up to date"
QUERY = "SELECT action, count(*), sum(confidence)::FLOAT FROM labels GROUP BY action ORDER BY action"


def run(progress: Progress) -> list[Figure]:
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name)) as prefect,
        s3_server() as sound,
        s3_server(SLOW_DOWN, HANG) as faulty,
    ):
        folder = Path(name)
        places = {
            "disk": Place(prefect, {}, str(folder)),
            "bucket": Place(prefect, sound, f"s3://{BUCKET}"),
            "faulty": Place(prefect, faulty, f"s3://{BUCKET}"),
        }
        seconds, answers, tables = {}, {}, {}
        task = progress.add_task("curating two nights of digits", total=len(places) * len(NIGHTS))
        for kind, place in places.items():
            started = time.perf_counter()
            for night in NIGHTS:
                place.run(CURATIONS / "digits.yaml", "digits", "run", "--partition", night)
                progress.advance(task)
            seconds[kind] = time.perf_counter() - started
            answers[kind] = place.run(CURATIONS / "digits.yaml", "digits", "sql", QUERY).stdout
            with place.opened("digits", "digits") as store:
                tables[kind] = contents(store)
        counts, asked = faults(faulty), faults(sound)["requests"]
        scene = Scene(folder / "scene", prefect)
        scene.arrives(NIGHT, digits(ROWS, "winnow s3"))
        triggered = trigger(places["bucket"], scene.curation)
        killed = kill(places["bucket"], scene.curation, triggered.tables, progress)
    different = {
        kind: sum(tables[kind].get(name) != content for name, content in tables["disk"].items())
        + len(tables[kind].keys() - tables["disk"].keys())
        for kind in places
    }
    n = len(tables["disk"])
    return [
        Figure("tables of two nights, on disk", n),
        Figure("of them other in a bucket", different["bucket"], "", "= 0"),
        Figure("of them other on the faulty server", different["faulty"], "", "= 0"),
        Figure("answers of `winnow sql` that differ", len(set(answers.values())) - 1, "", "= 0"),
        Figure("requests of both nights", asked),
        Figure("requests to the faulty server", counts["requests"]),
        Figure("of them answered 503", counts["slow_down"] / counts["requests"], "", "≥ 0.09"),
        Figure("of them never answered", counts["hang"], "", "≥ 5"),
        Figure("both nights on disk", seconds["disk"], "s"),
        Figure("both nights in a bucket", seconds["bucket"], "s"),
        Figure("both nights on the faulty server", seconds["faulty"], "s"),
        Figure("triggers of one night at once", TRIGGERS),
        Figure("of them that curated", triggered.curated, "", "= 1"),
        Figure("of them that ended cleanly", triggered.clean, "", f"= {TRIGGERS}"),
        Figure(
            "of the others, that said which run or release has it", triggered.told, "", f"= {TRIGGERS - 1}"
        ),
        Figure("commits of a table, at most", triggered.commits, "", "= 1"),
        Figure("releases", triggered.releases, "", "= 1"),
        Figure("kills", KILLS, "", f"= {KILLS}"),
        Figure("objects finished before the kill, mean", killed.finished / KILLS),
        Figure("runs that ended with other tables", killed.different, "", "= 0"),
        Figure("finished objects that were put again", killed.repeated, "", "= 0"),
        Figure("commits of a table, at most, over a kill", killed.commits, "", "= 1"),
        Figure("stray data objects after vacuum", killed.strays, "", "= 0"),
    ]


class Place:
    """Where stores are: a folder, or a bucket of a server."""

    def __init__(self, prefect: Mapping[str, str], server: Mapping[str, str], root: str) -> None:
        self.environment, self.server, self.root = {**prefect, **server}, server, root

    def start(self, curation: Path, store: str, verb: str, *options: str) -> subprocess.Popen[str]:
        """The command line, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", verb, str(curation), *options],
            cwd=REPOSITORY,
            env={**self.environment, "WINNOW_STORE": f"{self.root}/{store}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, curation: Path, store: str, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run to the end. Raises RuntimeError with what was said if it fails."""
        process = self.start(curation, store, verb, *options)
        out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"winnow {verb} in {self.root}/{store} failed: {err[-2000:]}{out[-2000:]}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @contextmanager
    def opened(self, store: str, dataset: str) -> Iterator[Store]:
        """A store as this process sees it."""
        with patch.dict(os.environ, self.server):
            yield Store(f"{self.root}/{store}", dataset)


class Triggered:
    """What four triggers of one night came to."""

    def __init__(self, said: list[tuple[int, str]], store: Store) -> None:
        others = [text for _, text in said if BUSY in text or DONE in text]
        self.clean = sum(code == 0 for code, _ in said)
        self.told, self.curated = len(others), len(said) - len(others)
        self.commits, self.releases = most_commits(store), len(releases.listing(store))
        self.tables = contents(store)


def trigger(place: Place, curation: Path) -> Triggered:
    """Run one night from several processes at once."""
    processes = [place.start(curation, "triggered", "run", "--partition", NIGHT) for _ in range(TRIGGERS)]
    said = [("".join(process.communicate()), process) for process in processes]
    with place.opened("triggered", DATASET) as store:
        return Triggered([(process.returncode, text) for text, process in said], store)


class Killed:
    """What ten kills came to."""

    finished = different = repeated = strays = commits = 0


def kill(place: Place, curation: Path, expected: dict[str, str], progress: Progress) -> Killed:
    """Kill a run of a night at a random moment, and run it again, in a new store each time."""
    moments = random.Random("winnow s3")
    started = time.perf_counter()
    place.run(curation, "undisturbed", "run", "--partition", NIGHT)
    length = time.perf_counter() - started
    found = Killed()
    for trial in progress.track(range(KILLS), description="killing"):
        name = f"trial{trial}"
        process = place.start(curation, name, "run", "--partition", NIGHT)
        time.sleep(moments.uniform(0, length))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        with place.opened(name, DATASET) as store:
            left = data_objects(store)
        place.run(curation, name, "run", "--partition", NIGHT)
        with place.opened(name, DATASET) as store:
            now = data_objects(store)
            found.finished += len(left)
            found.repeated += sum(now.get(path) != put for path, put in left.items())
            found.different += contents(store) != expected
            found.commits = max(found.commits, most_commits(store))
            store.vacuum()
            listed = {path for table in TABLES for path in store.file_uris(table)}
            found.strays += len({path for path in data_objects(store) if ".parquet" in path} - listed)
    return found


def data_objects(store: Store) -> dict[str, int]:
    """Shards and states, each with the time at which it was put."""
    selector = FileSelector(store.path, recursive=True, allow_not_found=True)
    return {
        info.path: info.mtime_ns
        for info in store.filesystem.get_file_info(selector)
        if "/partition=" in info.path or "/_states/" in info.path
        if info.is_file
    }


def most_commits(store: Store) -> int:
    """The most commits that a table got for the night."""
    histories = [store.history(table) for table in TABLES if table != "releases" and store.refs(table)]
    return max(sum(bool(commit.get("partition") == NIGHT) for commit in history) for history in histories)
