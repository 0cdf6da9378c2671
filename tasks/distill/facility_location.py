"""Facility location: the rows that serve all rows of their class best.

Mirzasoleiman, Bilmes & Leskovec, "Coresets for data-efficient training of machine learning models"
(CRAIG), ICML 2020, maximise sum_i max_{j in S} s_ij by greedy; so does Schreiber et al., "apricot", JMLR
2020. Here s is the cosine of two embeddings, nothing where it is negative (what CRAIG takes, distances of
last-layer gradients, would need a teacher's head). The greedy order is within 1 - 1/e of the best set of
its size at every prefix.

Exact greedy costs n^2 d, which is seconds for 10,000 rows of a class and minutes for 50,000. For more,
`cells` cuts the class into neighbourhoods by k-means on a sample and lets rows of different ones count as
not similar (the clustered function of Kaushal et al., "Submodlib", 2022): 1/cells of the work, and at least
1 - 1/e of the best *clustered* value, which the whole value is at least. How much of the whole best that is
depends on the data. `rounds` then moves each pick to the middle of the rows that it serves, as k-medoids
does; the value does not fall, and mostly ends above that of exact greedy. Moved picks stay in the order of
those they came from, so a prefix is a valid set, but less than one selected at its size.

It assumes embeddings by a network that did not train on these rows, else its label errors look typical.
Copies of a row add nothing and come last. Cost: see `facilities` and `neighbourhoods`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.distill.facilities import greedy
from tasks.distill.neighbourhoods import SAMPLED_PER_CELL, merged, moved, partition
from tasks.distill.random import draw_rows
from tasks.distill.vectors import embedding_of, unit


class FacilityLocation(Distiller):
    """The rows to which all rows are most similar in sum."""

    kind: Literal["facility_location"] = "facility_location"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Mirzasoleiman, Bilmes & Leskovec, CRAIG, ICML 2020"
    reads: ClassVar[frozenset[Read]] = frozenset({"embedding"})

    per_class: int = Field(10, ge=1, description="rows kept of each class; fewer where a class is smaller")
    cells: int = Field(
        1,
        ge=1,
        le=100_000,
        description="neighbourhoods a class is cut into, for 1/cells of the work: 1 is exact greedy, within "
        "1 - 1/e of the best; more are that for the part of the similarity that lies within them",
    )
    rounds: int = Field(
        0, ge=0, le=100, description="times each pick is moved to the middle of the rows it serves, if better"
    )

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        """min(per_class, n) different rows in the order picked; the seed draws the sample that cells are
        learned from. ValueError without embeddings, or where one is not finite."""
        from tasks.teach.rowwise import one_thread

        rows = embedding_of(examples, self.kind)
        cells = min(self.cells, len(rows))
        with one_thread():
            if cells == 1:
                order: Iterator[int] = (row for row, _ in greedy(unit(rows)))
            else:
                sample = np.array(draw_rows(examples.keys, SAMPLED_PER_CELL * cells, seed))
                order = merged(rows, partition(rows, cells, sample))
            picks = np.array(list(islice(order, self.per_class)))
            for _ in range(self.rounds):
                picks = moved(rows, picks)
        return Distilled([[row] for row in picks.tolist()])
