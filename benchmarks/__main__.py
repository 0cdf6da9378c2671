"""`python -m benchmarks NAME [--json]` runs one benchmark, `--list` names them all.

A benchmark is a file of this folder with a `run`: it is found, not registered. Exit code 0: every
goal holds; 1: one was missed; 2: no such benchmark.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.figures import Figure, shown

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
LIBRARIES = ("cleanlab", "deltalake", "duckdb", "numpy", "polars", "prefect", "pyarrow", "torch")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure again what the documents say."
    )
    parser.add_argument("name", nargs="?", help="which benchmark to run")
    parser.add_argument("--list", action="store_true", help="name all benchmarks")
    parser.add_argument("--json", action="store_true", help="print only the result, as JSON")
    chosen = parser.parse_args(arguments)
    known = benchmarks()
    if chosen.list:
        for name, what in known.items():
            print(f"{name}  {what}")
        return 0
    if chosen.name not in known:
        asked = f"there is no benchmark {chosen.name}" if chosen.name else "name a benchmark"
        print(f"{asked}; these exist: {', '.join(known)}", file=sys.stderr)
        return 2

    people = Console(stderr=chosen.json)
    started = time.perf_counter()
    with Progress(console=people, transient=True) as progress:
        figures: list[Figure] = importlib.import_module(f"benchmarks.{chosen.name}").run(progress)
    result = {
        "name": chosen.name,
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
        "figures": [figure.as_json() for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{chosen.name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    people.print(as_table(chosen.name, figures))
    if chosen.json:
        print(json.dumps(result, ensure_ascii=False))
    return 0 if all(figure.holds for figure in figures) else 1


def benchmarks(folder: Path = FOLDER) -> dict[str, str]:
    """Names of the files that define `run`, with the first line of each one's docstring. They are
    read and not imported, so that listing costs nothing."""
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in module.body):
            found[path.stem] = (ast.get_docstring(module) or "").partition("\n")[0]
    return found


def machine() -> dict[str, Any]:
    """What a figure depends on: the processor and the versions, and nothing that says whose it is."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def processor() -> str:
    """The processor's model; Python itself only knows it on some systems."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor() or platform.machine())


def as_table(name: str, figures: list[Figure]) -> Table:
    table = Table(title=name)
    for heading in ("figure", "value", "goal", "", "peer"):
        table.add_column(heading)
    for figure in figures:
        verdict = "" if figure.goal is None else "[green]holds" if figure.holds else "[red]missed"
        table.add_row(
            figure.name, shown(figure.value, figure.unit), figure.goal or "", verdict, figure.peer or ""
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
