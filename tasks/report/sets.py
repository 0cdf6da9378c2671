"""Figures where several classes may apply to a row: answers one by one, and sets as a whole.

Teachers are judged by the F1 of their answers (van Rijsbergen, "Information Retrieval", 1979, chapter 7):
over all answers (micro), and the mean of the classes' own (macro), where a class that few rows have counts as
much as any; by how often the whole set is right; and by the calibration of single answers. A class that
neither the teacher nor the labels give to any row has no F1 and is left out of the mean. What is flagged and
what is changed is judged by whole sets, so that the figures of one class a row serve: a set becomes a code.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.data import ONE, SoftLabels
from tasks.report import Figure
from tasks.report.calibration import expected_calibration_error
from tasks.report.metrics import snake


def coded(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Each (n, k) int8, as in `Examples.given` -> (n,) int32, one code for equal sets, -1 for none: labels of
    as many classes as there are different sets."""
    everything = np.concatenate(sets)
    there = (everything >= 0).any(axis=1)
    _, codes = np.unique(np.packbits(everything == 1, axis=1), axis=0, return_inverse=True)
    codes = np.where(there, codes.reshape(-1), -1).astype(np.int32)
    return tuple(np.split(codes, np.cumsum([len(each) for each in sets])[:-1]))


def probabilities(soft: SoftLabels) -> np.ndarray:
    """p of each class, in order, (n, k) float64, as stored."""
    weights = np.zeros((len(soft), soft.n_classes))
    np.put_along_axis(weights, soft.classes, soft.weights.astype(np.float64), axis=1)
    return weights / ONE


def teach(opinions: Mapping[str, SoftLabels], given: np.ndarray, truths: np.ndarray) -> list[Figure]:
    """Every teacher, out of sample, against given labels and truths, (n, k) int8 each."""
    figures = []
    for teacher, soft in opinions.items():
        p = probabilities(soft)
        for against, sets in (("given", given), ("truth", truths)):
            known = (sets >= 0).any(axis=1)
            if not known.any():
                continue
            name = f"teacher_{snake(teacher)}"
            for measure, value in judged(p[known], sets[known]).items():
                unit = "ratio" if measure == "ece" else "share"
                figures.append(Figure("teach", f"{name}_{measure}_{against}", value, unit))
    return figures


def judged(p: np.ndarray, sets: np.ndarray) -> dict[str, float]:
    """Measures of probabilities (n, k) float against sets (n, k) of 0 and 1, n at least 1."""
    said = p >= 0.5
    right = said == (sets == 1)
    found = {
        "f1_micro": f1_micro(said, sets),
        "f1_macro": f1_macro(said, sets),
        "exact_match": float(right.all(axis=1).mean()),
        "ece": expected_calibration_error(np.maximum(p, 1 - p).ravel(), right.ravel()),
    }
    return {measure: value for measure, value in found.items() if np.isfinite(value)}


def f1_micro(said: np.ndarray, sets: np.ndarray) -> float:
    """Of all answers (n, k) bool against sets (n, k) of 0 and 1; NaN where no class is given or said."""
    hits, said_or_given = overlaps(said, sets)
    return float(2 * hits.sum() / said_or_given.sum()) if said_or_given.any() else float("nan")


def f1_macro(said: np.ndarray, sets: np.ndarray) -> float:
    """The mean of the classes' own, those that are given or said; otherwise as `f1_micro`."""
    hits, said_or_given = overlaps(said, sets)
    there = said_or_given > 0
    return float((2 * hits[there] / said_or_given[there]).mean()) if there.any() else float("nan")


def overlaps(said: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each class the answers of yes that are right, and how many are said plus how many are given."""
    given = sets == 1
    return (said & given).sum(axis=0), said.sum(axis=0) + given.sum(axis=0)


def student(scores: Mapping[str, tuple[float, ...]]) -> list[Figure]:
    """f1_given and f1_curated, the mean over seeds of each arm that could be measured."""
    return [
        Figure("report", f"f1_{arm}", float(np.mean(values)), "share")
        for arm, values in scores.items()
        if len(values)
    ]
