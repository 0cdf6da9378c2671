"""What scenes with many small nights share: digits dealt into Parquet files, a cheap curation, one
Prefect server, the command line as a process, and what a store holds in the end.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks._chain import REPOSITORY
from storage.store import Store
from storage.tables import TABLES

DATASET = "nights"
CURATION: dict[str, Any] = {
    "dataset": DATASET,
    "store": "./store",
    "classes": [str(digit) for digit in range(10)],
    "window": "partition",
    "source": {
        "kind": "parquet",
        "path": "incoming/{partition}.parquet",
        "label": "label",
        "truth": "truth",
        "image": "image",
        "image_shape": [8, 8, 1],
    },
    "ingest": {"encoder": {"kind": "pixels"}},
    "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "distill": {"kind": "herding", "per_class": 1},
    "report": {"seeds": 1, "steps": 20},
    "runner": {"kind": "threads", "workers": 1},
}
"""Every stage but views, at a size that takes little more than the orchestration of it."""
NOISE = 0.08
"""The share of labels that are made wrong."""


@dataclass(frozen=True)
class Scene:
    """A folder with a curation and what has arrived for it; `environment` is what commands get."""

    folder: Path
    environment: Mapping[str, str]
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.incoming.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({**CURATION, **self.changes}, sort_keys=False)
        self.curation.write_text(text, encoding="utf-8")

    @property
    def curation(self) -> Path:
        return self.folder / "nights.yaml"

    @property
    def incoming(self) -> Path:
        return self.folder / "incoming"

    def store(self, name: str = "store") -> Store:
        return Store(str(self.folder / name), DATASET)

    def arrives(self, night: str, rows: pa.Table) -> None:
        """The file appears whole, as a delivery should."""
        file = self.incoming / f"{night}.parquet"
        pq.write_table(rows, file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)

    def start(self, verb: str, *options: str, store: str = "store") -> subprocess.Popen[str]:
        """The command line, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import main; main()", verb, str(self.curation), *options],
            cwd=REPOSITORY,
            env={**self.environment, "WINNOW_STORE": str(self.folder / store)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, verb: str, *options: str, store: str = "store", code: int | None = 0) -> Ended:
        """Run to the end. Raises RuntimeError if it ends with another code than `code`, if one is given."""
        process = self.start(verb, *options, store=store)
        ended = Ended(process.pid, *process.communicate(), process.returncode)
        if code is not None and ended.code != code:
            raise RuntimeError(
                f"winnow {verb} ended with {ended.code}: {ended.err[-2000:]}{ended.out[-2000:]}"
            )
        return ended


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    process: int
    out: str
    err: str
    code: int


def nights(first: str, count: int) -> list[str]:
    """So many consecutive dates."""
    return [str(date.fromisoformat(first) + timedelta(days=day)) for day in range(count)]


def digits(rows: int, seed: str) -> pa.Table:
    """The first `rows` of scikit-learn's digits in an order drawn from `seed`, with NOISE of the labels
    wrong: label, truth, and the 64 bytes of the image."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    order = rng.permutation(len(found.target))[:rows]
    truth = found.target[order]
    wrong = rng.random(rows) < NOISE
    label = np.where(wrong, (truth + rng.integers(1, 10, rows)) % 10, truth)
    images = np.round(found.data[order] * (255 / 16)).astype(np.uint8)
    return pa.table(
        {
            "label": pa.array(label.astype(str)),
            "truth": pa.array(truth.astype(str)),
            "image": pa.array([image.tobytes() for image in images], pa.binary()),
        }
    )


def deal(rows: pa.Table, names: Sequence[str]) -> dict[str, pa.Table]:
    """The rows in runs of nearly equal length, one a night."""
    n, m = rows.num_rows, len(names)
    return {name: rows.slice(n * i // m, n * (i + 1) // m - n * i // m) for i, name in enumerate(names)}


def contents(store: Store) -> dict[str, str]:
    """The content hash of every partition of every table, by "table partition"."""
    return {
        f"{table} {ref.partition}": ref.content
        for table in TABLES
        if table != "releases"
        for ref in store.refs(table)
    }


def images_kept(store: Store) -> Counter[tuple[str, bytes]]:
    """How often each image is a row, by partition and hash."""
    found: Counter[tuple[str, bytes]] = Counter()
    for ref in store.refs("rows"):
        hashes = store.read([ref], ["content_hash"])["content_hash"].to_pylist()
        found.update((ref.partition, str(value).encode()) for value in hashes)
    return found


def images_given(dealt: Mapping[str, pa.Table]) -> Counter[tuple[str, bytes]]:
    """The same of what arrived."""
    return Counter(
        (night, hashlib.sha256(image).hexdigest().encode())
        for night, rows in dealt.items()
        for image in rows["image"].to_pylist()
    )


def children(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Its children, theirs, and so on."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def kill(pids: Sequence[int]) -> None:
    """kill -9, whether or not they still live."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
