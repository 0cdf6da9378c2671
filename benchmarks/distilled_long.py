"""Distilled Fashion-MNIST held to the literature: ten and fifty images a class, and accuracy over steps.

What `distilled` compares after a few hundred steps of the student is left to run for ten times as long,
and once for longer still. Labels are the teacher's answers to each view, and hard ones
beside them. The goals are what IDC (Kim et al., ICML 2022) prints with hard labels: 86.0% and 89.1%.

More than an hour on two cores; `benchmarks/_distilled.py` says how it goes on after a kill.
"""

from __future__ import annotations

from statistics import mean, stdev

from rich.progress import Progress

from benchmarks._distilled import Learner, judged
from benchmarks.figures import Figure

SEEDS, WIDTH, STEPS = 3, 128, 3000
CURVE = (300, 1000, 9000)
BEST = {10: "random mosaics", 50: "random"}
GOALS = {10: "≥ 0.86", 50: "≥ 0.891"}


def run(progress: Progress) -> list[Figure]:
    arms = [
        Learner(BEST[per_class], per_class, labels, WIDTH, STEPS, seed)
        for per_class in BEST
        for labels in ("asked", "hard")
        for seed in range(SEEDS)
    ]
    curve = [
        Learner(BEST[per_class], per_class, "asked", WIDTH, steps, 0) for per_class in BEST for steps in CURVE
    ]
    found = judged([*arms, *curve], progress)
    figures = []
    for per_class, method in BEST.items():
        for labels in ("asked", "hard"):
            mine = [found[one] for one in arms if (one.per_class, one.labels) == (per_class, labels)]
            name = f"accuracy, {per_class} a class, {method}, {labels} labels, {STEPS} steps"
            accuracies = [one["accuracy"] for one in mine]
            goal = GOALS[per_class] if labels == "asked" else None
            figures += [
                Figure(name, mean(accuracies), "", goal),
                Figure(f"{name} (std)", stdev(accuracies)),
                Figure(
                    f"student's minutes of one core, {per_class} a class, {labels}",
                    mean(one["seconds"] for one in mine) / 60,
                    "minutes",
                ),
                Figure(f"bytes of labels, {per_class} a class, {labels}", mine[0]["label_bytes"], "bytes"),
            ]
        figures.append(Figure(f"bytes of images, {per_class} a class", mine[0]["image_bytes"], "bytes"))
        figures += [
            Figure(
                f"accuracy of one student, {per_class} a class, asked, after {one.steps} steps",
                found[one]["accuracy"],
            )
            for one in curve
            if one.per_class == per_class
        ]
    return figures
