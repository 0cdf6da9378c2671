"""Distilled Fashion-MNIST, ten images a class from clean labels: every distiller beside random, in one table.

The student is that of the literature, a three-block ConvNet of 128 filters with instance norm, trained
by `tasks/distill/recipe.py` for the same number of steps on every set; the peers' figures are as their
authors print them, from recipes of more steps. Labels are hard; soft, the teacher's probabilities
stored beside each image; static, likewise those of the networks that made the set; or asked, the teacher's
answer to each view, which costs the teacher's bytes.
One teacher, the product's residual network, learned from the rows that it is asked about: the same
rule for every set. Test images decide nothing but the figures.

More than an hour on two cores; `benchmarks/_distilled.py` says how it goes on after a kill. What more steps
and fifty images a class bring is in `distilled_long`.
"""

from __future__ import annotations

from statistics import mean, stdev

from rich.progress import Progress

from benchmarks._distilled import WHOLE, Learner, judged
from benchmarks.figures import Figure

SEEDS, WIDTH, STEPS, WHOLE_STEPS = 3, 128, 300, 3000

ARMS = {
    "random": ("hard", "soft", "asked"),
    "random mosaics": ("hard", "asked"),
    "herding": ("hard",),
    "k_center": ("hard",),
    "facility_location": ("hard",),
    "hardness": ("hard",),
    "patches": ("hard",),
    "patches, mosaics": ("hard", "asked"),
    "matching": ("hard",),
    "matching, mosaics": ("hard", "soft", "asked"),
    "statistics": ("hard", "static"),
    "compensator": ("hard", "static", "asked"),
}


def run(progress: Progress) -> list[Figure]:
    learners = [
        Learner(method, 10, labels, WIDTH, STEPS, seed)
        for method, kinds in ARMS.items()
        for labels in kinds
        for seed in range(SEEDS)
    ]
    whole = Learner(WHOLE, 0, "hard", WIDTH, WHOLE_STEPS, 0)
    found = judged([whole, *learners], progress)
    figures = [Figure(f"accuracy, {WHOLE}, hard labels", found[whole]["accuracy"])]
    for method, kinds in ARMS.items():
        for labels in kinds:
            mine = [found[one] for one in learners if (one.method, one.labels) == (method, labels)]
            accuracies = [one["accuracy"] for one in mine]
            name = f"accuracy, {method}, {labels} labels"
            figures += [Figure(name, mean(accuracies)), Figure(f"{name} (std)", stdev(accuracies))]
            figures.append(Figure(f"bytes of labels, {method}, {labels}", mine[0]["label_bytes"], "bytes"))
        figures += [
            Figure(f"bytes of images, {method}", mine[0]["image_bytes"], "bytes"),
            Figure(f"seconds to distill, {method}", mean(one["distill_seconds"] for one in mine), "s"),
        ]
    return figures
