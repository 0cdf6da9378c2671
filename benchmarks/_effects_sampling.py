"""Robust Active Distillation beside margin and random sampling, at equal budgets.

Baykal et al., ICLR 2023: a student that knows few labels picks rows in rounds, an expensive teacher
answers, wrongly for a SHARE of the pool. The student is winnow's linear teacher, calibrated by its own folds
before its margins are taken. The robust draw is told the share, as the paper's is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks._effects import CLASSES, LINEAR, SHARE, Pictures, cross_fitted
from tasks.data import Examples, State
from tasks.seeds import seed_of
from tasks.teach.robust_sampling import draw, gains, inclusion, robust, top
from tasks.teach.temperature import scale

ROUNDS = 3
AT_RANDOM, ON_THE_HARDEST = "at random", "on the hardest rows"
WAYS = ("robust", "margin", "random")


@dataclass(frozen=True)
class Task:
    """start: rows whose labels the student knows. pool: rows to ask about, with what the teacher answers.
    test: rows to judge the student by."""

    start: Examples
    pool: Examples
    test: Examples


def dealt(pictures: Pictures, seed: int) -> Task:
    """A 36th of the rows to start from, two thirds to ask about, answered rightly, and the rest."""
    order = np.random.default_rng(seed).permutation(len(pictures.rows))
    start, pool = len(order) // 36, len(order) * 2 // 3
    deal = np.split(order, [start, start + pool])
    return Task(*(pictures.rows.take(part) for part in deal))


def budgets(task: Task) -> tuple[int, ...]:
    return len(task.pool) // 20, len(task.pool) // 4


def answered(task: Task, place: str, seed: int) -> np.ndarray:
    """What the teacher says of the pool, (n,): another class for a SHARE of it, at random or where the
    student that has only started is least sure."""
    random, truth = np.random.default_rng(seed), task.pool.labels
    n, wrong = len(truth), round(SHARE * len(truth))
    unsure = np.argsort(-gains(opinion(task.start, task.pool, seed)), kind="stable")
    chosen = unsure[:wrong] if place == ON_THE_HARDEST else random.choice(n, wrong, replace=False)
    said = truth.copy()
    said[chosen] = (truth[chosen] + random.integers(1, CLASSES, wrong)) % CLASSES
    return said


def opinion(known: Examples, rows: Examples, seed: int) -> np.ndarray:
    """Calibrated probabilities (n, k) by a student of the known rows."""
    state, temperature = student(known, seed), cross_fitted(LINEAR, known, seed).temperature
    log_probs = scale(LINEAR.predict(state, rows, CLASSES, "cpu")[0], temperature)
    return np.asarray(np.exp(log_probs))


def student(known: Examples, seed: int) -> State:
    return LINEAR.fit(known, CLASSES, seed, "cpu")


def accuracy(task: Task, said: np.ndarray, way: str, budget: int, seed: int) -> float:
    """The share of the test rows on which a student is right once it knows the answers for `budget` rows."""
    pool = replace(task.pool, labels=said)
    asked = np.zeros(len(pool), dtype=bool)
    for number in range(ROUNDS):
        left = np.flatnonzero(~asked)
        count = budget * (number + 1) // ROUNDS - budget * number // ROUNDS
        known = Examples.concat([task.start, pool.take(asked)])
        chances = chances_of(way, known, pool.take(left), count, seed)
        asked[left[draw(chances, pool.keys[left], seed_of(way, seed, number))]] = True
    final = student(Examples.concat([task.start, pool.take(asked)]), seed)
    said_of_test = LINEAR.predict(final, task.test, CLASSES, "cpu")[0]
    return float((said_of_test.argmax(axis=1) == task.test.labels).mean())


def chances_of(way: str, known: Examples, left: Examples, count: int, seed: int) -> np.ndarray:
    """How likely each of the rows that are left is to be asked about, (n,); they sum to `count`."""
    if way == "random":
        return np.full(len(left), count / len(left))
    gain = gains(opinion(known, left, seed))
    if way == "margin":
        return top(gain, count)
    return inclusion(robust(gain, round(SHARE * len(left))).p, gain, count)


def sampled(pictures: Pictures, seed: int) -> dict[str, float]:
    """Accuracies by where the teacher errs, budget and way, and what robust sampling gains on the others."""
    values: dict[str, float] = {}
    task = dealt(pictures, seed)
    for place in (AT_RANDOM, ON_THE_HARDEST):
        said = answered(task, place, seed)
        for budget in budgets(task):
            case = f"errors {place}, {budget} of {len(task.pool)} rows asked about: student accuracy"
            right = {way: accuracy(task, said, way, budget, seed) for way in WAYS}
            values |= {f"{case}, {way}": share for way, share in right.items()}
            for way in WAYS[1:]:
                values[f"{case}, {WAYS[0]} less {way}"] = right[WAYS[0]] - right[way]
    return values
