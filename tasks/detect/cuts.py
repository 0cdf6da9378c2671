"""Where confident learning cuts: a few passes over blocks of rows, and what a row's flag hangs on.

One pass for the probabilities of the given labels (thresholds), one that counts the confident joint, one
that finds the cuts; another where a cell prunes more rows than disagree with their label, and more where
rows are equal at a cut. What threads add up are integers, and what they rank is sorted, so their number
changes no bit.

Memory: a few blocks; tables of k x k; seven bytes a row (its label, the probability of it, whether it is
the likeliest class) and up to 12 more while all rows are ranked; 8 bytes a row that disagrees with its
label, and some 30 a label to prune while they are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tasks.detect import counting, pruning
from tasks.detect.blocks import Block, Blocks, in_order
from tasks.detect.quality import normalized_margin

TIED_NUMBERS = 1 << 24
"""Margins of tied cells that are kept at once, 64 MiB; more of them take another pass."""

ONE_CLASS = "the given labels are all of one class"
NO_ROWS = "no row has a given label"

PRUNING = ("prune_by_noise_rate", "prune_by_class", "both")

NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Cuts:
    """What decides whether a row is flagged, besides the row itself.

    thresholds: (k,). floor: (k,) float32, what reaches them. confident_joint: (k, k) int64, rows the given
    label, columns the confident class, the diagonal at least 1. A row is pruned by noise rate where its
    margin for a class reaches its bound in `margin`, or it is of tied_margin; by class
    where the probability of its label is below given[label], (k,) float32, or it is of tied_given; a
    `low_` mode takes scores below `score`, and the rows of tied_score. The tied are places, (t,) int64.
    refusal: why the rows cannot be judged, or None.
    """

    filter_by: str
    thresholds: np.ndarray
    floor: np.ndarray
    confident_joint: np.ndarray
    margin: pruning.Bounds
    given: np.ndarray
    score: float = -np.inf
    tied_margin: np.ndarray = field(default_factory=lambda: NONE)
    tied_given: np.ndarray = field(default_factory=lambda: NONE)
    tied_score: np.ndarray = field(default_factory=lambda: NONE)
    refusal: str | None = None

    @property
    def tied(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.tied_margin, self.tied_given, self.tied_score

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the tied, as arrays: of the margins the cells that prune, label * k + class."""
        return {
            "thresholds": self.thresholds.astype(np.float64),
            "floor": self.floor,
            "confident_joint": self.confident_joint,
            "cells": self.margin.cells,
            "margins": self.margin.values,
            "given": self.given,
            "score": np.array([self.score], dtype=np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], filter_by: str, refusal: str | None) -> Cuts:
        return cls(
            filter_by,
            arrays["thresholds"],
            arrays["floor"],
            arrays["confident_joint"],
            pruning.Bounds(len(arrays["floor"]), arrays["cells"], arrays["margins"]),
            arrays["given"],
            float(arrays["score"][0]),
            refusal=refusal,
        )


@dataclass(frozen=True)
class Seen:
    """What is kept of every row. labels: (n,) uint16 or int32. given: (n,) float32. starts: (k + 1,), where
    each class starts among the rows class by class. agrees: (n,) bool, filled by the second pass."""

    labels: np.ndarray
    given: np.ndarray
    starts: np.ndarray
    agrees: np.ndarray

    def places(self, label: int | np.integer[Any]) -> np.ndarray:
        return np.flatnonzero(self.labels == label)


def find(
    blocks: Blocks, k: int, filter_by: str, frac_noise: float = 1.0, min_examples_per_class: int = 1
) -> tuple[Cuts, Seen]:
    """Judge rows by their k class probabilities, out of sample; every label is in 0..k-1.

    Parameters are those of `cleanlab.filter.find_label_issues`.
    """
    seen, thresholds = gathered(blocks, k)
    floor, counts = counting.floors(thresholds), np.diff(seen.starts)
    joint, low, scores, (at, gains) = counted(blocks, seen, floor, filter_by)
    no_margin, no_given = pruning.Bounds(k, NONE, NONE), np.full(k, -np.inf, np.float32)
    cuts = Cuts(filter_by, thresholds, floor, joint, no_margin, no_given)
    if not len(seen.labels):
        return replace(cuts, refusal=NO_ROWS), seen
    if np.count_nonzero(counts) < 2:
        return replace(cuts, refusal=ONE_CLASS), seen
    if filter_by.startswith("low_"):
        score, tied = pruning.smallest(scores, low)
        cuts = replace(cuts, score=score, tied_score=tied)
    if filter_by in PRUNING:
        prune = counting.prune_counts(joint, counts, min_examples_per_class, frac_noise)
        few = counts <= max(min_examples_per_class, 1)
        if filter_by != "prune_by_noise_rate":
            given, tied = cuts_by_class(seen, np.where(few, 0, counts - prune.diagonal()))
            cuts = replace(cuts, given=given, tied_given=tied)
        if filter_by != "prune_by_class":
            np.fill_diagonal(prune, 0)
            prune[:, few] = 0
            true, label = np.divmod(np.flatnonzero(prune), k)
            order = np.argsort(label, kind="stable")
            cells = (label * k + true)[order]
            wanted = prune[true, label][order]
            lowest = pruning.first_bounds(cells, wanted, at, gains)
            margin, tied = cuts_by_noise(blocks, seen, cells, wanted, lowest)
            cuts = replace(cuts, margin=margin, tied_margin=tied)
    return cuts, seen


def gathered(blocks: Blocks, k: int) -> tuple[Seen, np.ndarray]:
    """First pass: the labels, their probabilities, and the thresholds (k,)."""
    kind = np.uint16 if k <= 1 << 16 else np.int32
    read = [(np.zeros(0, kind), np.zeros(0, np.float32))]
    read += in_order(lambda block: (block.labels.astype(kind), block.given()), blocks())
    labels, given = (np.concatenate(parts) for parts in zip(*read, strict=True))
    del read
    starts = counting.class_starts(labels, k)
    thresholds = counting.thresholds(counting.by_class(given, labels, starts), starts)
    return Seen(labels, given, starts, np.empty(len(labels), bool)), thresholds


def counted(
    blocks: Blocks, seen: Seen, floor: np.ndarray, filter_by: str
) -> tuple[np.ndarray, int, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Second pass: the confident joint (k, k); how many rows are off its diagonal and disagree with their
    label; the scores (n,) that a `low_` mode ranks; and where the noise is pruned, of the rows that disagree
    with their label the cells (d,) of their likeliest class and the margins (d,). Fills seen.agrees."""
    k, ranks_margins = len(floor), filter_by == "low_normalized_margin"
    joint = np.zeros((k, k), np.int64)
    scores = np.empty(len(seen.labels), np.float32) if ranks_margins else seen.given
    by_noise = filter_by in ("prune_by_noise_rate", "both")
    cells, gains = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]

    def look(block: Block) -> tuple[np.ndarray, counting.Survey, np.ndarray]:
        pred_probs = block.read()
        margins = normalized_margin(block.labels, pred_probs) if ranks_margins else NONE
        return block.labels, counting.survey(block.labels, pred_probs, floor), margins

    low = start = 0
    for labels, found, margins in in_order(look, blocks()):
        here, confident = slice(start, start := start + len(labels)), found.guess >= 0
        np.add.at(joint.reshape(-1), labels[confident] * k + found.guess[confident], 1)
        low += int(np.count_nonzero(confident & (found.guess != labels) & ~found.agrees))
        seen.agrees[here] = found.agrees
        if ranks_margins:
            scores[here] = margins
        if by_noise:
            rows = np.flatnonzero(~found.agrees)
            cells.append((labels[rows] * k + found.top[rows]).astype(np.int32))
            gains.append(found.highest[rows] - found.given[rows])
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint, low, scores, (np.concatenate(cells), np.concatenate(gains))


def cuts_by_class(seen: Seen, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each class, as many rows as wanted (k,) with the lowest probability of their label: cuts (k,)
    float32, and places (t,) of rows at a cut."""
    cuts, tied = np.full(len(wanted), -np.inf, np.float32), [NONE]
    for label in np.flatnonzero(wanted > 0):
        places = seen.places(label)
        cuts[label], equals = pruning.smallest(seen.given[places], wanted[label])
        tied.append(places[equals])
    places = np.concatenate(tied)
    return cuts, places[~seen.agrees[places]]


def cuts_by_noise(
    blocks: Blocks, seen: Seen, cells: np.ndarray, wanted: np.ndarray, lowest: np.ndarray
) -> tuple[pruning.Bounds, np.ndarray]:
    """For each cell (c,), label * k + class, as many rows as wanted (c,) with the largest margins: what they
    reach, and places (t,) of rows that are equal at a cut and pruned. lowest: (c,) known lower bounds."""
    k = len(seen.starts) - 1
    cut, full, split = ranked(blocks, seen, pruning.Leaders(k, cells, wanted, lowest), all_rows=False)
    deep = np.flatnonzero(~full)
    if len(deep):
        everything = np.full(len(deep), -np.inf, dtype=np.float32)
        leaders = pruning.Leaders(k, cells[deep], wanted[deep], everything)
        cut[deep], _, split[deep] = ranked(blocks, seen, leaders, all_rows=True)
    cut[split] = np.nextafter(cut[split], np.float32(np.inf))
    places, sizes = [NONE], np.diff(seen.starts)[cells // k]
    for numbers in in_groups(np.flatnonzero(split), sizes):
        ties = pruning.TiedMargins(cells[numbers], seen.starts)
        for block, given, _ in with_seen(blocks, seen):
            ties.add(block.labels, block.read(), given)
        for number, cell in enumerate(numbers):
            places.append(seen.places(cells[cell] // k)[ties.pruned(number, wanted[cell])])
    tied = np.unique(np.concatenate(places))
    return pruning.Bounds(k, cells, cut), tied[~seen.agrees[tied]]


def ranked(
    blocks: Blocks, seen: Seen, leaders: pruning.Leaders, all_rows: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leaders' cuts, among all rows of their labels or those that disagree with theirs."""
    judged = np.diff(leaders.bounds.starts) > 0

    def contenders(known: tuple[Block, np.ndarray, np.ndarray]) -> np.ndarray:
        block, given, agrees = known
        rows = np.flatnonzero(judged[block.labels] if all_rows else ~agrees)
        return leaders.contenders(rows, block.labels, block.read(), given, agrees)

    for keys in in_order(contenders, with_seen(blocks, seen)):
        leaders.add(keys)
    return leaders.cuts()


def with_seen(blocks: Blocks, seen: Seen) -> Iterator[tuple[Block, np.ndarray, np.ndarray]]:
    """Each block with what is known of its rows: the probability of the label, and whether it agrees."""
    start = 0
    for block in blocks():
        here = slice(start, start := start + len(block.labels))
        yield block, seen.given[here], seen.agrees[here]


def in_groups(numbers: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of cells in runs of at most TIED_NUMBERS margins, or one cell; sizes: of all cells."""
    while len(numbers):
        stop = max(1, int(np.searchsorted(np.cumsum(sizes[numbers]), TIED_NUMBERS, side="right")))
        yield numbers[:stop]
        numbers = numbers[stop:]
