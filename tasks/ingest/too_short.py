"""Reject texts too short to be judged: too few characters, or too few words.

Characters are Unicode code points after trimming; words are what white space separates, so languages
written without it should be limited by characters. Cost: one pass over the text.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from tasks.ingest import Filter


class TooShort(Filter):
    """Reject rows whose text is shorter than asked for; rows without text are kept."""

    kind: Literal["too_short"] = "too_short"
    revision: ClassVar[int] = 1

    min_characters: int = Field(default=1, ge=0, description="the fewest characters a text may have")
    min_words: int = Field(default=0, ge=0, description="the fewest words a text may have")

    def reasons(self, rows: pl.DataFrame) -> pl.Series:
        text = pl.col("text").str.strip_chars()
        characters, words = text.str.len_chars(), text.str.count_matches(r"\S+")
        reason = (
            pl.when(characters < self.min_characters)
            .then(pl.format(f"too_short: {{}} characters, fewer than {self.min_characters}", characters))
            .when(words < self.min_words)
            .then(pl.format(f"too_short: {{}} words, fewer than {self.min_words}", words))
        )
        return rows.select(reason=reason).to_series()
