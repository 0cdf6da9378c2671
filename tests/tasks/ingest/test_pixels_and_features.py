"""Pixels and features as vectors. Run: python -m pytest tests/tasks/ingest/test_pixels_and_features.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.data import Examples
from tasks.ingest.features import Features
from tasks.ingest.pixels import Pixels


def examples(n: int, **arrays: np.ndarray) -> Examples:
    ids = np.array([str(i) for i in range(n)], object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), **arrays)


def test_pixels_are_flattened_row_by_row_into_0_to_1() -> None:
    images = np.array([[[[0], [51]], [[255], [102]]]], np.uint8)
    vectors = Pixels().encode(examples(1, images=images))
    assert vectors.dtype == np.float32
    assert vectors.tolist() == np.array([[0, 0.2, 1, 0.4]], np.float32).tolist()


def test_features_are_themselves() -> None:
    features = np.array([[1.5, -2.0]], np.float32)
    assert Features().encode(examples(1, features=features)).tolist() == [[1.5, -2.0]]


def test_no_rows_keep_their_width() -> None:
    assert Pixels().encode(examples(0, images=np.zeros((0, 2, 3, 1), np.uint8))).shape == (0, 6)
    assert Features().encode(examples(0, features=np.zeros((0, 4), np.float32))).shape == (0, 4)


def test_rows_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="use encoder features"):
        Pixels().encode(examples(1))
    with pytest.raises(ValueError, match="use encoder pixels"):
        Features().encode(examples(1))
