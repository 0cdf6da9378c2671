"""Reject a row whose payload has been seen before, in this partition or an earlier one.

Equality is that of the content hash, so it is exact: two pictures that decode to the same pixels are
one, a picture that differs in one pixel is another. The first row stays. Cost: none; `seen` is given.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from tasks.ingest import Filter


class ExactDuplicates(Filter):
    """Reject copies, keep the first."""

    kind: Literal["exact_duplicates"] = "exact_duplicates"
    revision: ClassVar[int] = 1

    def reasons(self, rows: pl.DataFrame) -> pl.Series:
        detail = pl.format(
            "exact_duplicates: an earlier row has content {}", pl.col("content_hash").str.head(16)
        )
        return rows.select(reason=pl.when("seen").then(detail)).to_series()
