"""Distilled Fashion-MNIST at the end of the chain: sets from given, from curated and from clean labels.

The chain curates the 60,000 rows of `curations/fashion_mnist.yaml`, 10% of whose labels were made wrong, as
one night. Sets of ten images a class are then made from the given labels, from the curated ones (rows
whose label may be relied on, as the distill stage takes them) and from the true ones, and judged as in
`distilled`: a student with hard labels, the true labels of the 10,000 test images, three seeds.

More than half an hour on two cores; `benchmarks/_distilled.py` says how it goes on after a kill.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import Progress

from benchmarks._chain import run_chain
from benchmarks._data import fashion_mnist
from benchmarks._distilled import CLEAN, FOLDER, Learner, judged, pictures, relabel_rows
from benchmarks._fashion import NIGHT, one_night
from benchmarks.figures import Figure
from storage.store import Store
from tasks.config import load
from tasks.data import TRUSTED, ints_or_minus_one

SEEDS, WIDTH, STEPS = 3, 128, 300
METHODS = ("random", "herding", "matching")
GIVEN, CURATED = "given", "curated"


def run(progress: Progress) -> list[Figure]:
    if not (FOLDER / f"labels-{CURATED}.npz").exists():
        curate(progress)
    learners = [
        Learner(method, 10, "hard", WIDTH, STEPS, seed, labels)
        for method in METHODS
        for labels in (GIVEN, CURATED, CLEAN)
        for seed in range(SEEDS)
    ]
    found = judged(learners, progress)
    figures = [Figure(f"labels that are right, {labels}", right(labels)) for labels in (GIVEN, CURATED)]
    for method in METHODS:
        accuracies = {
            labels: [found[one]["accuracy"] for one in learners if (one.method, one.rows) == (method, labels)]
            for labels in (GIVEN, CURATED, CLEAN)
        }
        for labels, values in accuracies.items():
            name = f"accuracy, {method}, from {labels} labels"
            figures += [Figure(name, mean(values)), Figure(f"{name} (std)", stdev(values))]
        gains = [100 * (a - b) for a, b in zip(accuracies[CURATED], accuracies[GIVEN], strict=True)]
        name = f"{method}: curated above given"
        figures += [Figure(name, mean(gains), "points"), Figure(f"{name} (std)", stdev(gains), "points")]
    return figures


def curate(progress: Progress) -> None:
    """Both kinds of labels by the place of the row in the training file, -1 for rows left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = one_night(Path(folder), reinforce=None)
        run_chain(path, [NIGHT], Path(folder) / "store", progress)
        curation = load(path, store=str(Path(folder) / "store"))
        store = Store(curation.store, curation.dataset)
        rows = store.read(store.refs("rows"), ["id", "label"])
        decided = store.read(store.refs("labels"), ["id", "label", "action"])
    trusted = np.isin(decided["action"].to_numpy(), TRUSTED)
    ids = pa.array(fashion_mnist("train").ids, pa.string())
    place = pc.index_in(ids, rows["id"].combine_chunks()).fill_null(-1).to_numpy()
    for name, labels in (
        (GIVEN, ints_or_minus_one(rows["label"])),
        (CURATED, np.where(trusted, ints_or_minus_one(decided["label"]), -1)),
    ):
        relabel_rows(name, np.append(labels, -1)[place].astype(np.int32))


def right(labels: str) -> float:
    """The share of the rows that a set may be made of whose label is the true one."""
    known, true = pictures(labels)[0].labels, pictures()[0].labels
    return float((known == true)[known >= 0].mean())
