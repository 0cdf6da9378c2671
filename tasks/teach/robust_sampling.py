"""Which rows to ask an expensive teacher about, when it is wrong on some that nobody knows.

Baykal, Trinh, Iliopoulos, Menghani & Vee, "Robust Active Distillation", ICLR 2023. A row's gain is how
unsure the student is of it: 1 less the margin between its two likeliest classes. Rows are drawn from a
distribution p, and an adversary says which m rows of the pool the teacher gets wrong. The best p against
it maximises

    sum of p_i g_i  -  alpha * (the m largest p_i g_i)

and has a closed form. With gains in falling order and H_k = 1/g_1 + … + 1/g_k, the value that k rows
guarantee is V_k = (k - alpha m) / H_k; the best k* takes the rows of which none gains less than that
value, and p_i = 1 / (g_i H_k*) on them. So p *falls* with the gain within the support: every row carries
the same share p_i g_i, and no m rows carry too much. m = 0 is margin sampling, m near n the whole pool.

The m counts rows of the pool, not of what is asked. Gains are those of a student whose confidence means
something: calibrate it first. Cost: a sort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.seeds import mix, seed_of

LEAST_GAIN = 1e-12
"""Stands for a gain of 0, whose inverse is not finite; such rows come last."""


@dataclass(frozen=True)
class Plan:
    """p: (n,) float64, sums to 1. support: k*, how many rows can be asked. value: what p guarantees, 0
    where m leaves nothing to guarantee and p is over the whole pool."""

    p: np.ndarray
    support: int
    value: float


def gains(pred_probs: np.ndarray) -> np.ndarray:
    """1 less the margin of the two largest of each row, (n, k) -> (n,) float64 in 0..1; 0 of one class."""
    if pred_probs.shape[1] < 2:
        return np.zeros(len(pred_probs))
    second, first = np.partition(pred_probs.astype(np.float64), -2, axis=1)[:, -2:].T
    return np.asarray(np.clip(1 - (first - second), 0, 1))


def robust(gain: np.ndarray, wrong: int, alpha: float = 1.0) -> Plan:
    """The distribution over rows with the best guarantee against `wrong` rows that the teacher gets wrong.

    gain: (n,) at least 0. alpha: 1 where a wrong label is worth nothing, 2 where it hurts as much as a
    right one helps. Equal gains are in the support together or, at its end, by the order of rows. If
    alpha * wrong is n or more, nothing can be guaranteed: p is then level over the whole pool.
    """
    n = len(gain)
    if not n:
        return Plan(np.zeros(0), 0, 0.0)
    inverse = 1 / np.maximum(gain.astype(np.float64), LEAST_GAIN)
    order = np.argsort(inverse, kind="stable")
    summed = np.cumsum(inverse[order])
    values = (np.arange(1, n + 1) - alpha * wrong) / summed
    best = int(np.argmax(values))
    if values[best] <= 0:
        best = n - 1
    p = np.zeros(n)
    p[order[: best + 1]] = inverse[order[: best + 1]] / summed[best]
    return Plan(p, best + 1, max(float(values[best]), 0.0))


def inclusion(p: np.ndarray, gain: np.ndarray, budget: int) -> np.ndarray:
    """How likely each row is to be among `budget` drawn: (n,) float64 in 0..1 that sums to the budget.

    min(1, c p_i) with the one c that makes it sum so. Where the support has fewer rows than the budget,
    all of it is taken, and after it the rows of the largest gains.
    """
    n, support = len(p), np.flatnonzero(p > 0)
    if budget >= n:
        return np.ones(n)
    if len(support) <= budget:
        return top(np.where(p > 0, np.inf, gain), budget)
    falling = np.argsort(-p[support], kind="stable")
    sure, rest = np.arange(len(support)), np.cumsum(p[support][falling][::-1])[::-1]
    # With the s largest taken for sure, the others share what is left; s is the first with none above 1.
    scale = (budget - sure) / rest
    taken = int(np.argmax(scale * p[support][falling] <= 1))
    chances = np.zeros(n)
    chances[support] = np.minimum(scale[taken] * p[support], 1.0)
    chances[support[falling[:taken]]] = 1.0
    return chances


def top(gain: np.ndarray, budget: int) -> np.ndarray:
    """Margin sampling as chances: 1 for the `budget` rows of the largest gains, ties by the order of rows."""
    chances = np.zeros(len(gain))
    chances[np.argsort(-gain, kind="stable")[:budget]] = 1.0
    return chances


def draw(chances: np.ndarray, keys: np.ndarray, seed: int) -> np.ndarray:
    """Exactly as many rows as the chances (n,) sum to, each with its own chance: indices, ascending.

    Systematic sampling (Madow, Annals of Mathematical Statistics 1949) along an order that the rows'
    keys (n,) uint64 decide: the rows are laid end to end, each as long as its chance, and every whole
    number after a random beginning in 0..1 falls into one of them.
    """
    sure, open_ = np.flatnonzero(chances >= 1), np.flatnonzero((chances > 0) & (chances < 1))
    size = int(np.rint(chances[open_].sum()))
    if not size:
        return sure
    order = open_[np.lexsort((open_, mix(keys[open_], seed)))]
    ends = np.cumsum(chances[order])
    ends *= size / ends[-1]  # the sum is a whole number but for rounding
    beginning = np.random.Generator(np.random.PCG64(seed_of(seed, "beginning"))).random()
    hit = np.searchsorted(ends, beginning + np.arange(size), side="right")
    return np.sort(np.concatenate([sure, order[np.minimum(hit, len(order) - 1)]]))
