"""Temperature scaling whose statistic is an integer vector, so that it merges exactly.

Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2:
divide the logits by one scalar T > 0 chosen to minimise the negative log-likelihood of held-out
labels. Log-probabilities serve as logits: they differ by a constant a row, which softmax ignores.
The order of classes never changes, hence neither does the accuracy.

The likelihood is a sum over rows, so instead of iterating over the data, each shard is reduced
once to the likelihood at 49 temperatures, in fixed point. Integer sums are the same in any order:
shards, folds and partitions may be added as they come. The curve is smooth and convex in 1/T, and
a parabola through the best three points of the grid finds its minimum to a fraction of a step.

**Whose labels.** Fold f's temperature is fitted on the out-of-fold predictions of the *other* folds,
the sum of their grids. A row's own label then never touches the temperature of its own soft
label, just as it never touched the teacher that judged it.

Where labels are noisy, T matches the confidence to the noisy labels: softer than the truth would
ask for by about the noise rate, the safe side for a curator. Cost: O(49 n k) once.
"""

from __future__ import annotations

import numpy as np

GRID = np.exp2(np.linspace(-3.0, 3.0, 49))
"""Temperatures from 1/8 to 8, eight steps an octave; GRID[24] is 1 exactly."""

FRACTION_BITS = 20
"""A row's negative log-likelihood is rounded to 2**-20: int64 then holds more rows than exist."""

BLOCK = 1 << 22
"""Numbers taken at once, which bounds the working memory and changes no value."""


def nll_grid(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The summed negative log-likelihood at every temperature of GRID, int64 (49,), unit 2**-20 nat.

    log_probs: (n, k) float, finite; labels: (n,) int, -1 for rows to skip. Grids of disjoint rows
    add up to the grid of their union, bit for bit, whatever the order.
    """
    sums = np.zeros(len(GRID), dtype=np.int64)
    labelled = np.flatnonzero(labels >= 0)
    block = max(1, BLOCK // log_probs.shape[1])
    for start in range(0, len(labelled), block):
        rows = labelled[start : start + block]
        logits = log_probs[rows].astype(np.float64, order="C")
        logits -= logits.max(axis=1, keepdims=True)
        given = logits[np.arange(len(rows)), labels[rows]]
        for i, temperature in enumerate(GRID):
            nll = np.log(np.exp(logits / temperature).sum(axis=1)) - given / temperature
            sums[i] += np.rint(nll * 2.0**FRACTION_BITS).astype(np.int64).sum()
    return sums


def best_temperature(grid_sums: np.ndarray) -> float:
    """The temperature of least negative log-likelihood, within GRID's ends.

    grid_sums: int64 (49,), any sum of `nll_grid`s. The minimum of the grid is refined by the
    parabola in log T through it and its neighbours; of equal minima the one nearest 1 is taken,
    and 1.0 when no row was labelled. Guo et al. 2017, section 4.2.
    """
    steps = np.arange(len(GRID)) - len(GRID) // 2
    if not grid_sums.any():
        return 1.0
    minima = np.flatnonzero(grid_sums == grid_sums.min())
    best = int(minima[np.argmin(np.abs(steps[minima]))])
    if best in (0, len(GRID) - 1):
        return float(GRID[best])
    left, middle, right = (int(grid_sums[best + i]) for i in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(np.exp2((steps[best] + shift) / 8.0))


def scale(log_probs: np.ndarray, temperature: float) -> np.ndarray:
    """log_softmax(log_probs / temperature) over the last axis, float32 of the same shape.

    Guo et al. 2017, equation 9. Computed in float64; finite whenever `log_probs` is.
    """
    logits = log_probs.astype(np.float64, order="C") / temperature
    logits -= logits.max(axis=-1, keepdims=True)
    scaled: np.ndarray = (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)
    return scaled
