"""Random: rows of a class drawn blindly, the baseline every distiller has to beat.

At ten rows a class and more it is a strong one: with equal labels and training recipe most
published selections do not beat it (Guo et al., "DeepCore", 2022). The draw is a bottom-k sample
(Cohen & Kaplan, PODC 2007): each row's key and the seed give it a number and the smallest numbers
win, so a row that arrives or leaves changes at most one of those chosen.

It assumes that exact copies were dropped at ingest: copies share a key, so they are drawn
together. Cost: one sort of the class's rows; no payload is read.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.seeds import mix


class Random(Distiller):
    """A uniform sample of each class's rows."""

    kind: Literal["random"] = "random"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Cohen & Kaplan, Summarizing data using bottom-k sketches, PODC 2007"
    reads: ClassVar[frozenset[Read]] = frozenset()

    per_class: int = Field(10, ge=1, description="rows drawn from each class; fewer where a class is smaller")

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """min(per_class, n) different rows in the order drawn."""
        return Distilled([[row] for row in draw_rows(examples.keys, self.per_class, seed)])


def draw_rows(keys: np.ndarray, m: int, seed: int) -> list[int]:
    """min(m, n) different row numbers from keys (n,) uint64; rows of equal key in row order."""
    rows: list[int] = np.argsort(mix(keys, seed), kind="stable")[:m].tolist()
    return rows
