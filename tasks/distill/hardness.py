"""Hardness: the rows that a network finds hardest, or a share of every degree of hardness.

`el2n`: Paul, Ganguli & Dziugaite, "Deep learning on a data diet", NeurIPS 2021: the distance between the
probabilities and the label early in training, mean over networks. `forgetting`: Toneva et al., "An
empirical study of example forgetting", ICLR 2019: how often a row turned from right to wrong. Both are
recorded by the `convnet` teacher as it trains anyway (see `tasks.teach.dynamics`), where the papers train
networks for it: ten for EL2N; here it is the mean over the folds that trained on the row.

The hardest rows help where half of a set stays. At one row in ten and below they are far worse than
`random`, and with wrong labels left they are the errors first. `coverage` is the answer of Zheng et al.,
"Coverage-centric coreset selection" (CCS), ICLR 2023: leave out the hardest share, most likely mislabelled,
cut the range of the score into 50 strata of equal width, give every stratum the same budget (one that
has fewer rows passes on what is left) and draw blindly within. Its budgets are those of dealing one row
after another to the strata in turn, the largest first, and that order is kept: so a prefix is CCS for its
size. (The cut stays, which the paper makes larger the smaller the set.)

A row that no network trained on under its decided label, such as one that was relabelled, has no score
and comes after all others, blindly. Cost: a sort.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.seeds import mix

STRATA = 50


class Hardness(Distiller):
    """Rows by how a network learned them."""

    kind: Literal["hardness"] = "hardness"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Paul et al., Deep learning on a data diet, NeurIPS 2021; Zheng et al., ICLR 2023"
    reads: ClassVar[frozenset[Read]] = frozenset({"dynamics"})

    per_class: int = Field(10, ge=1, description="rows kept of each class; fewer where a class is smaller")
    score: Literal["el2n", "forgetting"] = Field("el2n", description="what makes a row hard")
    coverage: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="rows of every hardness alike (CCS), once this share of the hardest is left out; 0.3 in "
        "the paper to keep one row in ten; unset: the hardest",
    )

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """At most per_class different rows in the order picked; the seed and the rows' keys settle ties.

        ValueError where nobody recorded how rows were learned, or recorded no errors and `score` is el2n.
        """
        chance = mix(examples.keys, seed)
        scores = self.scores(examples)
        known = np.flatnonzero(~np.isnan(scores))
        rest = np.flatnonzero(np.isnan(scores))
        if self.coverage is None:
            order = hardest(scores[known], chance[known])
        else:
            order = covering(scores[known], chance[known], self.coverage)
        picks = np.concatenate([known[order], rest[np.argsort(chance[rest], kind="stable")]])
        return Distilled([[row] for row in picks[: self.per_class].tolist()])

    def scores(self, examples: Examples) -> np.ndarray:
        """Hardness, float64 (n,), NaN where it is not known."""
        if examples.dynamics is None:
            raise ValueError("hardness needs to know how rows were learned; add a convnet teacher to teach")
        dynamics = examples.dynamics.astype(np.float64)
        if self.score == "forgetting":
            return np.asarray(dynamics[:, 1])
        old = np.flatnonzero(np.isnan(dynamics[:, 2]) & ~np.isnan(dynamics[:, 0]))
        if len(old):
            raise ValueError(
                f"hardness: the networks that learned row {examples.ids[old[0]]} recorded no errors; run "
                "teach again with --force, or set score: forgetting"
            )
        return np.asarray(dynamics[:, 2])


def hardest(scores: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Row numbers from the highest score down; ties by chance (n,) uint64, the smallest first."""
    return np.lexsort((chance, -scores))


def covering(scores: np.ndarray, chance: np.ndarray, cut: float) -> np.ndarray:
    """Row numbers in an order of which every prefix is CCS's choice of that size: (n - floor(cut * n),).

    scores: (n,) float64. chance: (n,) uint64, blind to the scores.
    """
    left = hardest(scores, chance)[int(cut * len(scores)) :]
    if not len(left):
        return left
    low, high = scores[left].min(), scores[left].max()
    width = (high - low) / STRATA or 1.0
    stratum = np.minimum((scores[left] - low) / width, STRATA - 1).astype(np.int64)
    within = np.lexsort((chance[left], stratum))
    sizes = np.bincount(stratum, minlength=STRATA)
    place = np.empty(len(left), np.int64)  # which of its stratum's rows a row is, by chance
    place[within] = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(left[np.lexsort((-stratum, -sizes[stratum], place))])
