"""Copies are rejected. Run: python -m pytest tests/tasks/ingest/test_exact_duplicates.py"""

from __future__ import annotations

import polars as pl

from tasks.ingest.exact_duplicates import ExactDuplicates


def test_a_row_that_was_seen_is_rejected_and_the_first_is_kept() -> None:
    rows = pl.DataFrame({"content_hash": ["ab" * 32, "ab" * 32, "cd" * 32], "seen": [False, True, False]})
    wanted = [None, f"exact_duplicates: an earlier row has content {'ab' * 8}", None]
    assert ExactDuplicates().reasons(rows).to_list() == wanted


def test_no_rows() -> None:
    reasons = ExactDuplicates().reasons(pl.DataFrame(schema={"content_hash": pl.String, "seen": pl.Boolean}))
    assert (reasons.dtype, reasons.len()) == (pl.String, 0)
