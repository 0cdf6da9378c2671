"""Twenty defects planted in a month of digits nights, one at a time: is each stopped before publishing?

Thirty clean nights are curated in order with `gates: standard` as it comes; every night that a gate
holds is a false alarm. Then, twenty times, a copy of the store as it was before the last night gets
that night with one defect. It is caught if its run fails and readers keep the release of the night
before. What caught it is the stage that refused it, or the gates that failed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks._defects import EXPORTS, FILES, NIGHTS, Night, month, save_model
from benchmarks._prefect import prefect_server
from benchmarks.figures import Figure
from storage import releases
from storage.releases import HELD
from storage.store import Store

SEED, DAYS, DATASET = 20261101, 30, "nights"
NAMES = [(date(2026, 11, 1) + timedelta(days)).isoformat() for days in range(DAYS)]
LAST = NAMES[-1]

CURATION: dict[str, Any] = {
    "dataset": DATASET,
    "classes": [str(digit) for digit in range(10)],
    "window": 8,
    "source": {
        "kind": "parquet",
        "id": "id",
        "label": "label",
        "split": "split",
        "features": "features",
        "feature_length": 64,
    },
    "ingest": {"encoder": {"kind": "features"}},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "report": {"seeds": 1, "steps": 200},
    "gates": "standard",
    "runner": {"kind": "threads", "workers": 1},
}


def run(progress: Progress, seed: int = SEED) -> list[Figure]:
    nights = month(NAMES, seed)
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)) as environment:
        folder = Path(name)
        clean = deliver(folder / "clean", nights, save=nights)
        with curator(environment) as curate:
            alarms = {}
            for night in progress.track(NAMES, description="clean nights"):
                if night == LAST:
                    shutil.copytree(folder / "clean/store", folder / "before")
                why = curate(clean, night)
                if why:
                    alarms[night] = caught_by(why)
                    accept(Store(str(folder / "clean/store"), DATASET))
            outcomes = {
                defect: judged(defect, folder, nights, seed, curate)
                for defect in progress.track([*NIGHTS, *EXPORTS, *FILES], description="defects")
            }
    missed = [defect for defect, why in outcomes.items() if not why]
    return [
        Figure("defects", len(outcomes), "", "= 20"),
        Figure("defects caught", len(outcomes) - len(missed), f"of {len(outcomes)}", "= 20"),
        Figure("clean nights", len(NAMES), "", "= 30"),
        Figure("false alarms", len(alarms), f"of {len(NAMES)}", "= 0"),
        *(Figure(f"{night}, clean, held by {why}", 1) for night, why in alarms.items()),
        *(
            Figure(f"{defect}: {why or 'published'}", float(bool(why)), "")
            for defect, why in outcomes.items()
        ),
    ]


def judged(defect: str, folder: Path, nights: list[Night], seed: int, curate: Curate) -> str:
    """What caught a defect in the last night; empty where it was published."""
    rng = np.random.Generator(np.random.PCG64([seed, *defect.encode()]))
    place = folder / re.sub("[^a-z0-9]+", "-", defect.lower())
    last = NIGHTS[defect](nights, rng) if defect in NIGHTS else nights[-1]
    said = EXPORTS[defect](last, rng) if defect in EXPORTS else last
    curation = deliver(place, [*nights[:-1], said], save=[last])
    if defect in FILES:
        FILES[defect](place / f"incoming/{LAST}.parquet")
    shutil.copytree(folder / "before", place / "store")
    store = Store(str(place / "store"), DATASET)
    readers_had = releases.published(store)
    why = curate(curation, LAST)
    readers_have = releases.published(store)
    shutil.rmtree(place)
    return caught_by(why) if why and readers_have == readers_had else ""


def deliver(place: Path, said: list[Night], save: list[Night]) -> Path:
    """A folder with a curation, the files of `save` and a model's export on `said`; the curation's path."""
    for night, name in zip(save, NAMES[-len(save) :], strict=True):
        night.save(place / "incoming", name)
    save_model(said, place / "model.parquet")
    source = {**CURATION["source"], "path": "incoming/{partition}.parquet"}
    teachers = [
        {"kind": "linear", "c": 0.1},
        {"kind": "precomputed", "path": "model.parquet", "teachers": ["model"]},
    ]
    changes = {"store": "store", "source": source, "teach": {"teachers": teachers, "folds": 3}}
    file = place / "nights.yaml"
    file.write_text(yaml.safe_dump({**CURATION, **changes}, sort_keys=False), encoding="utf-8")
    return file


def accept(store: Store) -> None:
    """Publish what was held for nothing, so that the nights after it are judged on their own."""
    newest = releases.listing(store)[-1]
    if newest.status == HELD:
        releases.approve(store, newest.number, "a clean night", "the benchmark")


def caught_by(why: str) -> str:
    """The gates that failed, or the sentence with which a stage refused the night."""
    if " is held: " not in why:
        return f"refused: {re.sub(r'/[^ ]*/', '', why)}"
    failed = why.partition(" is held: ")[2].rpartition("; look at it")[0]
    return ", ".join(dict.fromkeys(check.split()[0] for check in failed.split("; ")))


class Curate:
    """Curates one night after the other in a process of its own; why one failed, or nothing."""

    def __init__(self, asks: IO[str], answers: IO[str]) -> None:
        self._asks, self._answers = asks, answers

    def __call__(self, curation: Path, night: str) -> str:
        print(json.dumps([str(curation), night]), file=self._asks, flush=True)
        for line in self._answers:
            if line.startswith("{"):
                return str(json.loads(line)["why"])
        raise RuntimeError(f"the process that curates ended at {night}")


@contextmanager
def curator(environment: dict[str, str]) -> Iterator[Curate]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.defects"],
        cwd=REPOSITORY,
        env={name: value for name, value in environment.items() if name != "WINNOW_STORE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        yield Curate(process.stdin, process.stdout)
        process.stdin.close()


def main() -> None:
    """Answer each line `[curation, night]` by `{"why": …}`, empty where the night was published."""
    from flows.engine import quiet

    quiet(verbose=False)
    from flows.curate import curate
    from flows.engine import task_runner
    from storage.errors import StoreError
    from tasks.config import load
    from tasks.errors import BadInput, StageFailed

    for line in sys.stdin:
        path, night = json.loads(line)
        curation = load(path)
        why = ""
        try:
            curate.with_options(task_runner=task_runner(curation))(curation, night)
        except (BadInput, StageFailed, StoreError) as error:
            why = str(error)
        print(json.dumps({"why": why}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "120")
    main()
