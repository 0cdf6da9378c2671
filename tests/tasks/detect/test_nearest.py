"""Exact neighbours from a stream. Run: .venv/bin/python -m pytest tests/tasks/detect/test_nearest.py"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from tasks.detect.nearest import QUERY_ROWS, REFERENCE_ROWS, Points, count_within, nearest
from tasks.teach.rowwise import one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def points(rows: np.ndarray, groups: np.ndarray | None = None) -> Points:
    n = len(rows)
    groups = np.arange(n, dtype=np.uint64) if groups is None else groups.astype(np.uint64)
    return Points(rows.astype(np.float32), groups, np.arange(n, dtype=np.int32))


def unit(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    scaled: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def cut(all_points: Points, *at: int) -> list[Points]:
    return [all_points.take(index) for index in np.split(np.arange(len(all_points)), at)]


def test_four_points_on_a_circle() -> None:
    four = points(np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]]))
    similarity, marks = nearest(four, [four], 2)
    np.testing.assert_array_equal(marks, [[1, 2], [0, 2], [1, 0], [2, 1]])
    np.testing.assert_allclose(similarity, [[0.8, 0], [0.8, 0.6], [0.6, 0], [0, -0.8]], atol=1e-7)


def test_they_are_scikit_learns_over_several_blocks_of_both_kinds() -> None:
    rows = unit(2 * REFERENCE_ROWS + 700, 16, 0)
    all_points = points(rows)
    similarity, marks = nearest(all_points, [all_points], 10)
    distance, index = (
        NearestNeighbors(n_neighbors=11, algorithm="brute", metric="cosine").fit(rows).kneighbors()
    )
    np.testing.assert_allclose(1 - similarity, distance[:, :10], atol=1e-6)
    assert (marks == index[:, :10]).mean() > 0.9999


def test_a_tie_goes_to_the_reference_that_came_first_within_a_block_and_across_blocks() -> None:
    n = REFERENCE_ROWS + 50
    same = points(np.ones((n, 1)))
    query = points(np.ones((1, 1)), np.array([n]))
    assert nearest(query, [same], 5)[1].tolist() == [[0, 1, 2, 3, 4]]
    later = np.full((n, 1), 0.5)
    later[[3, REFERENCE_ROWS + 1, REFERENCE_ROWS + 7]] = 1.0
    found = [3, REFERENCE_ROWS + 1, REFERENCE_ROWS + 7, 0, 1]
    assert nearest(query, [points(later)], 5)[1].tolist() == [found]


def test_an_answer_depends_neither_on_the_other_queries_nor_on_how_the_stream_is_cut() -> None:
    references = points(unit(REFERENCE_ROWS + 900, 48, 1))
    queries = points(unit(QUERY_ROWS + 40, 48, 2), np.arange(QUERY_ROWS + 40) + 10**6)
    similarity, marks = nearest(queries, [references], 7)
    for part in (np.arange(1), np.arange(QUERY_ROWS - 3, QUERY_ROWS + 40)[::-1], np.arange(5, 900)):
        others = nearest(queries.take(part), cut(references, 1, 700, 700, 2500), 7)
        assert others[0].tobytes() == similarity[part].tobytes()
        assert others[1].tobytes() == marks[part].tobytes()


def test_copies_are_no_neighbours_unless_they_are_to_be() -> None:
    rows = points(unit(300, 8, 3), np.arange(300) // 3)
    _, marks = nearest(rows, cut(rows, 100), 20)
    assert not (marks // 3 == np.arange(300)[:, None] // 3).any()
    similarity, marks = nearest(rows, cut(rows, 100), 3, same_group=2.0)
    assert (similarity == 2.0).all()
    np.testing.assert_array_equal(marks, np.arange(300)[:, None] // 3 * 3 + np.arange(3))


def test_where_references_run_out_the_rest_is_marked_as_missing() -> None:
    two = points(unit(2, 4, 4))
    similarity, marks = nearest(two, [two], 3)
    assert marks.tolist() == [[1, -1, -1], [0, -1, -1]]
    assert np.isneginf(similarity[:, 1:]).all()


def test_no_queries_no_references_and_parts_without_rows_are_legal() -> None:
    rows, none = points(unit(5, 4, 5)), points(np.zeros((0, 0)))
    assert nearest(none, [rows], 2)[0].shape == (0, 2)
    assert (nearest(rows, [], 2)[1] == -1).all()
    assert nearest(rows, [none, rows, none], 2)[1].tobytes() == nearest(rows, [rows], 2)[1].tobytes()
    assert count_within(rows, [none], 0.5, 5).sum() == 0


def test_counting_within_a_radius_is_the_whole_matrix_compared() -> None:
    rows = points(unit(REFERENCE_ROWS + 300, 3, 6))
    marked = Points(rows.rows, rows.groups, (rows.marks % 4).astype(np.int32))
    queries = marked.take(np.arange(200))
    counts = count_within(queries, cut(marked, 1000), 0.9, 4)
    near = queries.rows.astype(np.float64) @ rows.rows.T.astype(np.float64) >= 0.9
    by_hand = np.stack([near[:, marked.marks == mark].sum(axis=1) for mark in range(4)], axis=1)
    assert np.abs(counts - by_hand).sum() <= 2, "only a rounding at the radius may differ"


def test_counting_includes_a_copy_however_far() -> None:
    rows = points(np.array([[1.0, 0], [-1, 0], [0, 1]]), np.array([7, 7, 8]))
    assert count_within(rows, [rows], 0.5, 3).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int8, st.tuples(st.integers(1, 40), st.just(3)), elements=st.integers(-2, 2)),
    st.integers(1, 6),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_of_whole_numbers_it_is_a_stable_sort_of_the_whole_matrix(
    rows: np.ndarray, k: int, at: list[int]
) -> None:
    all_points = points(rows)
    similarity, marks = nearest(all_points, cut(all_points, *sorted(min(i, len(rows)) for i in at)), k)
    whole = rows.astype(np.float32) @ rows.T.astype(np.float32)
    np.fill_diagonal(whole, -np.inf)
    order = np.argsort(-whole, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(whole, order, axis=1)
    width = order.shape[1]
    np.testing.assert_array_equal(similarity[:, :width], values)
    np.testing.assert_array_equal(marks[:, :width], np.where(np.isfinite(values), order, -1))
