"""Rows of an image folder before and after their pictures are read.

Which rows there are is known from names alone, so any run of them can be read without the ones before it.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

ENTRY = dict.fromkeys(("source", "path", "label", "split", "truth", "text", "defect", "detail"), pl.String())
"""A row but for its picture, which lies at `path`; null where there is none. The rest is as in RAW."""

FILE_BYTES = 2**28
"""Many times the largest picture that would be decoded; files are read whole."""


def with_images(entries: pl.DataFrame) -> pl.DataFrame:
    """Rows of ENTRY with a column `image`, the bytes of each file; none is decoded.

    A file that is gone, unreadable or empty is a bad row (`missing_payload`), and fails no other.
    """
    read = [_bytes_of(Path(path)) if path else (None, None) for path in entries["path"]]
    images, details = zip(*read, strict=True)
    problem = pl.lit(pl.Series(details, dtype=pl.String))
    return entries.with_columns(
        image=pl.Series(images, dtype=pl.Binary),
        defect=pl.coalesce("defect", pl.when(problem.is_not_null()).then(pl.lit("missing_payload"))),
        detail=pl.coalesce("detail", problem),
    )


def _bytes_of(path: Path) -> tuple[bytes | None, str | None]:
    """A file's bytes, or why there are none."""
    try:
        if path.stat().st_size > FILE_BYTES:
            return None, f"the file is larger than {FILE_BYTES:,} bytes"
        data = path.read_bytes()
    except OSError as error:
        return None, f"the file cannot be read ({error.strerror})"
    return (data, None) if data else (None, "the file is empty")
