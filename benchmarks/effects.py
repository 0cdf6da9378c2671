"""Each paper's effect at this size: detectors, influence's relabelling and robust sampling, 3 seeds.

Digits, and Fashion-MNIST as far as one core has time for it, have a fifth of their labels wrong: at random,
always the same other class, or the rows that are hardest for a model of its own. CIFAR-10N has people's
errors and its teachers' opinions but no pictures: detectors that need any are left out, and a
seed only decides which rows are reviewed. What an effect is compared with is confident learning alone, the
labels as given, and margin and random sampling. A gain is the mean of paired differences; (std) is the
deviation over the seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from rich.progress import Progress

from benchmarks._effects import NOISES, Pictures, cifar10n, corrupted, digits, fashion, taught
from benchmarks._effects_sampling import sampled
from benchmarks.figures import Figure
from tasks.data import Issues, Labelled
from tasks.detect import Detector, Window
from tasks.detect.combined import Combined
from tasks.detect.confident_learning import ConfidentLearning
from tasks.detect.disagreement import Disagreement
from tasks.detect.influence import Influence
from tasks.detect.neighbours import Neighbours
from tasks.detect.together import find, fit
from tasks.detect.training_dynamics import TrainingDynamics
from tasks.teach.rowwise import one_thread

SEEDS = 3
BASE = ConfidentLearning()
WITHOUT_PICTURES: tuple[Detector, ...] = (BASE, Disagreement())
JUDGES: tuple[Detector, ...] = (*WITHOUT_PICTURES, TrainingDynamics(), Neighbours(), Influence())
REVIEWS, REVIEWS_CIFAR10N = 300, 500


def run(progress: Progress) -> list[Figure]:
    import torch

    torch.set_num_threads(1)
    with one_thread():
        sets = (digits(), fashion())
        task = progress.add_task("effects", total=SEEDS * (len(sets) * (len(NOISES) + 1) + 1))
        figures = []
        for case, values in cases(sets):
            found = []
            for seed in range(SEEDS):
                progress.update(task, description=f"{case}, seed {seed}")
                found.append(next(values))
                progress.advance(task)
            figures += summary(case, found)
    return figures


def cases(sets: Sequence[Pictures]) -> Iterator[tuple[str, Iterator[dict[str, float]]]]:
    """What is measured, and its figures for each seed in turn."""
    seeds = range(SEEDS)
    for pictures in sets:
        for noise in NOISES:
            yield f"{pictures.name}, {noise}", (corrected(pictures, noise, seed) for seed in seeds)
    rows, truth = cifar10n()
    yield "cifar10n", (detected(rows, truth, WITHOUT_PICTURES, REVIEWS_CIFAR10N, seed)[0] for seed in seeds)
    for pictures in sets:
        yield f"{pictures.name}, sampling", (sampled(pictures, seed) for seed in seeds)


def summary(case: str, found: Sequence[dict[str, float]]) -> list[Figure]:
    """Mean and standard deviation of each figure over the seeds."""
    figures = []
    for name in found[0]:
        values = [each[name] for each in found]
        figures.append(Figure(f"{case}: {name}", float(np.mean(values))))
        figures.append(Figure(f"{case}: {name} (std)", float(np.std(values, ddof=1))))
    return figures


def corrected(pictures: Pictures, noise: str, seed: int) -> dict[str, float]:
    """How well labels made wrong are found, and how many are right once suggestions are adopted."""
    truth = pictures.rows.labels
    rows = taught(pictures, corrupted(pictures, noise, seed), seed)
    values, found = detected(rows, truth, JUDGES, REVIEWS, seed)
    given = right(rows.labels, truth)
    values["label accuracy, given"] = given
    for name in ("influence", BASE.kind):
        issues = found[name]
        mended = right(np.where(issues.is_issue, issues.suggested_label, rows.labels), truth)
        values[f"label accuracy, suggestions of {name} adopted"] = mended
        values[f"label accuracy, {name} less given"] = mended - given
    return values


def right(labels: np.ndarray, truth: np.ndarray) -> float:
    return float((labels == truth).mean())


def detected(
    rows: Labelled, truth: np.ndarray, judges: Sequence[Detector], reviews: int, seed: int
) -> tuple[dict[str, float], dict[str, Issues]]:
    """Figures of each judge and of `combined`, without and with reviews of rows drawn at random; and what
    the judges found."""
    window, wrong = Window.of(rows), rows.labels != truth
    issues = find(judges, fit(judges, window), [window] * len(judges), rows)
    found = {judge.kind: each for judge, each in zip(judges, issues, strict=True)}
    base, everywhere = found[BASE.kind], np.arange(len(rows))
    values: dict[str, float] = {}
    for name, each in found.items():
        values |= measured(name, each, base, wrong, everywhere)
    rows = replace(rows, findings=tuple(issues))
    nobody, reviewed = everywhere[:0], np.random.default_rng(seed).choice(len(rows), reviews, replace=False)
    for name, people in (("combined", nobody), (f"combined with {reviews} reviews", reviewed)):
        unseen = np.setdiff1d(everywhere, people)
        values |= measured(name, combined(rows, people, truth), base, wrong, unseen)
    return values, found


def combined(rows: Labelled, reviewed: np.ndarray, truth: np.ndarray) -> Issues:
    """What it says of all rows once people decided, rightly, on those reviewed."""
    people = replace(rows.take(reviewed), decided=truth[reviewed].astype(np.int32))
    window = Window.of(rows, people=people)
    return Combined().apply(rows, Combined().fit(window), window)


def measured(
    name: str, issues: Issues, base: Issues, wrong: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    """On some of the rows: a detector's ranking, what it gains on confident learning's, and its flags."""
    from sklearn.metrics import average_precision_score, precision_score, recall_score

    truth, flags = wrong[rows], issues.is_issue[rows]
    ranking, reference = (average_precision_score(truth, -each.score[rows]) for each in (issues, base))
    gain = {} if issues is base else {f"AP {name} less {BASE.kind}": float(ranking - reference)}
    return {
        f"AP {name}": float(ranking),
        **gain,
        f"precision {name}": float(precision_score(truth, flags, zero_division=0)),
        f"recall {name}": float(recall_score(truth, flags)),
    }
