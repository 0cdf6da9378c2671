"""Confident learning where several classes may apply to a row: one yes/no question a class.

Northcutt, Jiang & Chuang, JAIR 70 (2021), section 3, on each class by itself, as cleanlab 2.9 does it in
`multilabel_classification.filter`: a two-class problem of "does not apply" and "applies", with
probabilities 1 - p and p in float32. A row is flagged where any of its answers is. The `low_` modes rank
rows instead: as many as confident learning flags, those of the lowest score. The score is that of
Thyagarajan et al., "Identifying Incorrect Annotations in Multi-Label Classification Data", arXiv
2211.13895: the qualities of a row's answers, the best first, by an exponential moving average that ends
with the worst and gives it `WEIGHT`.

Answers are gathered at 3 bytes each, for as many classes at once as `ANSWERS` allows; the rows are read
again for each further group of classes. Cost: k times confident learning with two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tasks.detect import pruning
from tasks.detect.blocks import Block, Blocks, spans
from tasks.detect.cuts import NONE, Cuts, find
from tasks.detect.dense import STORED
from tasks.detect.label_issues import flags
from tasks.detect.quality import quality

WEIGHT = 0.8
"""Of a row's worst answer in its score, cleanlab's default."""

ANSWERS = 1 << 26
"""Answers in memory at once: 192 MiB."""

Answered = tuple[np.ndarray, np.ndarray]
"""Some rows in order: given (b, k) int8, 1 for a class that applies, else 0; weights (b, k) int16, the
stored probabilities that they apply."""

Reader = Callable[[], Iterable[Answered]]
"""Reads the labelled rows anew, the same each time."""


@dataclass(frozen=True)
class SetCuts:
    """What decides which answers are flagged, besides the row itself.

    classes: the cuts of each class; none of its own where rows are ranked. Ranked rows are flagged below
    `score`, and those at places `tied_score`.
    """

    filter_by: str
    classes: tuple[Cuts, ...]
    score: float = -np.inf
    tied_score: np.ndarray = field(default_factory=lambda: NONE)

    @property
    def ranks_rows(self) -> bool:
        return self.filter_by.startswith("low_")

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the tied, a class after the other; margins (k, 2), infinite where nothing is pruned."""
        k = len(self.classes)
        margins = np.full((k, 4), np.inf, dtype=np.float32)
        for row, cuts in zip(margins, self.classes, strict=True):
            row[cuts.margin.cells] = cuts.margin.values
        return {
            "thresholds": np.array([cuts.thresholds for cuts in self.classes], np.float64).reshape(k, 2),
            "floor": np.array([cuts.floor for cuts in self.classes], np.float32).reshape(k, 2),
            "confident_joint": np.array([cuts.confident_joint for cuts in self.classes]).reshape(k, 2, 2),
            "margins": margins[:, 1:3].copy(),  # a view would be stored as the bytes it looks into
            "given": np.array([cuts.given for cuts in self.classes], np.float32).reshape(k, 2),
            "score": np.array([self.score], dtype=np.float64),
        }

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], filter_by: str, refusals: list[str | None]
    ) -> SetCuts:
        mode = "confident_learning" if filter_by.startswith("low_") else filter_by
        classes = []
        for j, refusal in enumerate(refusals):
            margins = arrays["margins"][j]
            used = np.flatnonzero(np.isfinite(margins))
            bounds = pruning.Bounds(2, used + 1, margins[used])
            floor, joint = arrays["floor"][j], arrays["confident_joint"][j]
            thresholds, given = arrays["thresholds"][j], arrays["given"][j]
            classes.append(Cuts(mode, thresholds, floor, joint, bounds, given, refusal=refusal))
        return cls(filter_by, tuple(classes), float(arrays["score"][0]))


def find_sets(
    read: Reader, n: int, k: int, filter_by: str, frac_noise: float = 1.0, min_examples_per_class: int = 1
) -> SetCuts:
    """The cuts of n rows of k answers each. Parameters are those of `label_issues.judge`."""
    ranks_rows = filter_by.startswith("low_")
    mode = "confident_learning" if ranks_rows else filter_by
    classes, flagged = [], np.zeros(n, dtype=bool)
    for labels, weights in gathered(read, n, k):
        cuts, _ = find(yes_no(labels, weights), 2, mode, frac_noise, min_examples_per_class)
        classes.append(cuts)
        if ranks_rows:
            flagged |= flags_of(cuts, labels, weights)
    if not ranks_rows:
        return SetCuts(filter_by, tuple(classes))
    scores = [score_of(qualities(*rows)) for rows in read()]
    cut, tied = pruning.smallest(np.concatenate(scores or [np.zeros(0)]), int(flagged.sum()))
    return SetCuts(filter_by, tuple(classes), cut, np.sort(tied))


def doubted(
    cuts: SetCuts, given: np.ndarray, weights: np.ndarray, tied: dict[int, np.ndarray], tied_score: np.ndarray
) -> np.ndarray:
    """Which answers are flagged, each row judged alone: given (b, k) int8, weights (b, k) int16 -> (b, k).

    tied: (3, b) bool of the classes that have rows equal at a cut. tied_score: (b,) bool. Of a row that
    was ranked, the answer of the lowest probability is.
    """
    found = np.zeros(given.shape, dtype=bool)
    if cuts.ranks_rows:
        confidence = qualities(given, weights)
        rows = np.flatnonzero((score_of(confidence) < cuts.score) | tied_score)
        found[rows, confidence[rows].argmin(axis=1)] = True
        return found
    for j, of_class in enumerate(cuts.classes):
        found[:, j] = flags_of(of_class, given[:, j], weights[:, j], tied.get(j))
    return found


def flags_of(
    cuts: Cuts, labels: np.ndarray, weights: np.ndarray, tied: np.ndarray | None = None
) -> np.ndarray:
    """Which answers of a class are flagged: labels (n,) int8, weights (n,) int16 -> (n,) bool."""
    found, none = np.zeros(len(labels), dtype=bool), np.zeros((3, len(labels)), dtype=bool)
    tied = none if tied is None else tied
    for here, block in blocks_of(labels, weights):
        found[here] = flags(cuts, block.labels, block.read(), tied[:, here])
    return found


def qualities(given: np.ndarray, weights: np.ndarray, method: str = "self_confidence") -> np.ndarray:
    """The quality of each answer, float64 (b, k): cleanlab's scores on the two-class view, in float32."""
    p = STORED[weights].reshape(-1)
    scores = quality(given.reshape(-1).astype(np.int64), both(p), method)
    return scores.reshape(given.shape).astype(np.float64)


def score_of(scores: np.ndarray) -> np.ndarray:
    """Qualities (b, k) float64, k at least 1 -> (b,) float64, the exponential moving average of the sorted
    ones, in cleanlab's order of operations."""
    best_first = np.sort(scores, axis=1)[:, ::-1].T
    averaged: np.ndarray = best_first[0]
    for worse in best_first[1:]:
        averaged = WEIGHT * worse + (1 - WEIGHT) * averaged
    return averaged


def gathered(read: Reader, n: int, k: int) -> Iterator[Answered]:
    """Class by class, the answers of all rows: labels (n,) int8 and weights (n,) int16."""
    group = max(1, ANSWERS // max(n, 1))
    for first in range(0, k, group):
        some = slice(first, min(first + group, k))
        labels = np.empty((some.stop - first, n), dtype=np.int8)
        weights = np.empty((some.stop - first, n), dtype=np.int16)
        start = 0
        for given, stored in read():
            here = slice(start, start := start + len(given))
            labels[:, here], weights[:, here] = given[:, some].T, stored[:, some].T
        yield from zip(labels, weights, strict=True)


def yes_no(labels: np.ndarray, weights: np.ndarray) -> Blocks:
    """The answers of one class as rows of two classes: labels (n,) int8, weights (n,) int16."""
    return lambda: (block for _, block in blocks_of(labels, weights))


def blocks_of(labels: np.ndarray, weights: np.ndarray) -> Iterator[tuple[slice, Block]]:
    """The same, each block with its place."""
    for here in spans(len(labels), 2):
        given, p = labels[here].astype(np.int64), STORED[weights[here]]
        yield here, Block(given, partial(of_given, given, p), partial(both, p))


def of_given(labels: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The probability of each answer that was given."""
    given: np.ndarray = np.where(labels == 1, p, 1 - p)
    return given


def both(p: np.ndarray) -> np.ndarray:
    """The probabilities of no and of yes, (n, 2)."""
    return np.stack([1 - p, p], axis=1)
