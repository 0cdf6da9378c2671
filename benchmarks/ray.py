"""A Ray cluster against threads: the same bytes, what a second worker is worth, and a worker killed.

Every run is `winnow run` in a process of its own, on a local Ray cluster that the process starts, all
against one Prefect server. Bytes are those of the data files, byte for byte and name for name. What is
timed is the teach stage alone, from its first task to its commit, as the store keeps it: four folds of
a small convolutional network on digits, on one Ray worker and on two. The cluster's start lies before
it, and so does ingest, whose shards wake the workers.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from rich.progress import Progress

from benchmarks._chain import CURATIONS
from benchmarks._data import DATA
from benchmarks._prefect import prefect_server
from benchmarks.figures import Figure
from benchmarks.kills import NIGHT, finish, start
from storage.store import Store
from storage.tables import TABLES

RAY = {"kind": "ray", "workers": 2}
CONVNET = {"teachers": [{"kind": "convnet", "min_steps": 2400, "max_steps": 2400}], "folds": 4}
LINEAR = {"teachers": [{"kind": "linear"}], "folds": 4}


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        # A curation's data lies relative to its file, and these are copies.
        environment.setdefault("WINNOW_DATA", str(DATA))
        task = progress.add_task("digits and Fashion-MNIST, by threads and on Ray", total=7)

        def curated(curation: str, shard_rows: int, store: str, **sections: Any) -> tuple[Path, Store]:
            found = write(folder / store, curation, shard_rows=shard_rows, **sections)
            finish(found[0], folder / store, environment)
            progress.advance(task)
            return found

        threads = {"kind": "threads", "workers": 2}
        # Few labels change hands here, so nothing may stand in the way of the last stage.
        fashion = {"source": {"days": 12}, "teach": LINEAR, "gates": []}
        _, digits_threads = curated("digits", 100, "digits-threads", runner=threads)
        _, digits_ray = curated("digits", 100, "digits-ray", runner=RAY)
        _, fashion_threads = curated("fashion_mnist", 1000, "fashion-threads", runner=threads, **fashion)
        _, fashion_ray = curated("fashion_mnist", 1000, "fashion-ray", runner=RAY, **fashion)
        seconds = {}
        for workers in (1, 2):
            runner = {**RAY, "workers": workers}
            _, store = curated("digits", 100, f"workers-{workers}", runner=runner, teach=CONVNET)
            seconds[workers] = teach_seconds(store)
        path, killed = write(folder / "killed", "digits", shard_rows=100, runner=RAY)
        kills = finish_with_kills(path, folder / "killed", environment)
        progress.advance(task)
        return [
            Figure("data files compared, digits", len(file_bytes(digits_ray))),
            Figure("of them other bytes than threads'", unlike(digits_threads, digits_ray), "", "= 0"),
            Figure("rows compared, Fashion-MNIST", rows_of(fashion_ray), "rows"),
            Figure("data files compared, Fashion-MNIST", len(file_bytes(fashion_ray))),
            Figure("of them other bytes than threads'", unlike(fashion_threads, fashion_ray), "", "= 0"),
            Figure("teach with four folds, one Ray worker", seconds[1], "s"),
            Figure("teach with four folds, two Ray workers", seconds[2], "s"),
            Figure("speed of two workers over one", seconds[1] / seconds[2], "", "≥ 1.5"),
            Figure("Ray workers killed with -9 in mid-task", kills, "", "= 2"),
            Figure(
                "data files that the killed run made otherwise", unlike(digits_threads, killed), "", "= 0"
            ),
        ]


def write(
    folder: Path, curation: str, shard_rows: int, runner: dict[str, Any], **sections: Any
) -> tuple[Path, Store]:
    """An example curation with other sections, and the store that it gets in `folder`."""
    text = (CURATIONS / f"{curation}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    for name, section in sections.items():
        document[name] = {**document[name], **section} if name == "source" else section
    document["runner"] = {**runner, "shard_rows": shard_rows}
    folder.mkdir()
    path = folder / f"{curation}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path, Store(str(folder), document["dataset"])


def finish_with_kills(curation: Path, store: Path, environment: dict[str, str]) -> int:
    """Run to the end, killing a worker in the middle of a fit and another in the middle of an apply."""
    driver = start(curation, store, environment)
    kills = kill_worker(driver, "fit") + kill_worker(driver, "apply")
    _, errors = driver.communicate()
    if driver.returncode:
        raise RuntimeError(f"a run that lost {kills} workers failed: {errors[-2000:]}")
    return kills


def kill_worker(driver: subprocess.Popen[Any], task: str) -> bool:
    """Wait until a Ray worker of the driver's own cluster is in that task, and kill it with -9; whether
    there was one before the driver ended."""
    while driver.poll() is None:
        for worker in workers_of(driver.pid, task):
            time.sleep(0.1)  # into the task
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False


def workers_of(driver: int, task: str) -> list[int]:
    """The processes that Ray calls by what they do, below the raylet that the driver started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    parents, workers = {}, []
    for line in listed.stdout.splitlines():
        pid, parent, *command = line.split()
        parents[int(pid)] = int(parent)
        if command and command[0] == f"ray::{task}":
            workers.append(int(pid))
    return [pid for pid in workers if parents.get(parents[pid]) == driver]


def teach_seconds(store: Store) -> float:
    """How long the stage took, as its commit noted."""
    ref = store.ref("soft_labels", NIGHT)
    assert ref is not None
    return float(store.info(ref)["seconds"])


def rows_of(store: Store) -> int:
    ref = store.ref("rows", NIGHT)
    return ref.rows if ref else 0


def file_bytes(store: Store) -> dict[str, str]:
    """The hash of each current data file, by its path in the data set."""
    return {
        uri.removeprefix(store.path): hashlib.sha256(Path(uri).read_bytes()).hexdigest()
        for table in TABLES
        if table != "releases"
        for uri in store.file_uris(table)
    }


def unlike(expected: Store, found: Store) -> int:
    """How many data files are not the same in both; an empty store is no agreement, and counts as one."""
    one, other = file_bytes(expected), file_bytes(found)
    return len(set(one.items()) ^ set(other.items())) if one else 1
