"""Twenty triggers of one date at once: is it curated once? And a holder that is killed, or put to sleep?

Sixteen commands from four processes and four flow runs of a deployment, created through the API of a Prefect
server and started by a worker, ask for the same night at the same time. Then, each in a store of its own: the
process that curates is killed with -9, and another command given at once; and it is stopped (SIGSTOP),
so that its lease runs out, commands are given until one takes over, and it is woken while that one works.
Every process writes down which pieces of work it begins and ends (`benchmarks._journal`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks import _journal
from benchmarks._chain import REPOSITORY
from benchmarks._prefect import prefect_server
from benchmarks._scenes import Ended, Scene, contents, digits
from benchmarks.figures import Figure
from storage import releases
from storage.leases import live
from storage.store import Store
from storage.tables import TABLES

NIGHT, ROWS = "2026-01-01", 1_200
PROCESSES, COMMANDS_EACH, FLOW_RUNS = 4, 4, 4
RUN = ("run", "--partition", NIGHT)
SLOW = {"report": {"seeds": 3, "steps": 6_000}}
"""A night that takes longer than twenty processes need to start, so that they meet."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
BUSY, DONE = "is being worked on by run", ("is up to date (release", "is in release")


@dataclass(frozen=True)
class Takeover:
    """seconds: from the kill or the stop until another holds the lease; first, second: how the holder and
    the other ended."""

    seconds: float
    first: Ended
    second: Ended


def run(progress: Progress) -> list[Figure]:
    task = progress.add_task("triggering", total=3)
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as server:
        folder = Path(name)
        scene = Scene(folder / "scene", server, SLOW)
        scene.arrives(NIGHT, digits(ROWS, "winnow triggers"))
        ended, states, workers, twice = at_once(scene, folder / "journal")
        store = scene.store()
        expected, commits = contents(store), most_commits(store)
        published = len(releases.listing(store))
        progress.advance(task)
        killed = take_over(scene, folder / "killed", "killed", signal.SIGKILL)
        progress.advance(task)
        stopped = take_over(scene, folder / "stopped", "stopped", signal.SIGSTOP)
        others = {name: contents(scene.store(name)) for name in ("killed", "stopped")}
        later_commits = max(most_commits(scene.store(name)) for name in others)
    said = [one.out + one.err for one in ended] + [message for _, message in states]
    told = sum(any(words in text for words in (BUSY, *DONE)) for text in said)
    clean = sum(one.code == 0 for one in ended) + sum(state == "COMPLETED" for state, _ in states)
    return [
        Figure("triggers", len(said), "", f"= {PROCESSES * COMMANDS_EACH + FLOW_RUNS}"),
        Figure("of them, through a Prefect server", len(states), "", f"= {FLOW_RUNS}"),
        Figure("triggers that curated", workers, "", "= 1"),
        Figure("pieces of work done twice", twice, "", "= 0"),
        Figure("commits of a table, at most", commits, "", "= 1"),
        Figure("releases", published, "", "= 1"),
        Figure("triggers that ended cleanly", clean, "", f"= {len(said)}"),
        Figure("triggers that said which run or release has it", told, "", f"≥ {len(said) - 1}"),
        Figure("killed: another took over after", killed.seconds, "s", "≤ 60"),
        Figure("stopped: another took over after", stopped.seconds, "s", "≤ 60"),
        Figure("stopped, then woken: its commits after that were refused", refused(stopped.first), "", "= 1"),
        Figure("commits of a table, at most, in both", later_commits, "", "= 1"),
        Figure(
            "tables with other contents after a take-over",
            sum(other[name] != expected[name] for other in others.values() for name in expected),
            f"of {2 * len(expected)}",
            "= 0",
        ),
    ]


def at_once(scene: Scene, journal: Path) -> tuple[list[Ended], list[tuple[str, str]], int, int]:
    """All triggers. How each command ended; the state and its message of each flow run; how many processes
    did some of the work, and how many pieces of it were finished twice."""
    watched = replace(scene, environment=_journal.environment(journal, scene.environment))
    with ExitStack() as stack:
        stack.enter_context(worker(watched.environment))
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        flow_runs = [create_flow_run(scene) for _ in range(FLOW_RUNS)]
        commands = [several(watched) for _ in range(PROCESSES)]
        ended = [one for group in pool.map(outputs, commands) for one in group]
        states = [final_state(scene, flow_run) for flow_run in flow_runs]
    pieces = _journal.pieces(journal)
    finished = [piece.name for piece in pieces if piece.ended is not None]
    twice = len(finished) - len(set(finished))
    return ended, states, len({piece.process for piece in pieces}), twice


TRIGGER = """
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
command = [sys.executable, "-c", "from flows.cli import main; main()", *sys.argv[2:]]
def trigger(_):
    done = subprocess.run(command, capture_output=True, text=True)
    return [done.stdout, done.stderr, done.returncode]
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    print(json.dumps(list(pool.map(trigger, range(int(sys.argv[1]))))))
"""
"""A process that gives the same command several times at once, and tells how each ended."""


def several(scene: Scene) -> subprocess.Popen[str]:
    verb, *options = RUN
    return subprocess.Popen(
        [sys.executable, "-c", TRIGGER, str(COMMANDS_EACH), verb, str(scene.curation), *options],
        cwd=REPOSITORY,
        env=scene.environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def outputs(process: subprocess.Popen[str]) -> list[Ended]:
    out, _ = process.communicate()
    return [Ended(process.pid, *one) for one in json.loads(out)]


@contextmanager
def worker(environment: Mapping[str, str]) -> Iterator[None]:
    """The deployment, and a worker that starts its flow runs."""
    prefect = [sys.executable, "-m", "prefect"]
    options: dict[str, Any] = {"cwd": REPOSITORY, "env": environment, "stdout": subprocess.DEVNULL}
    subprocess.run([*prefect, "work-pool", "create", "winnow", "--type", "process"], check=True, **options)
    subprocess.run([*prefect, "--no-prompt", "deploy", "--name", "curate"], check=True, **options)
    command = [*prefect, "worker", "start", "--pool", "winnow"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:  # a busy worker may miss the first signal while it starts
                process.kill()


def create_flow_run(scene: Scene) -> str:
    """A flow run of the deployment; its id."""
    deployment = ask(scene, "deployments/name/curate-partition/curate")["id"]
    target = {"curation": str(scene.curation), "partition": NIGHT}
    asked = {"parameters": {"target": target}, "state": {"type": "SCHEDULED"}}
    return str(ask(scene, f"deployments/{deployment}/create_flow_run", asked)["id"])


def final_state(scene: Scene, flow_run: str, seconds: float = 300) -> tuple[str, str]:
    """How a flow run ended, and the message of that state."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = ask(scene, f"flow_runs/{flow_run}")["state"]
        if state["type"] in FINAL:
            return state["type"], state["message"] or ""
        time.sleep(0.5)
    raise RuntimeError(f"flow run {flow_run} is still {state['name']} after {seconds:.0f} s")


def ask(scene: Scene, path: str, body: Any = None) -> Any:
    """The server's API, asked again for a minute while its database is busy."""
    request = urllib.request.Request(
        f"{scene.environment['PREFECT_API_URL']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(1)


def take_over(scene: Scene, journal: Path, store: str, how: signal.Signals) -> Takeover:
    """Start a run, kill or stop it in the middle of its first training, and have others take over."""
    verb, *options = RUN
    watched = replace(scene, environment=_journal.environment(journal, scene.environment))
    holder = watched.start(verb, *options, store=store)
    while not any(piece.name.startswith("fit teach") for piece in _journal.pieces(journal)):
        if holder.poll() is not None:
            raise RuntimeError(f"the first run ended before it trained: {holder.communicate()[1][-2000:]}")
        time.sleep(0.05)
    os.killpg(holder.pid, how)
    started = time.monotonic()
    other = watched.start(verb, *options, store=store)
    while not holds(scene.store(store), other):
        if other.poll() is not None:
            _, said = other.communicate()
            if BUSY not in said or time.monotonic() - started > 300:
                raise RuntimeError(f"nobody took over: {said[-2000:]}")
            other = watched.start(verb, *options, store=store)
        time.sleep(0.05)
    seconds = time.monotonic() - started
    if how == signal.SIGSTOP:
        os.killpg(holder.pid, signal.SIGCONT)
    second = Ended(other.pid, *other.communicate(), other.returncode)
    first = Ended(holder.pid, *holder.communicate(), holder.returncode)
    if second.code:
        raise RuntimeError(f"the run that took over failed: {second.err[-2000:]}")
    return Takeover(seconds, first, second)


def holds(store: Store, process: subprocess.Popen[str]) -> bool:
    """Whether a process holds the night's lease."""
    holder = live(store, NIGHT)
    return holder is not None and f"(process {process.pid} on " in holder


def refused(ended: Ended) -> int:
    """Whether a run gave up since another had taken over: exit code 1, and a sentence that says so."""
    return int(ended.code == 1 and "was taken over while this process was away" in ended.err)


def most_commits(store: Store) -> int:
    """The most commits that a table got for the night."""
    histories = [store.history(table) for table in TABLES if table != "releases" and store.refs(table)]
    return max(sum(bool(commit.get("partition") == NIGHT) for commit in history) for history in histories)
