"""Short texts are rejected. Run: python -m pytest tests/tasks/ingest/test_too_short.py"""

from __future__ import annotations

import polars as pl

from tasks.ingest.too_short import TooShort


def reasons(texts: list[str | None], **fields: int) -> list[str | None]:
    return TooShort(**fields).reasons(pl.DataFrame({"text": texts}, schema={"text": pl.String})).to_list()


def test_characters_are_counted_without_the_space_around_them() -> None:
    texts = ["abc", "ab", "  ab \n", "日本語", ""]
    wanted = [
        None,
        *["too_short: 2 characters, fewer than 3"] * 2,
        None,
        "too_short: 0 characters, fewer than 3",
    ]
    assert reasons(texts, min_characters=3) == wanted


def test_words_are_what_white_space_separates() -> None:
    assert reasons(["one two", " one\t\n", ""], min_characters=0, min_words=2) == [
        None,
        "too_short: 1 words, fewer than 2",
        "too_short: 0 words, fewer than 2",
    ]


def test_a_row_without_text_is_none_of_its_business() -> None:
    assert reasons([None], min_characters=3, min_words=3) == [None]
    assert reasons([]) == []
