"""Real digits with three facts of each, as `Examples` of multi_label. No tests here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.data import Examples
from tests.tasks.teach.examples import digits

FACTS = ("even", "above_four", "has_loop")
HAVE = np.array([[digit % 2 == 0, digit > 4, digit in (0, 6, 8, 9)] for digit in range(10)], dtype=np.int8)
"""Which of FACTS each digit has."""


def facts(n: int = 1797, noise: float = 0.0) -> tuple[Examples, np.ndarray]:
    """The first n digits with what was said of them, (n, 3) int8 in `given`, and the truth; a share `noise`
    of the answers is wrong."""
    examples, digit = digits(n)
    truth = HAVE[digit]
    wrong = np.random.default_rng(1).random(truth.shape) < noise
    given = np.where(wrong, 1 - truth, truth).astype(np.int8)
    return replace(examples, labels=np.zeros(n, np.int32), given=given), truth
