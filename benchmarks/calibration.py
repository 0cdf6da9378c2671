"""CIFAR-10N: whether P(error) of `combined` means what it says, with and without people's decisions.

The soft labels are those of `curations/cifar10n_stacked.yaml`. A draw reviews 500 rows at random, by the
true label; `combined` learns from them and judges all the others. Expected calibration error: 15 bins of
equal mass, the mean distance between the mean P(error) and the share of wrong labels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.progress import Progress

from benchmarks._cifar10n import curated, judged
from benchmarks.figures import Figure
from tasks.data import Labelled
from tasks.detect import Window
from tasks.detect.combined import Combined
from tasks.detect.confident_learning import ConfidentLearning

DRAWS, REVIEWS, BINS = 20, 500, 15


def run(progress: Progress) -> list[Figure]:
    with curated("cifar10n_stacked", progress) as found:
        rows, truth = found.rows("stacked"), found.truth
    findings = (judged(ConfidentLearning(filter_by="predicted_neq_given"), rows),)
    rows, wrong = replace(rows, findings=findings), rows.labels != truth
    nobody = p_error(rows, np.zeros(0, np.int64), truth)
    errors, precisions, briers = [], [], []
    for draw in progress.track(range(DRAWS), description="draws of reviews"):
        reviewed = np.random.default_rng(draw).choice(len(rows), REVIEWS, replace=False)
        unseen = np.setdiff1d(np.arange(len(rows)), reviewed)
        said = p_error(rows, reviewed, truth)[unseen]
        errors.append(calibration_error(said, wrong[unseen]))
        precisions.append(average_precision(said, wrong[unseen]))
        briers.append(float(np.mean((said - wrong[unseen]) ** 2)))
    return [
        Figure(f"expected calibration error, {REVIEWS} reviews, mean", float(np.mean(errors)), "", "≤ 0.02"),
        Figure("the largest of 20 draws", float(np.max(errors))),
        Figure("expected calibration error without reviews", calibration_error(nobody, wrong)),
        Figure("Brier score, 500 reviews", float(np.mean(briers))),
        Figure("Brier score without reviews", float(np.mean((nobody - wrong) ** 2))),
        Figure("average precision, 500 reviews", float(np.mean(precisions))),
        Figure("average precision without reviews", average_precision(nobody, wrong)),
    ]


def p_error(rows: Labelled, reviewed: np.ndarray, truth: np.ndarray) -> np.ndarray:
    people = replace(rows.take(reviewed), decided=truth[reviewed].astype(np.int32))
    window = Window.of(rows, people=people)
    return Combined().apply(rows, Combined().fit(window), window).p_error


def calibration_error(said: np.ndarray, wrong: np.ndarray) -> float:
    """The weighted mean over bins of equal mass of |mean P(error) - share of errors|."""
    bins = np.array_split(np.argsort(said, kind="stable"), BINS)
    gaps = [abs(said[rows].mean() - wrong[rows].mean()) * len(rows) for rows in bins]
    return float(sum(gaps) / len(said))


def average_precision(said: np.ndarray, wrong: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, said))
