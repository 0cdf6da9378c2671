"""A backfill of 60 nights under 100 `kill -9`, of its process and of its workers: lost, doubled, done twice?

The nights are digits, 29 rows each, in Parquet files; two workers curate them side by side. One backfill
is left alone. The other is killed a hundred times, at moments drawn uniformly over the work to be done:
when so many files are finished, and up to half a second later. 80 kills hit a worker, whose place the
backfill fills again; 20 hit the backfill itself, in half of them with all its workers in the same
instant, and the same command is given again. After the last kill it is left alone.

Repeated work is measured twice. By files: finished shards and states that were written again. By time:
a piece of work is a call of a stage's fit or apply; every process writes down when it begins and ends one
(`benchmarks._journal`). What a kill cut off, and what was computed though it had been before, is repeated;
its seconds are compared with those of all pieces of the undisturbed backfill.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.progress import Progress

from benchmarks import _journal
from benchmarks._prefect import prefect_server
from benchmarks._scenes import (
    Scene,
    children,
    contents,
    deal,
    descendants,
    digits,
    images_given,
    images_kept,
    kill,
    nights,
)
from benchmarks.figures import Figure
from storage import releases
from storage.files import TEMPORARY

NIGHTS, ROWS, JOBS = 60, 60 * 29, 2
KILLS = {"worker": 80, "backfill alone": 10, "backfill and its workers": 10}
LAST_KILL = 0.97
"""The share of the files that is finished at the last possible kill, so that none comes too late."""
COMMAND = ("--jobs", str(JOBS))


@dataclass
class Chaos:
    """What was done to a backfill. died: when each killed process died, by its number; restarts: how often
    the command was given again, after a kill and because it had ended with a failure; again: finished
    files that were written again."""

    kills: int = 0
    died: dict[int, float] = field(default_factory=dict)
    restarts: int = 0
    after: int = 0
    written: dict[Path, int] = field(default_factory=dict)
    again: int = 0

    def look(self, store: Path) -> int:
        """Note when each finished file was written; how many there are."""
        found = finished_files(store)
        self.again += sum(self.written.get(path, wrote) != wrote for path, wrote in found.items())
        self.written |= found
        return len(found)


def run(progress: Progress) -> list[Figure]:
    dealt = deal(digits(ROWS, "winnow backfill kills"), nights("2026-01-01", NIGHTS))
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        scene = Scene(folder / "scene", environment)
        for night, rows in dealt.items():
            scene.arrives(night, rows)
        quiet_journal, loud_journal = folder / "quiet", folder / "loud"
        task = progress.add_task("undisturbed", total=None)
        started = time.perf_counter()
        quiet = watched(scene, quiet_journal)
        quiet_again = to_the_end(quiet.start("backfill", *COMMAND, store="undisturbed"), quiet, "undisturbed")
        length = time.perf_counter() - started
        progress.remove_task(task)
        total = len(finished_files(scene.folder / "undisturbed"))
        started = time.perf_counter()
        chaos = disturb(watched(scene, loud_journal), total, progress)
        disturbed_length = time.perf_counter() - started
        expected, found = contents(scene.store("undisturbed")), contents(scene.store("disturbed"))
        useful = sum(map(seconds_of, _journal.pieces(quiet_journal)))
        wasted, cut_off = repeated(loud_journal, chaos.died)
        given, kept = images_given(dealt), images_kept(scene.store("disturbed"))
        release = releases.published(scene.store("disturbed"))
        done = sum(f"metrics {night}" in found for night in dealt)
    differing = sum(found.get(name) != expected.get(name) for name in expected.keys() | found.keys())
    return [
        Figure("kills", chaos.kills, "", f"= {sum(KILLS.values())}"),
        Figure("of them, of the backfill itself", sum(KILLS.values()) - KILLS["worker"]),
        Figure("nights curated", done, "", f"= {NIGHTS}"),
        Figure("a release holds them all", float(release is not None), "", "= 1"),
        Figure("tables of a night with other contents", differing, f"of {len(expected)}", "= 0"),
        Figure("rows lost", (given - kept).total(), "", "= 0"),
        Figure("rows doubled", (kept - given).total(), "", "= 0"),
        Figure("commands given after the last kill, until all was done", chaos.after, "", "≤ 1"),
        Figure("commands given before, since some night had failed three times", chaos.restarts),
        Figure("finished files that were written again", 100 * chaos.again / total, "%", "≤ 10"),
        Figure("pieces of work cut off", cut_off),
        Figure("seconds of work done again", 100 * wasted / useful, "%", "≤ 10"),
        Figure("seconds of work, undisturbed", useful, "s"),
        Figure("undisturbed backfill", length, "s"),
        Figure("commands given again for it, since a night had failed", quiet_again),
        Figure("the same under kills", disturbed_length, "s"),
    ]


def watched(scene: Scene, journal: Path) -> Scene:
    """The scene, whose processes write down their pieces of work."""
    return replace(scene, environment=_journal.environment(journal, scene.environment))


def disturb(scene: Scene, total: int, progress: Progress) -> Chaos:
    """Kill a backfill of `scene` as often as KILLS says, then let it come to its end."""
    draws = random.Random("winnow backfill kills")
    moments = sorted(draws.uniform(0, LAST_KILL * total) for _ in range(sum(KILLS.values())))
    targets = [target for target, times in KILLS.items() for _ in range(times)]
    draws.shuffle(targets)
    store, chaos = scene.folder / "disturbed", Chaos()
    process = scene.start("backfill", *COMMAND, store="disturbed")
    for moment, target in progress.track(list(zip(moments, targets, strict=True)), description="killing"):
        while chaos.look(store) < moment:
            process = kept_going(process, scene, chaos)
            time.sleep(0.05)
        time.sleep(draws.uniform(0, 0.5))
        process, victim = victim_of(process, target, scene, chaos, draws)
        gone = [victim] if target == "worker" else [victim, *descendants(victim)]
        kill(gone if target == "backfill and its workers" else [victim])
        chaos.died |= dict.fromkeys(gone, time.time())
        chaos.kills += 1
        chaos.look(store)
        if target != "worker":
            process.communicate()
            process = scene.start("backfill", *COMMAND, store="disturbed")
    chaos.after = to_the_end(process, scene, "disturbed")
    chaos.look(store)
    return chaos


def victim_of(
    process: subprocess.Popen[str], target: str, scene: Scene, chaos: Chaos, draws: random.Random
) -> tuple[subprocess.Popen[str], int]:
    """The backfill that goes on, and who of it is to be killed: itself, or one of the workers, for whom
    to be there is waited."""
    while True:
        process = kept_going(process, scene, chaos)
        if target != "worker":
            return process, process.pid
        workers = workers_of(process.pid)
        if workers:
            return process, draws.choice(workers)
        time.sleep(0.05)


def kept_going(process: subprocess.Popen[str], scene: Scene, chaos: Chaos) -> subprocess.Popen[str]:
    """The process; or, where it came to an end before the last kill, the same command given again, as a
    night does whose partition was killed too often to be tried once more."""
    if process.poll() is None:
        return process
    process.communicate()
    if not process.returncode:
        raise RuntimeError("the backfill was done before the last kill")
    chaos.restarts += 1
    return scene.start("backfill", *COMMAND, store="disturbed")


def to_the_end(process: subprocess.Popen[str], scene: Scene, store: str, most: int = 5) -> int:
    """Leave a backfill alone, and give its command again while it ends with a failure; how often that was.

    Raises RuntimeError after `most` times.
    """
    for again in range(most + 1):
        _, errors = process.communicate()
        if not process.returncode:
            return again
        if again < most:
            process = scene.start("backfill", *COMMAND, store=store)
    raise RuntimeError(f"the backfill goes on failing: {errors[-2000:]}")


def workers_of(pid: int) -> list[int]:
    """The children that curate; Python's own helper that tracks resources is not one."""
    found = []
    for child in children(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in command:
            found.append(child)
    return found


def finished_files(store: Path) -> dict[Path, int]:
    """Finished shards and states, with the time each was written."""
    found = {}
    for pattern in ("*/partition=*/*", "_states/*/*"):
        for path in store.glob(f"nights/{pattern}"):
            if not path.name.startswith(TEMPORARY):
                found[path] = os.stat(path).st_mtime_ns
    return found


def repeated(journal: Path, died: Mapping[int, float]) -> tuple[float, int]:
    """Seconds of pieces that were cut off, or computed though they had been; how many were cut off."""
    known: set[str] = set()
    wasted, cut_off = 0.0, 0
    for piece in sorted(_journal.pieces(journal), key=lambda piece: piece.ended or float("inf")):
        if piece.ended is None:
            cut_off += 1
            # A worker that was not there yet when its parent's were listed died with the parent.
            death = died.get(piece.process) or min(at for at in died.values() if at >= piece.began)
            wasted += death - piece.began
        elif piece.name in known:
            wasted += seconds_of(piece)
        known.add(piece.name)
    return wasted, cut_off


def seconds_of(piece: _journal.Piece) -> float:
    return 0.0 if piece.ended is None else piece.ended - piece.began
