"""Running the chain for a benchmark: in a process of its own, so that seconds and memory are its own.

`python -m benchmarks._chain CURATION PARTITION…` curates the partitions one after the other, as
`winnow run` would, and prints a JSON line. The share of wall time outside of methods is what Prefect,
the store and the runner cost: wall time during which no stage was in its fit or apply.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

REPOSITORY = Path(__file__).resolve().parent.parent
CURATIONS = REPOSITORY / "curations"


@dataclass(frozen=True)
class Chain:
    """What a run took. seconds: wall time, start-up included; method_seconds: of it, the time during
    which some stage was fitting or applying; stage_seconds: wall time by stage, over all partitions;
    peak_bytes: resident memory of the largest process."""

    seconds: float
    method_seconds: float
    stage_seconds: dict[str, float]
    peak_bytes: int


def run_chain(curation: Path, partitions: Iterable[str], store: Path, progress: Progress) -> Chain:
    """Curate the partitions into `store`. Raises RuntimeError with what the run said if it fails."""
    task = progress.add_task(f"curating {curation.stem}", total=None)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._chain", str(curation), *partitions],
        cwd=REPOSITORY,
        env={**os.environ, "WINNOW_STORE": str(store)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    progress.remove_task(task)
    if done.returncode:
        raise RuntimeError(f"curating {curation} failed:\n{done.stderr[-4000:]}")
    return Chain(seconds=seconds, **json.loads(done.stdout.splitlines()[-1]))


def main(curation_path: str, partitions: list[str]) -> None:
    from flows.engine import quiet

    quiet(verbose=False)
    from flows.curate import curate
    from flows.engine import task_runner
    from storage.store import Store
    from tasks.config import load
    from tasks.plan import enabled
    from tasks.stages import STAGES

    curation = load(curation_path)
    spans = Intervals()
    for stage in STAGES.values():
        stage.fit = spans.timed(stage.fit)  # type: ignore[method-assign]
        stage.apply = spans.timed(stage.apply)  # type: ignore[method-assign]
    flow = curate.with_options(task_runner=task_runner(curation))
    store = Store(curation.store, curation.dataset)
    stage_seconds: dict[str, float] = {}
    for partition in partitions:
        flow(curation, partition)
        for stage in enabled(curation):
            ref = store.ref(stage.table, partition)
            took = store.info(ref)["seconds"] if ref else 0.0
            stage_seconds[stage.name] = stage_seconds.get(stage.name, 0.0) + took
    largest = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    outcome = {"method_seconds": spans.union(), "stage_seconds": stage_seconds, "peak_bytes": largest * 1024}
    print(json.dumps(outcome))


class Intervals:
    """When methods were at work, from any thread."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self._spans.append((started, time.perf_counter()))

        return wrapped

    def union(self) -> float:
        """Seconds during which at least one call was under way."""
        total, end = 0.0, float("-inf")
        for start, stop in sorted(self._spans):
            total += max(stop - max(start, end), 0.0)
            end = max(end, stop)
        return total


def metrics(store: Path, dataset: str) -> dict[str, dict[str, float]]:
    """Every figure of the `metrics` table, by partition and name."""
    from storage.store import Store

    opened = Store(str(store), dataset)
    found: dict[str, dict[str, float]] = {}
    for ref in opened.refs("metrics"):
        table = opened.read(ref, ["name", "value"]).to_pydict()
        found[ref.partition] = dict(zip(table["name"], table["value"], strict=True))
    return found


def over_rows(figures: dict[str, dict[str, float]], name: str, rows: str = "rows") -> float:
    """A share over all partitions together: the mean of theirs weighted by their rows."""
    weights = [f[rows] for f in figures.values()]
    return sum(f[name] * w for f, w in zip(figures.values(), weights, strict=True)) / sum(weights)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
