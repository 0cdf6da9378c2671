"""The rate that students of distilled sets learn at, chosen on training rows that stand for test images.

Students of `tasks/distill/recipe.py`, 300 steps, at several rates and widths, on ten images a class of
Fashion-MNIST: random rows and those that `matching` learnt, two of each, as in `distilled`. Judged on 2,500
training rows; test images take no part. Learnt images were matched to the mean of their class, of which those
rows are one in twenty-four, at every rate alike. One rate serves all widths.

A quarter of an hour on two cores, and as long again where `distilled` has not made the sets yet.
"""

from __future__ import annotations

from itertools import product
from statistics import mean
from unittest.mock import patch

import numpy as np
from rich.progress import Progress

from benchmarks._distilled import CLASSES, pictures, small_set
from benchmarks._pool import quick_students, side_by_side
from benchmarks.figures import Figure
from tasks.distill import recipe
from tasks.distill.look import Look
from tasks.seeds import seed_of

RATES, WIDTHS, METHODS, SEEDS = (1e-3, 3e-3, 5e-3, 1e-2), (16, 32, 128), ("random", "matching"), 2
STEPS, JUDGED = 300, 2500


def run(progress: Progress) -> list[Figure]:
    seeds = range(SEEDS)
    side_by_side(small_set, [(method, 10, seed) for method in METHODS for seed in seeds], "sets", progress)
    pieces = list(product(WIDTHS, RATES, METHODS, seeds))
    found = dict(zip(pieces, side_by_side(accuracy, pieces, "students", progress), strict=True))
    return [
        Figure(
            f"accuracy, width {width}, rate {rate}, {method}",
            mean(found[width, rate, method, s] for s in seeds),
        )
        for width, rate, method in product(WIDTHS, RATES, METHODS)
    ]


def accuracy(width: int, rate: float, method: str, seed: int) -> float:
    rows, _, _ = pictures()
    assert rows.images is not None
    judged = np.random.default_rng(seed_of("judged")).choice(len(rows), JUDGED, replace=False)
    small = small_set(method, 10, seed)
    with quick_students(), patch.object(recipe, "LEARNING_RATE", rate):
        return recipe.train_and_score(
            small.images,
            np.eye(CLASSES, dtype=np.float32)[small.labels],
            rows.images[judged],
            rows.labels[judged],
            width=width,
            steps=STEPS,
            seed=seed_of("student", seed),
            device="cpu",
            look=Look(flip=True),
        )
