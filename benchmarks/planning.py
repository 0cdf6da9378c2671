"""What the orchestrator costs in a store of ten thousand partitions: planning, memory, and one more night.

The first night is curated for real, every stage of it, from a Parquet file of digits. The other 9,999
are then made to look as if they had been: for each, a file arrives; each stage's fingerprint is worked
out as planning would; the night's data files are linked under the names that go with it; and its commit
is written into the Delta log, a version a night, as the real one was but for names, so the logs are as
long as ten thousand nights leave them. A checkpoint every thousand versions stands in for those that Delta
writes every hundred. One backfill with a receipt for each is in the ledger.

Then `winnow plan`, a process of its own each time, plans all partitions when nothing is to be done, and
when a changed method makes every one of them stale; and a new night of other digits arrives and is
curated with `winnow run`. The same is done with a thousand partitions first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from deltalake import DeltaTable
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks._prefect import prefect_server
from benchmarks.figures import Figure
from storage import releases
from storage.ledger import Ledger, Receipt
from storage.store import Store
from tasks.config import Curation, load
from tasks.plan import Planner, fingerprint
from tasks.stages.base import Stage

FEW, MANY = 1_000, 10_000
ROWS = 100
FIRST = date(2000, 1, 1)
CHECKPOINT = 1_000
CURATION: dict[str, Any] = {
    "dataset": "digits",
    "store": "./store",
    "window": 3,
    "source": {
        "kind": "parquet",
        "path": "arrived/{partition}.parquet",
        "label": "label",
        "image": "image",
        "image_shape": [8, 8, 1],
    },
    "ingest": {"filters": [{"kind": "exact_duplicates"}], "encoder": {"kind": "pixels"}},
    "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "reinforce": {"kind": "crops", "draws": 1},
    "distill": {"kind": "herding", "per_class": 1},
    "report": {"steps": 50},
}


@dataclass(frozen=True)
class Ran:
    """How a command ended: seconds of wall time, and its largest resident memory."""

    seconds: float
    peak_bytes: int
    out: str


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        task = progress.add_task("planning", total=2 * (3 * MANY + FEW))
        measured = {}
        for n in (FEW, MANY):
            (folder / str(n)).mkdir()
            measured[n] = measure(folder / str(n), n, environment)
            progress.advance(task, 3 * n)
    few, many = measured[FEW], measured[MANY]
    return [
        Figure("partitions", MANY, "", "= 10000"),
        Figure("stages planned for each", many.stages),
        Figure("winnow plan, nothing to do", many.nothing.seconds, "s", "≤ 10"),
        Figure("the same with 1,000 partitions", few.nothing.seconds, "s"),
        Figure("winnow plan, a changed method makes all stale", many.stale.seconds, "s", "≤ 10"),
        Figure("resident memory of winnow plan", mebibytes(many.stale.peak_bytes), "MiB"),
        Figure(
            "of it more than with 1,000 partitions",
            mebibytes(many.stale.peak_bytes - few.stale.peak_bytes),
            "MiB",
        ),
        Figure("one more night, planned within a run", many.night_planned, "s"),
        Figure("one more night, curated and published", many.night.seconds, "s"),
        Figure("the same with 1,000 partitions", few.night.seconds, "s"),
        Figure(
            "resident memory of that night more than with 1,000 partitions",
            mebibytes(many.night.peak_bytes - few.night.peak_bytes),
            "MiB",
            "≤ 256",
        ),
    ]


@dataclass(frozen=True)
class Measured:
    """What one size of store costs. night_planned: seconds, in a process that runs already."""

    stages: int
    nothing: Ran
    stale: Ran
    night_planned: float
    night: Ran


def measure(folder: Path, n: int, environment: dict[str, str]) -> Measured:
    path = folder / "digits.yaml"
    write(path, CURATION)
    names = [(FIRST + timedelta(days=day)).isoformat() for day in range(n + 1)]
    digits = images()
    (folder / "arrived").mkdir()
    pq.write_table(digits.slice(0, ROWS), folder / f"arrived/{names[0]}.parquet")
    winnow(environment, "run", path, "--partition", names[0])
    curation = load(path)
    pretend(curation, names[0], names[1:n])
    nothing = winnow(environment, "plan", path)
    if f"0 of {n:,} partitions to run" not in nothing.out:
        raise RuntimeError(f"partitions that were made to look curated do not: {nothing.out[-500:]}")
    write(path, {**CURATION, "relabel": {"kind": "threshold", "fix_at": 0.9}})
    stale = winnow(environment, "plan", path)
    write(path, CURATION)
    pq.write_table(digits.slice(ROWS, ROWS), folder / f"arrived/{names[n]}.parquet")
    started = time.perf_counter()
    stages = Planner(curation, Store(curation.store, curation.dataset)).partition(names[n])
    planned = time.perf_counter() - started
    night = winnow(environment, "run", path, "--partition", names[n])
    return Measured(len(stages), nothing, stale, planned, night)


def write(path: Path, curation: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(curation), encoding="utf-8")


def images() -> pa.Table:
    """Digits of scikit-learn as raw pixels with their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * 15.9375).astype(np.uint8)  # 0..16 to 0..255
    return pa.table(
        {"label": [str(label) for label in digits.target], "image": [image.tobytes() for image in pixels]}
    )


def pretend(curation: Curation, real: str, others: Sequence[str]) -> None:
    """Make partitions look as if they had arrived and been curated just as `real` was."""
    arrived = Path(curation.store).parent / "arrived"
    for name in others:
        os.link(arrived / f"{real}.parquet", arrived / f"{name}.parquet")
    store = Store(curation.store, curation.dataset)
    stages = Planner(curation, store).stages
    for stage in stages:
        nights = list(pretended(curation, store, stage, real, others))
        for table in stage.tables:
            append(store, table, nights)
    ledger = Ledger(store)
    planned = ledger.begin("backfill", {}, dict.fromkeys(others, "has not run yet"))
    for name in others:
        receipt = Receipt(name, "done", seconds=10.0, rows=ROWS, stages=tuple(stage.name for stage in stages))
        ledger.record(planned.run, receipt)
    ledger.end(planned.run, "done")
    releases.publish(store, others[-1], planned.run, [], releases.versions(store), releases.PUBLISHED)


@dataclass(frozen=True)
class Night:
    """What a stage's commit of a partition says of how it was made."""

    partition: str
    fingerprint: str
    parts: dict[str, str]
    parents: list[Any]


def pretended(
    curation: Curation, store: Store, stage: Stage, real: str, others: Sequence[str]
) -> Iterator[Night]:
    """How the stage would make each of the partitions, whose inputs are there."""
    # A night's duplicates are looked for in all earlier nights, so that what it is made from depends on
    # what those hold: the same as the real one.
    like = [ref for table in stage.tables if (ref := store.ref(table, real))]
    held = [replace(ref, partition=name, version=v) for ref in like for v, name in enumerate(others, 2)]
    planner = Planner(curation, store, held)
    for name in others:
        plan = planner.stage(stage, name)
        assert plan.inputs is not None
        parents = [noted for window in plan.inputs.values() for noted in window.summary]
        yield Night(name, fingerprint(stage.name, name, plan.parts), dict(plan.parts), parents)


def append(store: Store, table: str, nights: Sequence[Night]) -> None:
    """Link the real night's files for each other one, and write its commit again in each one's name."""
    folder = Path(store.path) / table
    log = folder / "_delta_log"
    info, *adds = map(json.loads, (log / f"{1:020d}.json").read_text(encoding="utf-8").splitlines())
    noted = json.loads(info["commitInfo"]["info"])
    for version, night in enumerate(nights, 2):
        (folder / f"partition={night.partition}").mkdir()
        made = {
            **info["commitInfo"],
            "partition": night.partition,
            "fingerprint": night.fingerprint,
            "parents": json.dumps(night.parents),
            "info": json.dumps({**noted, "parts": night.parts}, sort_keys=True),
        }
        actions: list[dict[str, Any]] = [{"commitInfo": made}]
        for action in adds:
            file = Path(action["add"]["path"]).name.replace(
                info["commitInfo"]["fingerprint"], night.fingerprint
            )
            path = f"partition={night.partition}/{file}"
            os.link(folder / action["add"]["path"], folder / path)
            values = {**action["add"]["partitionValues"], "partition": night.partition}
            actions.append({"add": {**action["add"], "path": path, "partitionValues": values}})
        lines = "\n".join(map(json.dumps, actions))
        (log / f"{version:020d}.json").write_text(lines, encoding="utf-8")
        if version % CHECKPOINT == 0:
            DeltaTable(str(folder)).create_checkpoint()


def winnow(environment: dict[str, str], *arguments: str | Path) -> Ran:
    """One command in a process of its own. Raises RuntimeError if it fails."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"winnow {' '.join(map(str, arguments))} failed: {err.read()[-2000:].decode()}"
            )
        return Ran(seconds, usage.ru_maxrss * 1024, out.read().decode())


def mebibytes(n: int) -> float:
    return n / 2**20
