"""How tables look that nobody reads whole. Run: python -m pytest tests/flows/test_show.py"""

from __future__ import annotations

import time

import pytest

from flows import show


def test_a_long_table_is_written_whole_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"p{n}", "wide 語" if n == 7 else "narrow", n) for n in range(show.TABLE_ROWS + 1)]
    show.table(("partition", "word", "n"), rows)
    heading, rule, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows)
    assert [line.split() for line in lines[:2]] == [["p0", "narrow", "0"], ["p1", "narrow", "1"]]
    assert heading.index("word") == lines[0].index("narrow") == lines[1000].index("narrow") == 11
    assert lines[7] == "p7         wide 語  7"  # which takes two columns
    assert set(rule) == {"─", " "}


def test_what_a_cell_holds_neither_breaks_a_line_nor_reaches_the_terminal() -> None:
    heading, rule, line = show.aligned(("text",), [["two\nlines\x07\b"]])
    assert (heading, rule, line) == ("text", "─" * 9, "two lines")


def test_seventy_thousand_rows_take_no_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    row = ("2026-01-01", "ingest", "up to date", "100 rows")
    started = time.process_time()
    show.table(("partition", "stage", "verdict", "reason"), [row] * 70_000)
    assert time.process_time() - started < 5
    assert capsys.readouterr().out.count("\n") == 70_002
