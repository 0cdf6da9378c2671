"""Confident learning's flags and label quality scores.

Northcutt, Jiang & Chuang, JAIR 70 (2021), section 3. The flags are those of cleanlab 2.9's
`filter.find_label_issues` on the same float32 probabilities, bit for bit, ties included; the scores are
those of its `rank.get_label_quality_scores`, with one difference that `quality` states.
"""

from __future__ import annotations

import numpy as np

from tasks.detect import counting
from tasks.detect.blocks import Block, in_order, spans
from tasks.detect.cuts import PRUNING, Cuts, find
from tasks.detect.quality import quality


def flags(
    cuts: Cuts,
    labels: np.ndarray,
    pred_probs: np.ndarray,
    tied: np.ndarray,
    agrees: np.ndarray | None = None,
) -> np.ndarray:
    """Which rows are flagged, each judged alone: labels (b,), pred_probs (b, k) float32 -> (b,) bool.

    tied: (3, b) bool, the row is of tied_margin, tied_given, tied_score. agrees: (b,) bool if known already.
    """
    tied_margin, tied_given, tied_score = tied
    flagged = np.zeros(len(labels), dtype=bool)
    if cuts.refusal is not None:
        return flagged
    if cuts.filter_by.startswith("low_"):
        scores = quality(labels, pred_probs, cuts.filter_by.removeprefix("low_"), certain=False)
        flagged[scores < cuts.score] = True
        flagged[tied_score] = True
        return flagged
    if cuts.filter_by not in PRUNING:
        found = counting.survey(labels, pred_probs, cuts.floor)
        flagged[~found.agrees] = True
        if cuts.filter_by == "confident_learning":
            flagged[(found.guess < 0) | (found.guess == labels)] = False
        return flagged
    if agrees is None:
        agrees = counting.survey(labels, pred_probs, cuts.floor).agrees
    given = pred_probs[np.arange(len(labels)), labels]
    flagged[~agrees] = True
    if cuts.filter_by != "prune_by_class":
        rows, by_noise = np.flatnonzero(~agrees), tied_margin.copy()
        by_noise[cuts.margin.reached(rows, labels, pred_probs, given)[0]] = True
        flagged &= by_noise
    if cuts.filter_by != "prune_by_noise_rate":
        flagged &= (given < cuts.given[labels]) | tied_given
    return flagged


def judge(
    labels: np.ndarray,
    pred_probs: np.ndarray,
    filter_by: str = "prune_by_noise_rate",
    score: str = "self_confidence",
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> tuple[np.ndarray, np.ndarray, Cuts]:
    """Flags (n,) bool, scores (n,) float32, low is bad, and the cuts, of rows in memory.

    labels: (n,) int in 0..k-1, n at least 1. pred_probs: (n, k) float32, out of sample. Raises ValueError
    where a probability is NaN or outside 0..1.
    """
    n, k = pred_probs.shape
    labels, parts = labels.astype(np.int64, copy=False), list(spans(n, k))

    def block(span: slice) -> Block:
        given, rows = labels[span], pred_probs[span]
        return Block(given, lambda: rows[np.arange(len(rows)), given], lambda: rows)

    cuts, seen = find(lambda: map(block, parts), k, filter_by, frac_noise, min_examples_per_class)
    tied = np.zeros((3, n), dtype=bool)
    for mask, places in zip(tied, cuts.tied, strict=True):
        mask[places] = True

    def decide(span: slice) -> tuple[np.ndarray, np.ndarray]:
        here, rows = labels[span], pred_probs[span]
        flagged = flags(cuts, here, rows, tied[:, span], seen.agrees[span])
        return flagged, quality(here, rows, score)

    found = list(in_order(decide, parts))
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found]), cuts
