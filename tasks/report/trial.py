"""The trial of the distilled set: does it teach more than random rows would, in the same bytes?

The accuracy of a student that learned from a distilled set mixes three things: the set, the teachers
behind soft labels, and the recipe (Qin et al., "A Label is Worth a Thousand Images", NeurIPS 2024,
where random rows with soft labels are level with most distilled sets). So the distilled set is held
against random trusted rows, as many of each class, under labels of the same kind from the same
teachers, by the same recipe for as many steps; where a distilled image is a mosaic, the random set has
as many images and not as many tiles, since bytes are what a distilled set saves.

Seed s draws random rows of its own and starts both students alike, so d_s, the accuracy on the
distilled set less that on the random one, is paired by seed. A night makes one distilled set, which may
be better than most by luck alone, as a random set that is declared to be distilled may. So the set
counts as one draw beside the n random ones: the interval is that of a prediction, mean d ±
t(0.975, n - 1) s_d sqrt(1 + 1/n), and not of a mean, whose 1/n would let one lucky set in twelve pass
at three seeds. With 5 seeds that is mean ± 3.041 s_d, hardly more than 2.484 s_d for the mean of three.
A set that was drawn like the random ones passes at most one night in forty. Not covered is which rows
students are tested on: all have the same.

Tested on one content in five, which the distiller is not given once there is a trial. The teachers
behind soft labels saw those rows, which favours neither side. Cost: two students a seed, whatever the
number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from tasks.method import Method

CONFIDENCE = 0.95


class Trial(Method):
    """Students on the distilled set against students on random rows."""

    kind: Literal["trial"] = "trial"
    revision: ClassVar[int] = 3
    paper: ClassVar[str] = "Li et al., DD-Ranking, 2025, improvement over random"

    seeds: int = Field(5, ge=2, le=20, description="pairs of students; fewer than 4 hardly ever decide")
    steps: int = Field(300, ge=1, le=100_000, description="steps of every student")
    width: int = Field(32, ge=1, le=1024, description="filters, or hidden units where rows are no pictures")
    flip: bool = Field(False, description="let students see mirror images; wrong for digits")
    test_rows: int = Field(4000, ge=1, description="held-out rows they are judged on, at most")


class Margin(NamedTuple):
    """How much more accurate students are on the distilled set, and the interval of that."""

    mean: float
    low: float
    high: float


def margin(distilled: Sequence[float], random: Sequence[float]) -> Margin:
    """Accuracies compared in pairs, one a seed in both, of one set against many; at least two seeds."""
    from scipy.stats import t

    differences = np.subtract(distilled, random)
    n = len(differences)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(differences.std(ddof=1)) * (1 + 1 / n) ** 0.5
    mean = float(differences.mean())
    return Margin(mean, mean - half, mean + half)
