"""A night that adds 1% of rows to Fashion-MNIST, against the full run: teachers used again, or refitted warm.

The curation is `curations/fashion_mnist.yaml` with `window: all`, 59,400 rows as one partition and 600
as the next. `max_steps` is raised so that the full run trains its teachers for all 16 passes over
their rows instead of stopping at 3,000 steps: against a training cut short, a night would be compared
with little more than the start of the program. Whole commands are timed, against one running
Prefect server. Rule of the first night: `growth: 0.1`, so 1% of new rows uses the teachers again. Of
the second: `growth: 0.005, start: warm`, so the same rows make it an anchor. The third is told for
comparison only: teachers trained from scratch on all 60,000 rows.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from rich.progress import Progress

from benchmarks._chain import CURATIONS
from benchmarks._prefect import prefect_server
from benchmarks._scenes import Scene
from benchmarks.figures import Figure
from tasks.config import load
from tasks.data import ints_or_minus_one

FULL, NIGHT = "2026-01-01", "2026-01-02"
ADDED = 600
MAX_STEPS = 12_000
"""More than 16 passes over the 40,000 rows that a fold's teacher sees take, so no cap is reached."""

RULES: dict[str, dict[str, Any]] = {
    "reuse": {"growth": 0.1},
    "warm": {"growth": 0.005, "start": "warm"},
    "fresh": {},
}


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        deal(folder / "incoming")
        nights = {rule: scene(folder, rule, environment) for rule in RULES}
        task = progress.add_task("a full run, then a night by each rule", total=4)
        full = seconds(nights["reuse"], FULL)
        progress.advance(task)
        took, accuracy = {}, {}
        for rule in ("warm", "fresh"):
            shutil.copytree(nights["reuse"].folder / "store", nights[rule].folder / "store")
        for rule, made in nights.items():
            took[rule] = seconds(made, NIGHT)
            accuracy[rule] = accuracy_of(made)
            progress.advance(task)
        rows = sum(ref.rows for ref in nights["reuse"].store().refs("rows"))
    return [
        Figure("rows, the night's included", rows, "rows", "= 60000"),
        Figure("full run of 59,400 rows", full, "s"),
        Figure("night of 600 rows, teachers used again", took["reuse"], "s"),
        Figure("of the full run", took["reuse"] / full, "", "< 0.05"),
        Figure("night of 600 rows, teachers refitted warm", took["warm"], "s"),
        Figure("of the full run", took["warm"] / full, "", "< 0.15"),
        Figure("night of 600 rows, teachers refitted from scratch", took["fresh"], "s"),
        *(
            Figure(f"accuracy of the night's soft labels against the truth, {rule}", value)
            for rule, value in accuracy.items()
        ),
    ]


def deal(incoming: Path) -> None:
    """The training set in its own order: all but the last rows, then those."""
    rows = pq.read_table(load(CURATIONS / "fashion_mnist.yaml").source.path)  # type: ignore[union-attr]
    incoming.mkdir()
    pq.write_table(rows.slice(0, rows.num_rows - ADDED), incoming / f"{FULL}.parquet")
    pq.write_table(rows.slice(rows.num_rows - ADDED), incoming / f"{NIGHT}.parquet")


def scene(folder: Path, rule: str, environment: Mapping[str, str]) -> Scene:
    """The shipped curation on the dealt rows, with a rule of its own for teachers."""
    changes = yaml.safe_load((CURATIONS / "fashion_mnist.yaml").read_text(encoding="utf-8"))
    del changes["dataset"], changes["source"]["days"], changes["source"]["start"]
    changes["source"]["path"] = str(folder / "incoming" / "{partition}.parquet")
    changes["window"] = "all"
    changes["teach"]["refit"] = RULES[rule]
    changes["teach"]["teachers"][0]["max_steps"] = MAX_STEPS
    return Scene(folder / rule, environment, changes)


def seconds(made: Scene, partition: str) -> float:
    """How long the command takes that curates a partition."""
    started = time.perf_counter()
    made.run("run", "--partition", partition)
    return time.perf_counter() - started


def accuracy_of(made: Scene) -> float:
    """The share of the night's rows whose likeliest class is the true one."""
    store = made.store()
    rows, soft = store.ref("rows", NIGHT), store.ref("soft_labels", NIGHT)
    assert rows
    assert soft
    truth = ints_or_minus_one(store.read(rows, ["truth"])["truth"])
    said = store.read(soft, ["teacher", "classes"]).to_pylist()
    likeliest = [row["classes"][0] for row in said if row["teacher"] == "mean"]
    return float((truth == likeliest).mean())
