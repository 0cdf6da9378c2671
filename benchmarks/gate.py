"""Does the gate refuse a bad distilled set and let a good one pass? Fashion-MNIST, ten seeds.

Each seed has 6,000 pictures of its own and goes through the chain as a night does, up to the distilled
set, one example a class: so few that random sets scatter by five points, hence 8 pairs of students for
the product's own trial, whose 95% interval must lie above zero. Students and random rows are each seed's own.
Tried are a set that should pass, mosaics learnt by distribution matching, and three that should not: the
same with their labels dealt out anew, pictures of noise, and random rows that are declared to be distilled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.progress import Progress

from benchmarks._data import existing
from benchmarks._pool import side_by_side
from benchmarks._stages import UP_TO_RELABEL, carry_out, fashion, job_of
from benchmarks.figures import Figure
from tasks.report.trial import Margin, margin
from tasks.stages.base import Job

SEEDS, ROWS, NIGHT = 10, 6000, "2026-01-01"
GOOD = "matching, mosaics"
MATCHING = {"kind": "matching", "per_class": 1, "steps": 300, "tiles": 2, "flip": True}
TRIAL = {"seeds": 8, "steps": 200, "width": 16, "flip": True}
BAD = ("labels dealt anew", "noise", "random rows")
Found = dict[str, dict[str, list[float]]]


def run(progress: Progress) -> list[Figure]:
    existing("fashion_mnist/train.parquet")
    found = side_by_side(tried, [(seed,) for seed in range(SEEDS)], "seeds", progress)
    figures = []
    for name in (GOOD, *BAD):
        margins = [margin(one[name]["distilled"], one[name]["random"]) for one in found]
        passed = sum(each.low > 0 for each in margins)
        goal = f"= {SEEDS if name == GOOD else 0}"
        figures += [
            Figure(f"{name}: passes of {SEEDS}", passed, "", goal),
            Figure(f"{name}: margin, mean", float(np.mean([each.mean for each in margins])) * 100, "points"),
            Figure(f"{name}: half the interval, mean", 100 * half(margins), "points"),
        ]
    return figures


def half(margins: list[Margin]) -> float:
    return float(np.mean([(each.high - each.low) / 2 for each in margins]))


def tried(seed: int) -> Found:
    """Accuracies on each set and on the random sets beside it, one a pair of students."""
    with tempfile.TemporaryDirectory() as folder:
        job = night(Path(folder), seed)
        learnt = job.store.read([job.inputs["distilled"][0]])
        sets = {GOOD: learnt} | {name: change(job, learnt) for name, change in variants(seed).items()}
        return accuracies(job, sets)


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

    return dict(zip(BAD, (dealt, noise, declared), strict=True))


def replaced(made: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, column in columns.items():
        made = made.set_column(made.schema.get_field_index(name), name, column)
    return made


def accuracies(job: Job, sets: dict[str, pa.Table]) -> Found:
    """All sets are of one size, and so the same random sets beside them."""
    from tasks.seeds import seed_of
    from tasks.stages import trying
    from tasks.stages.report import yardstick

    labels = yardstick(job)
    places = trying.tested_on(job, labels)
    test = trying.inputs_of(job, places, ())[0]
    found: Found = {name: {"distilled": [], "random": []} for name in sets}
    lessons = {name: trying.stored(job, made) for name, made in sets.items()}
    for number in range(trying.settings_of(job).seeds):
        seed = seed_of(job.curation.dataset, job.partition, trying.settings_of(job).identity(), number)
        drawn = trying.drawn(job, sets[GOOD], seed)
        random = trying.score(job, drawn, test, labels[places], seed)
        for name, lesson in lessons.items():
            found[name]["random"].append(random)
            found[name]["distilled"].append(trying.score(job, lesson, test, labels[places], seed))
    return found


def night(folder: Path, seed: int) -> Job:
    """The chain up to the distilled set; the job of the report that would follow."""
    rows = {NIGHT: np.arange(seed * ROWS, (seed + 1) * ROWS)}
    curation = fashion(folder, f"fashion_{seed}", rows, distill=MATCHING, trial=TRIAL)
    carry_out(curation, NIGHT, [*UP_TO_RELABEL, "distill"])
    return job_of(curation, NIGHT, "report")[0]
