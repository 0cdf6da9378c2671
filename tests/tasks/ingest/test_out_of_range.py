"""Impossible measurements are rejected. Run: python -m pytest tests/tasks/ingest/test_out_of_range.py"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.ingest.out_of_range import OutOfRange


def reasons(features: list[list[float] | None], **fields: Any) -> list[str | None]:
    rows = pl.DataFrame({"features": features}, schema={"features": pl.List(pl.Float32)})
    return OutOfRange(**fields).reasons(rows).to_list()


def test_any_feature_beyond_a_bound_rejects_its_row() -> None:
    features = [[0.0, 1.0], [0.5, -2.0], [3.0, 0.5]]
    low, high = "out_of_range: a feature is -2.0, below 0.0", "out_of_range: a feature is 3.0, above 1.0"
    assert reasons(features, low=0, high=1) == [None, low, high]
    assert reasons(features, low=0) == [None, low, None]
    assert reasons(features, high=1) == [None, None, high]


def test_a_row_without_features_is_none_of_its_business() -> None:
    assert reasons([None], low=0) == [None]
    assert reasons([], low=0) == []


def test_a_range_has_a_bound_and_its_ends_in_order() -> None:
    for fields in ({}, {"low": 2, "high": 1}, {"low": float("nan")}):
        with pytest.raises(ValidationError):
            OutOfRange(**fields)
