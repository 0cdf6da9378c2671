"""The labels that several people gave, as numbers: what `dawid_skene` and `crowdlab` compute with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.data import Annotations


@dataclass(frozen=True)
class Votes:
    """Labels that people gave, one entry a label.

    row: (L,) int64 in 0..n_rows-1. annotator: (L,) int64 in 0..M-1, or M for one that nobody knows.
    label: (L,) int64 in 0..k-1.
    """

    row: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    n_rows: int

    def __len__(self) -> int:
        return len(self.row)


def names_in(said: Annotations) -> list[str]:
    """Everyone who gave a label, in the order of their names."""
    return sorted(pc.unique(pa.array(said.annotators, pa.string())).to_pylist())


def votes_of(said: Annotations, names: Sequence[str], n_classes: int) -> Votes:
    """Annotations as numbers: annotators by their place in `names`, len(names) for anyone else. Labels of
    classes beyond `n_classes` are left out."""
    at = pc.index_in(pa.array(said.annotators, pa.string()), value_set=pa.array(names, pa.string()))
    annotator = at.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    known = (said.classes >= 0) & (said.classes < n_classes)
    return Votes(said.rows[known], annotator[known], said.classes[known].astype(np.int64), len(said))
