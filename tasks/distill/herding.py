"""Herding: the real rows whose running mean stays nearest to the mean of their class.

Welling, "Herding Dynamical Weights to Learn", ICML 2009, in the form of Rebuffi et al., "iCaRL",
CVPR 2017, algorithm 4: embeddings are scaled to length one, mu is their mean, and the k-th pick is
the unused row that brings the mean of the k picks nearest to mu. The error of that mean falls like
1/k where random rows give 1/sqrt(k).

It assumes embeddings in which the mean describes the class, made by a network that did not train
on these rows: one that did makes its label errors look typical. The picks lie near the mean and
lack diversity: on Fashion-MNIST herding wins at one row a class and loses to random from ten on
(Zhao et al., "Dataset Condensation", ICLR 2021, table 1). Cost: one pass over the class's
embeddings a pick, O(rows * dimensions * per_class).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.distill.vectors import embedding_of, unit


class Herding(Distiller):
    """The rows whose mean embedding follows the class mean."""

    kind: Literal["herding"] = "herding"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Rebuffi et al., iCaRL, CVPR 2017, algorithm 4"
    reads: ClassVar[frozenset[Read]] = frozenset({"embedding"})

    per_class: int = Field(10, ge=1, description="rows kept of each class; fewer where a class is smaller")

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """min(per_class, n) different rows in the order picked; no randomness, so `seed` is not used.

        ValueError without embeddings, or where one is not finite.
        """
        vectors = embedding_of(examples, self.kind).astype(np.float64)
        return Distilled([[row] for row in herd(unit(vectors), self.per_class)])


def herd(vectors: np.ndarray, m: int) -> list[int]:
    """min(m, n) row numbers of (n, d) float64 in the order picked; ties go to the lower row.

    With S the sum of the k - 1 rows picked, || mu - (S + e) / k || is least where
    2 <k mu - S, e> - ||e||^2 is greatest: one product a pick instead of n distances.
    """
    # einsum sums each row by itself in a fixed order; a BLAS product may split it between threads
    squared = np.einsum("nd,nd->n", vectors, vectors)
    mean = vectors.mean(axis=0)
    wanted = np.zeros_like(mean)
    unused = np.ones(len(vectors), dtype=bool)
    picks: list[int] = []
    for _ in range(min(m, len(vectors))):
        wanted += mean
        gain = 2 * np.einsum("nd,d->n", vectors, wanted) - squared
        pick = int(np.argmax(np.where(unused, gain, -np.inf)))
        picks.append(pick)
        unused[pick] = False
        wanted -= vectors[pick]
    return picks
