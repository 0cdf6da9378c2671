"""Cuts against whole sorts: pytest tests/tasks/detect/test_pruning.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.detect import pruning
from tasks.detect.pruning import (
    CLEAR,
    Bounds,
    Leaders,
    TiedMargins,
    first_bounds,
    key_margins,
    margin_keys,
    smallest,
)

MARGINS = st.floats(-1, 1, width=32)


@given(arrays(np.float32, st.integers(1, 40), elements=MARGINS), st.integers(0, 2**31 - 1))
def test_keys_sort_by_falling_margin_and_give_it_back(margins: np.ndarray, cell: int) -> None:
    keys = margin_keys(np.full(len(margins), cell), margins, np.zeros(len(margins), dtype=bool))
    assert np.array_equal(key_margins(keys), margins)
    assert np.array_equal(key_margins(np.sort(keys)), np.sort(margins)[::-1])
    assert np.all(keys >> np.uint64(33) == cell)


def test_keys_sort_by_cell_then_margin_then_disagreement() -> None:
    cells = np.array([1, 0, 0, 0, 0])
    margins = np.array([0.9, -0.0, 0.0, 0.5, -0.5], np.float32)
    agrees = np.array([False, True, False, True, False])
    order = np.argsort(margin_keys(cells, margins, agrees))
    assert order.tolist() == [3, 2, 1, 4, 0]


@given(
    arrays(np.float32, st.integers(1, 30), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.integers(-1, 31),
)
def test_the_smallest_are_the_first_of_numpys_sort(values: np.ndarray, wanted: int) -> None:
    cut, equals = smallest(values, wanted)
    chosen = values < cut
    assert not chosen[equals].any()
    chosen[equals] = True
    assert np.array_equal(np.flatnonzero(chosen), np.sort(np.argsort(values)[: max(wanted, 0)]))


def cell_by_cell(labels: np.ndarray, pred_probs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which rows belong to the first `wanted` of some cell, by sorting every cell: (n,) bool."""
    pruned = np.zeros(len(labels), dtype=bool)
    for label, other in np.argwhere(wanted > 0):
        rows = np.flatnonzero(labels == label)
        margins = pred_probs[rows, other] - pred_probs[rows, label]
        pruned[rows[np.argsort(-margins)[: wanted[label, other]]]] = True
    return pruned


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(2, 6),
    st.integers(1, 120),
    st.booleans(),
    st.integers(1, 50),
    st.integers(1, 8),
)
def test_cuts_and_ties_are_those_of_whole_sorts(
    seed: int, k: int, n: int, coarse: bool, step: int, sparse: int
) -> None:
    """However the rows are dealt into blocks, however often the contenders are sorted in between, and
    whether a row's cells are looked up or compared all at once."""
    rng = np.random.default_rng(seed)
    labels, pred_probs = rng.integers(0, k, n), rng.dirichlet(np.full(k, 0.5), n).astype(np.float32)
    if coarse:
        pred_probs = np.round(pred_probs * 8) / np.float32(8)
    given = pred_probs[np.arange(n), labels]
    agrees = given + np.float32(1e-6) >= pred_probs.max(axis=1)
    counts = np.bincount(labels, minlength=k)
    asked = np.minimum(rng.integers(0, 12, (k, k)), counts[:, None]) * (rng.random((k, k)) < 1 / sparse)
    np.fill_diagonal(asked, 0)
    cells = np.flatnonzero(asked)
    wanted = asked.ravel()[cells]
    blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    lowest = np.full(len(cells), -np.inf, np.float32)
    if seed % 2:  # those that disagree are enough where all margins wanted are clear
        top = pred_probs.argmax(axis=1)[~agrees]
        gains = pred_probs.max(axis=1)[~agrees] - given[~agrees]
        lowest = first_bounds(cells, wanted, labels[~agrees] * k + top, gains)
    leaders = Leaders(k, cells, wanted, lowest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "WAITING", 3)
        for b in blocks:
            rows = np.arange(b.stop - b.start)
            leaders.add(leaders.contenders(rows, labels[b], pred_probs[b], given[b], agrees[b]))
    cuts, full, split = leaders.cuts()
    if not seed % 2:
        assert np.all(full)
    cells, wanted = cells[full], wanted[full]
    above, tied = cuts[full], np.flatnonzero(split[full])
    above[tied] = np.nextafter(above[tied], np.float32(np.inf))
    pruned = np.zeros(n, dtype=bool)
    pruned[Bounds(k, cells, above).reached(np.arange(n), labels, pred_probs, given)[0]] = True
    ties = TiedMargins(cells[tied], np.concatenate([[0], np.cumsum(counts)]))
    for b in blocks:
        ties.add(labels[b], pred_probs[b], given[b])
    for number, cell in enumerate(tied):
        rows = np.flatnonzero(labels == cells[cell] // k)
        pruned[rows[ties.pruned(number, wanted[cell])]] = True
    asked.ravel()[np.setdiff1d(np.flatnonzero(asked), cells)] = 0
    assert np.array_equal(pruned & ~agrees, cell_by_cell(labels, pred_probs, asked) & ~agrees)


def test_the_first_bound_is_a_margin_that_enough_rows_have() -> None:
    """Of cell 1 two rows are wanted and three known, of cell 5 more wanted than known; 7 is no cell."""
    at, margins = np.array([1, 1, 1, 5, 7]), np.array([0.5, 0.75, 0.25, 0.5, 1.0], np.float32)
    lowest = first_bounds(np.array([1, 5]), np.array([2, 2]), at, margins)
    assert lowest[0] == 0.5
    assert CLEAR < lowest[1] < 2.1e-6


def test_a_clear_margin_is_none_of_a_label_that_agrees() -> None:
    """The margin that the veto forgives, 1e-6, is below what counts as clear, whatever float32 rounds."""
    given = np.linspace(0, 1, 100_001, dtype=np.float32)
    raised = given + np.float32(1e-6)
    assert np.all(raised - given < CLEAR)


def test_cells_that_want_more_than_there_is_are_not_full() -> None:
    leaders = Leaders(2, np.array([1]), np.array([3]), np.array([-np.inf]))
    pred_probs = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    labels, agrees = np.array([0, 0]), np.array([True, False])
    leaders.add(leaders.contenders(np.arange(2), labels, pred_probs, pred_probs[:, 0], agrees))
    cuts, full, split = leaders.cuts()
    assert cuts.tolist() == [-np.inf]
    assert full.tolist() == split.tolist() == [False]


def test_no_cells_cut_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    cuts, full, split = Leaders(3, none, none, none).cuts()
    assert len(cuts) == len(full) == len(split) == 0
    assert len(first_bounds(none, none, np.array([4]), np.array([0.5], np.float32))) == 0
