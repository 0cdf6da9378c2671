"""Distilled Fashion-MNIST held to the literature: ten and fifty images a class, and accuracy over steps.

What `distilled` compares after a few hundred steps of the student is left to run for ten minutes, and
once, at ten images a class, for half an hour. Labels are the teacher's answers to each view, and hard ones
beside them. The goals are what IDC (Kim et al., ICML 2022) prints with hard labels: 86.0% and 89.1%.

More than an hour on two cores; `benchmarks/_distilled.py` says how it goes on after a kill.
"""

from __future__ import annotations

from statistics import mean, stdev

from rich.progress import Progress

from benchmarks._distilled import Learner, judged
from benchmarks.figures import Figure

SEEDS, WIDTH = 3, 128
STEPS = {"asked": 2000, "hard": 1000}
CURVE = (300, 1000, 6000)
BEST = {10: "random mosaics", 50: "random"}
GOALS = {10: "≥ 0.86", 50: "≥ 0.891"}


def run(progress: Progress) -> list[Figure]:
    arms = [
        Learner(BEST[per_class], per_class, labels, WIDTH, STEPS[labels], seed)
        for per_class in BEST
        for labels in STEPS
        for seed in range(SEEDS)
    ]
    curve = [Learner(BEST[10], 10, "asked", WIDTH, steps, 0) for steps in CURVE]
    found = judged([*arms, *curve], progress)
    figures = []
    for per_class, method in BEST.items():
        for labels in STEPS:
            mine = [found[one] for one in arms if (one.per_class, one.labels) == (per_class, labels)]
            name = f"accuracy, {per_class} a class, {method}, {labels} labels, {STEPS[labels]} steps"
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
    return [
        *figures,
        *(
            Figure(f"accuracy of one student, 10 a class, asked, {one.steps} steps", found[one]["accuracy"])
            for one in curve
        ),
    ]
