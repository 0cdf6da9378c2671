"""The order of an epoch. Run with: python -m pytest tests/tasks/train/test_order.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.train.order import Run, buffers, draw_of, lane_bounds, piece_order, share

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=12)


def test_two_ranks_of_nine_rows_take_as_many_steps_and_share_the_odd_row() -> None:
    shares = [share(9, 2, rank, 2, drop_last=False) for rank in (0, 1)]
    assert [(s.start, s.stop) for s in shares] == [(0, 4), (4, 9)]
    assert [s.bounds.tolist() for s in shares] == [[0, 2, 3, 4], [0, 2, 4, 5]]


def test_with_drop_last_every_batch_is_full() -> None:
    shares = [share(11, 2, rank, 2, drop_last=True) for rank in (0, 1)]
    assert [(s.start, s.stop, s.bounds.tolist()) for s in shares] == [(0, 4, [0, 2, 4]), (5, 9, [0, 2, 4])]


@given(rows=st.integers(2, 500), batch_size=st.integers(2, 40), world_size=st.integers(1, 8))
def test_ranks_cover_all_rows_once_in_equally_many_batches(
    rows: int, batch_size: int, world_size: int
) -> None:
    if rows < world_size:
        with pytest.raises(ValueError, match="do not go round"):
            share(rows, batch_size, 0, world_size, drop_last=False)
        return
    shares = [share(rows, batch_size, rank, world_size, drop_last=False) for rank in range(world_size)]
    assert [s.start for s in shares] + [rows] == [0] + [s.stop for s in shares]
    assert len({s.steps for s in shares}) == 1
    for s in shares:
        sizes = np.diff(s.bounds)
        assert sizes.sum() == s.stop - s.start
        assert sizes.min() >= 1
        assert sizes.max() <= batch_size


def test_too_few_rows_for_one_full_batch_a_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="no full batch of 4 on 2 ranks"):
        share(7, 4, 0, 2, drop_last=True)


@given(sizes=SIZES, lanes=st.integers(1, 4), buffer_rows=st.integers(1, 40), batch_size=st.integers(2, 7))
def test_lanes_and_buffers_read_every_row_once(
    sizes: list[int], lanes: int, buffer_rows: int, batch_size: int
) -> None:
    counts = np.array(sizes)
    ordered = piece_order(len(counts), 3, 1, shuffle=True)
    whole = share(int(counts.sum()), batch_size, 0, 1, drop_last=False)
    seen = []
    for lane in range(lanes):
        bounds = lane_bounds(whole, lane, lanes)
        assert len(bounds) - 1 == len(range(lane, whole.steps, lanes))
        before = int(bounds[0])
        for begin, end, runs in buffers(ordered, counts, int(bounds[0]), int(bounds[-1]), buffer_rows):
            assert begin == before
            assert sum(run.stop - run.start for run in runs) == end - begin
            assert end - begin >= buffer_rows or end == bounds[-1]
            seen += [(run.piece, row) for run in runs for row in range(run.start, run.stop)]
            before = end
        assert before == bounds[-1]
    assert sorted(seen) == [(piece, row) for piece, n in enumerate(sizes) for row in range(n)]


def test_a_buffer_is_whole_pieces_cut_only_by_its_lane() -> None:
    found = list(buffers(np.array([1, 0, 2]), np.array([3, 4, 2]), 2, 8, buffer_rows=3))
    assert found == [
        (2, 7, [Run(1, 2, 4), Run(0, 0, 3)]),
        (7, 8, [Run(2, 0, 1)]),
    ]


def test_epochs_differ_and_the_same_epoch_does_not() -> None:
    first, again, other = (piece_order(50, 7, epoch, shuffle=True).tolist() for epoch in (0, 0, 1))
    assert first == again != other
    assert piece_order(4, 7, 0, shuffle=False).tolist() == [0, 1, 2, 3]


def test_a_row_repeats_no_view_before_it_has_shown_all() -> None:
    keys, draws = np.arange(1000, dtype=np.uint64), np.full(1000, 8)
    shown = np.stack([draw_of(keys, draws, 5, epoch) for epoch in range(8)])
    assert (np.sort(shown, axis=0) == np.arange(8)[:, None]).all()
    assert (draw_of(keys, draws, 5, 8) == shown[0]).all()


def test_rows_begin_at_views_of_their_own_all_equally_often() -> None:
    draw = draw_of(np.arange(8000, dtype=np.uint64), np.full(8000, 8), 5, 0)
    assert np.abs(np.bincount(draw, minlength=8) - 1000).max() < 120  # four standard deviations
