"""Reject rows with a feature outside the range that the measurement can have.

For sensors and forms whose possible values are known: a temperature of -999 is no temperature. One
range serves all features; ranges of single columns are a `where` filter. Cost: one pass.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from tasks.ingest import Filter


class OutOfRange(Filter):
    """Reject rows with any feature below `low` or above `high`; rows without features are kept."""

    kind: Literal["out_of_range"] = "out_of_range"
    revision: ClassVar[int] = 1

    low: float | None = Field(default=None, description="the smallest value a feature may have")
    high: float | None = Field(default=None, description="the largest value a feature may have")

    @model_validator(mode="after")
    def _check_range(self) -> OutOfRange:
        if self.low is None and self.high is None:
            raise ValueError("out_of_range needs low or high, or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is {self.low}, must be at most high, which is {self.high}")
        return self

    def reasons(self, rows: pl.DataFrame) -> pl.Series:
        smallest, largest = pl.col("features").list.min(), pl.col("features").list.max()
        reason = (
            pl.when(smallest < (self.low if self.low is not None else float("-inf")))
            .then(pl.format(f"out_of_range: a feature is {{}}, below {self.low}", smallest))
            .when(largest > (self.high if self.high is not None else float("inf")))
            .then(pl.format(f"out_of_range: a feature is {{}}, above {self.high}", largest))
        )
        return rows.select(reason=reason).to_series()
