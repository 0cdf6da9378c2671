"""Does the gate refuse a bad distilled set and let a good one pass? Fashion-MNIST, ten seeds.

Each seed has 6,000 pictures of its own, a night of the chain up to the distilled set, and its own
random rows and students. Tried are, ten examples a class and by the product's own trial (3 pairs of
students, 95% interval): mosaics learnt by distribution matching; the same with the labels of the
classes dealt out anew; pictures of noise; and random rows that are declared to be distilled. And one
example a class: herding. All of a seed are held against the same random sets.

A random set is no worse than random rows, so refusing it is a matter of luck, and how often that is
can be worked out: the last figures are the share that passes where sets and students differ as they
did here, and the share that the wider interval for a set that is itself one draw would let pass.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.progress import Progress

from benchmarks._effects import existing
from benchmarks.figures import Figure
from storage.store import Store
from tasks.config import Curation
from tasks.plan import Planner, enabled
from tasks.report.trial import Margin, margin
from tasks.stages import STAGES
from tasks.stages.base import Job

SEEDS, ROWS, NIGHT = 10, 6000, "2026-01-01"
MATCHING = {"kind": "matching", "per_class": 10, "steps": 200, "tiles": 2, "flip": True}
HERDING = {"kind": "herding", "per_class": 1}
TRIAL = {"seeds": 3, "steps": 300, "width": 32, "flip": True}
BAD = ("labels dealt anew", "noise", "random rows")
GOOD = ("matching", "herding, 1 a class")
Found = dict[str, dict[str, list[float]]]


def run(progress: Progress) -> list[Figure]:
    existing("fashion_mnist/train.parquet")
    with ProcessPoolExecutor(os.cpu_count() or 1, get_context("spawn"), one_thread) as pool:
        pending = [pool.submit(tried, seed) for seed in range(SEEDS)]
        for done in progress.track(as_completed(pending), total=SEEDS, description="seeds"):
            done.result()
    found = [each.result() for each in pending]
    figures = []
    for name in (*GOOD, *BAD):
        margins = [margin(one[name]["distilled"], one[name]["random"]) for one in found]
        passed = sum(each.low > 0 for each in margins)
        goal = f"≥ {SEEDS}" if name in GOOD else "= 0"
        figures += [
            Figure(f"{name}: passes of {SEEDS}", passed, "", goal),
            Figure(f"{name}: margin, mean", float(np.mean([each.mean for each in margins])) * 100, "points"),
            Figure(f"{name}: half the interval, mean", 100 * half(margins), "points"),
        ]
    return figures


def half(margins: list[Margin]) -> float:
    return float(np.mean([(each.high - each.low) / 2 for each in margins]))


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def tried(seed: int) -> Found:
    """Accuracies on each set and on the random sets beside it, one a pair of students."""
    found: Found = {}
    with tempfile.TemporaryDirectory() as folder:
        for distiller, names in ((MATCHING, variants(seed)), (HERDING, {"herding, 1 a class": same})):
            job = night(Path(folder), seed, distiller)
            found |= accuracies(job, names)
    return found


Variant = Callable[[Job, pa.Table], pa.Table]


def variants(seed: int) -> dict[str, Variant]:
    from tasks.stages import trying

    random = np.random.default_rng(seed)

    def dealt(job: Job, made: pa.Table) -> pa.Table:
        labels = random.permutation(made["label"].to_numpy())
        return replaced(made, classes=pa.array(labels[:, None].tolist(), pa.list_(pa.int32())))

    def noise(job: Job, made: pa.Table) -> pa.Table:
        from tasks.ingest.images import encode_png

        pixels = random.integers(0, 256, (made.num_rows, 28, 28, 1), np.uint8)
        return replaced(made, image=encode_png(pixels))

    def declared(job: Job, made: pa.Table) -> pa.Table:
        from tasks.ingest.images import encode_png

        images = trying.drawn(job, made, seed).inputs
        ones = pa.array(np.ones(made.num_rows, np.int16))
        return replaced(made.sort_by("label"), image=encode_png(images), tiles=ones)

    return {"matching": same, "labels dealt anew": dealt, "noise": noise, "random rows": declared}


def same(job: Job, made: pa.Table) -> pa.Table:
    return made


def replaced(made: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, column in columns.items():
        made = made.set_column(made.schema.get_field_index(name), name, column)
    return made


def accuracies(job: Job, names: dict[str, Variant]) -> Found:
    from tasks.seeds import seed_of
    from tasks.stages import trying
    from tasks.stages.report import yardstick

    made, labels = job.store.read([job.inputs["distilled"][0]]), yardstick(job)
    places = trying.tested_on(job, labels)
    test = trying.inputs_of(job, places, ())[0]
    found: Found = {name: {"distilled": [], "random": []} for name in names}
    sets = {name: trying.stored(job, change(job, made)) for name, change in names.items()}
    for number in range(TRIAL["seeds"]):
        seed = seed_of(job.curation.dataset, job.partition, trying.settings_of(job).identity(), number)
        random = trying.score(job, trying.drawn(job, made, seed), test, labels[places], seed)
        for name, lesson in sets.items():
            found[name]["random"].append(random)
            found[name]["distilled"].append(trying.score(job, lesson, test, labels[places], seed))
    return found


def night(folder: Path, seed: int, distiller: dict[str, Any]) -> Job:
    """The chain up to the distilled set, without Prefect; the job of the report that would follow."""
    made = curation(folder, seed, distiller)
    store = Store(made.store, made.dataset).open(create=True)
    for stage in enabled(made):
        planner = Planner(made, store)
        plan = planner.stage(stage, NIGHT)
        job = planner.job(plan)
        assert job is not None
        if stage.name == "report":
            return job
        if plan.verdict != "up to date":
            carried_out(job, store)
    raise AssertionError("a curation has a report")


def carried_out(job: Job, store: Store) -> None:
    stage = STAGES[job.stage]
    for part in parts(job):
        state = stage.fit(job, part)
        store.save_state(*stage.place(job, part), state.arrays, state.info)
    versions = {table: store.version(table) for table in stage.tables}
    spans = stage.spans(job)
    for span in spans:
        for table, data in stage.apply(job, *span).items():
            store.write_shard(table, job.partition, job.fingerprint, *span, data)
    for table, version in versions.items():
        store.commit(table, job.partition, job.fingerprint, spans, job.parents, {}, version)


def parts(job: Job) -> Iterator[str]:
    """What is still to be fitted."""
    stage = STAGES[job.stage]
    for fitted in stage.rounds(job):
        for part in fitted:
            if not job.store.has_state(*stage.place(job, part)):
                yield part


def curation(folder: Path, seed: int, distiller: dict[str, Any]) -> Curation:
    import pyarrow.parquet as pq

    path = folder / f"{NIGHT}.npz"
    if not path.exists():
        table = pq.read_table(existing("fashion_mnist/train.parquet")).slice(seed * ROWS, ROWS)
        images = np.frombuffer(b"".join(table["image"].to_pylist()), np.uint8).reshape(-1, 28, 28, 1)
        np.savez(path, image=images, label=table["label"].to_numpy())
    source = {"kind": "numpy", "path": str(folder / "{partition}.npz"), "image_shape": [28, 28, 1]}
    return Curation.model_validate(
        {
            "dataset": f"fashion_{seed}",
            "store": str(folder / "store"),
            "source": {**source, "image": "image", "label": "label"},
            "ingest": {"encoder": {"kind": "convnet_embedding"}},
            "teach": {"teachers": [{"kind": "linear"}], "folds": 2},
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            "distill": distiller,
            "trial": TRIAL,
        }
    )
