"""What the benchmarks on CIFAR-10N share: its curations run, and what their stores hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import yaml
from rich.progress import Progress

from benchmarks._chain import CURATIONS, Chain, run_chain
from benchmarks._data import DATA
from storage.classes import vocabulary
from storage.store import Store
from tasks.config import load
from tasks.data import Decisions, Issues, Labelled, SoftLabels, ints_or_minus_one, keys_of
from tasks.detect import Detector, Window

TEACHERS = (
    "efficientnet_b1",
    "resnet18",
    "resnet50d",
    "swin_base_patch4_window7_224",
    "twins_pcpvt_base",
)


@dataclass(frozen=True)
class Curated:
    """A curated store. truth: (n,) int32."""

    store: Store
    chain: Chain
    truth: np.ndarray
    keys: np.ndarray

    def opinion(self, teacher: str) -> SoftLabels:
        """A teacher's soft labels as they are stored."""
        soft = self.store.read(self.store.refs("soft_labels"))
        labels = ints_or_minus_one(self.store.read(self.store.refs("rows"), ["label"])["label"])
        named = soft.filter(pc.equal(soft["teacher"], teacher))
        return SoftLabels.from_arrow(named, labels, len(vocabulary(self.store)))

    def rows(self, ensemble: str) -> Labelled:
        """All rows as a detector sees them."""
        soft = self.opinion(ensemble)
        opinions = tuple(self.opinion(teacher) for teacher in TEACHERS)
        return Labelled(soft.ids, self.keys, np.ones(len(soft), dtype=bool), soft, opinions)

    def issues(self, detector: str) -> Issues:
        found = self.store.read(self.store.refs("issues"))
        return Issues.from_arrow(found.filter(pc.equal(found["detector"], detector)))

    def metrics(self) -> dict[str, float]:
        """Every figure by name."""
        found = self.store.read(self.store.refs("metrics"), ["name", "value"])
        return dict(zip(found["name"].to_pylist(), found["value"].to_pylist(), strict=True))

    def decisions(self) -> Decisions:
        return Decisions.from_arrow(self.store.read(self.store.refs("labels")))


@contextmanager
def curated(name: str, progress: Progress, **changes: Any) -> Iterator[Curated]:
    """The curation `name`, with other top-level keys, run by the whole chain in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = CURATIONS / f"{name}.yaml"
        if changes:
            # Where the file lies decides what its relative paths mean, so they are made absolute first.
            raw = yaml.safe_load(path.read_text().replace("../../shared/data", str(DATA)))
            path = Path(folder) / f"{name}.yaml"
            path.write_text(yaml.safe_dump({**raw, **changes}))
        (partition,) = load(path).source.partitions()
        chain = run_chain(path, [partition], Path(folder), progress)
        store = Store(folder, load(path).dataset)
        rows = store.read(store.refs("rows"), ["truth", "content_hash"])
        yield Curated(store, chain, ints_or_minus_one(rows["truth"]), keys_of(rows["content_hash"]))


def judged(detector: Detector, rows: Labelled) -> Issues:
    """A detector's findings on rows that are their own window."""
    window = Window.of(rows)
    return detector.apply(rows, detector.fit(window), window)


def bare(soft: SoftLabels) -> Labelled:
    """Rows that there is nothing to judge by but soft labels."""
    n = len(soft)
    return Labelled(soft.ids, np.arange(n, dtype=np.uint64), np.ones(n, dtype=bool), soft)
