"""What a command costs before it does anything: help, a run with nothing to do, a run without a server.

Whole processes, medians of five. The start-up of a run is its wall time less the seconds that its
stages noted: interpreter, imports, Prefect's temporary server, publishing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from benchmarks._chain import CURATIONS, REPOSITORY
from benchmarks.figures import Figure

ROUNDS, NIGHT = 5, "2026-01-01"


def run(progress: Progress) -> list[Figure]:
    helped, idle, started = [], [], []
    with tempfile.TemporaryDirectory() as name:
        environment = {**os.environ, "PREFECT_HOME": f"{name}/prefect"}
        environment.pop("PREFECT_API_URL", None)
        curation = Path(name) / "digits.yaml"
        text = (CURATIONS / "digits.yaml").read_text(encoding="utf-8")
        curation.write_text(text.replace(", {kind: convnet}", ""), encoding="utf-8")
        command = ("run", str(curation), "--partition", NIGHT)
        first = seconds(command, environment, Path(name) / "first")
        for number in progress.track(range(ROUNDS), description="starting"):
            store = Path(name) / str(number)
            helped.append(seconds(("--help",), environment, store))
            started.append(seconds(command, environment, store) - in_stages(store))
            idle.append(seconds(command, environment, store))
        first -= in_stages(Path(name) / "first")
    return [
        Figure("winnow --help", statistics.median(helped), "s", "≤ 1"),
        Figure("winnow run with nothing to do", statistics.median(idle), "s", "≤ 3"),
        Figure("start-up of a run without a server", statistics.median(started), "s"),
        Figure("the same, the first time on a machine", first, "s"),
    ]


def seconds(arguments: tuple[str, ...], environment: dict[str, str], store: Path) -> float:
    """Wall time of one command line. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        cwd=REPOSITORY,
        env={**environment, "WINNOW_STORE": str(store)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def in_stages(store: Path) -> float:
    """The seconds that the stages of the night noted at their commits."""
    from storage.store import Store
    from tasks.stages import STAGES

    opened = Store(str(store), "digits")
    refs = [opened.ref(stage.table, NIGHT) for stage in STAGES.values()]
    return sum(float(opened.info(ref)["seconds"]) for ref in refs if ref is not None)
