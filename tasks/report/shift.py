"""How far one sample is from another, at the least: statistics that know nothing of winnow.

Every `least_…` is a one-sided lower confidence limit at CONFIDENCE: 0 where chance alone explains what
was seen, and close to the true size where there are many rows. A bound on a limit is about the size of
a change, whatever the number of rows, and small samples do not alarm.

Classifier two-sample test: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
Noncentral chi-square limit: Steiger & Fouladi, in "What If There Were No Significance Tests?", 1997.
Unseen mass: Good, "The population frequencies of species", Biometrika 1953.
"""

from __future__ import annotations

import numpy as np

CONFIDENCE = 0.999
DEVIATIONS = 3.090232306167813
"""The normal quantile of CONFIDENCE."""

HIDDEN, EPOCHS, BATCH, LEARNING_RATE = 20, 100, 64, 1e-3
"""The test's network: 20 rectified units and 100 epochs of Adam, as in section 5 of the paper."""

MIN_EXPECTED = 1.0
"""Classes of which fewer rows are expected share one bin (Cochran, Biometrics 1954)."""


def two_sample_accuracy(first: np.ndarray, second: np.ndarray, seed: int, device: str) -> tuple[float, int]:
    """How well a small network tells two samples apart, on the halves it was not trained on.

    first, second: (n, d) each, of equal length and in an order that means nothing. Returns the accuracy
    and the number of test rows; where both samples are of one distribution the accuracy is normal with
    mean 1/2 and variance 1 / (4 n_test) (section 3 of the paper).
    """
    from tasks.report.perceptron import fit, predict

    half = len(first) // 2
    train = np.concatenate([first[:half], second[:half]])
    targets = np.repeat(np.eye(2, dtype=np.float32), half, axis=0)
    steps = EPOCHS * -(-len(train) // BATCH)
    model = fit(
        train,
        targets,
        steps=steps,
        width=HIDDEN,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
        seed=seed,
        device=device,
    )
    said = np.concatenate([predict(model, first[half:]) == 0, predict(model, second[half:]) == 1])
    return float(said.mean()), len(said)


def least_distance(accuracy: float, n_test: int) -> float:
    """Total variation distance of two distributions, at the least, from a classifier's accuracy between
    them: 2 accuracy - 1 bounds it from below, less the deviations of the test's null distribution."""
    return max(0.0, 2 * (accuracy - DEVIATIONS / (2 * float(np.sqrt(n_test)))) - 1)


def class_shift(now: np.ndarray, before: np.ndarray) -> float:
    """How much the classes' shares moved, at the least, from counts (k,) int64 of two samples.

    w = sqrt(sum (p - q)^2 / r) over shares p now, q before and r of both together, from the least
    noncentrality that explains the chi-square statistic of homogeneity. 0.1 is small, 0.5 large (Cohen,
    "Statistical Power Analysis", 1988, chapter 7). 0 where either sample is empty.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    n, m = int(now.sum()), int(before.sum())
    if not n or not m:
        return 0.0
    rare = (now + before) * (min(n, m) / (n + m)) < MIN_EXPECTED
    a, b = (np.append(counts[~rare], counts[rare].sum()) for counts in (now, before))
    a, b = a[a + b > 0].astype(np.float64), b[a + b > 0].astype(np.float64)
    statistic = float(((m * a - n * b) ** 2 / (a + b)).sum() / (n * m))
    freedom, alpha = len(a) - 1, 1 - CONFIDENCE
    if not freedom or chi2.sf(statistic, freedom) > alpha:
        return 0.0
    noncentrality = brentq(lambda x: float(ncx2.sf(statistic, freedom, x)) - alpha, 0.0, statistic)
    return float(np.sqrt(noncentrality * (n + m) / (n * m)))


def class_jump(now: np.ndarray, before: np.ndarray) -> float:
    """By how much the share of one class grew or shrank, at the least, for the class that moved most: 1 for
    twice as often or half as often, 0 for no change. Counts (k,) int64 of two samples.

    Sees one class that moved where `class_shift` sees many that did. Given both counts of a class, the
    one of this sample is binomial and its odds are the ratio of the shares (Przyborowski & Wilenski,
    Biometrika 1940); the confidence is shared out among classes and directions (Bonferroni).
    """
    from scipy.stats import beta

    n, m = int(now.sum()), int(before.sum())
    if not n or not m:
        return 0.0
    present = now + before > 0
    a, b = now[present], before[present]
    alpha = (1 - CONFIDENCE) / (2 * len(a))
    grown = odds(beta.ppf(alpha, np.maximum(a, 1), b + 1)) * (a > 0) * m / n
    shrunk = odds(beta.ppf(alpha, np.maximum(b, 1), a + 1)) * (b > 0) * n / m
    return max(0.0, float(np.max([grown, shrunk])) - 1)


def odds(p: np.ndarray) -> np.ndarray:
    return np.asarray(p / (1 - p))


def least_share(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The least probability that explains `hits` of `n` (Clopper & Pearson, Biometrika 1934); 0 for none."""
    from scipy.stats import beta

    limit = beta.ppf(1 - CONFIDENCE, np.maximum(hits, 1), n - hits + 1)
    return np.asarray(np.where(hits > 0, limit, 0.0))


def least_rise(now: float, n: int, before: float, m: int) -> float:
    """By how much a share rose, at the least: `now` of n rows against `before` of m, as normal variables."""
    # A row of each kind keeps the noise of a share of 0 or 1 from vanishing (Agresti & Caffo, 2000).
    p, q = (now * n + 1) / (n + 2), (before * m + 1) / (m + 2)
    return max(0.0, now - before - DEVIATIONS * float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m)))


def new_classes(now: np.ndarray, before: np.ndarray) -> float:
    """The share of rows of classes that the earlier sample lacks, at the least and beyond what it may
    have missed: the Good-Turing estimate of that is its share of classes seen once. Counts (k,)."""
    n, m = int(now.sum()), int(before.sum())
    if not n or not m:
        return 0.0
    unseen = least_share(np.array(now[before == 0].sum()), np.array(n))
    return max(0.0, float(unseen) - float((before == 1).sum() / m))


def close(points: np.ndarray, others: np.ndarray, tolerance: float, chunk: int = 512) -> np.ndarray:
    """Which points have one of `others` within `tolerance` times their own length; (n, d), (m, d) -> (n,)."""
    found = np.zeros(len(points), bool)
    if not len(others):
        return found
    x, y = points.astype(np.float64), others.astype(np.float64)
    lengths, squares = np.sqrt((x * x).sum(axis=1)), (y * y).sum(axis=1)
    for start in range(0, len(x), chunk):
        here = slice(start, start + chunk)
        nearest = (squares - 2 * x[here] @ y.T).min(axis=1) + lengths[here] ** 2
        found[here] = np.sqrt(np.maximum(nearest, 0)) <= tolerance * lengths[here]
    return found
