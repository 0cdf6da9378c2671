"""Cells of any type as text, numbers, bytes or lists, and marks on those that are none.

Everything is a Polars expression; nothing here knows what a column is mapped to.
"""

from __future__ import annotations

import polars as pl


def mark(where: pl.Expr, defect: str | pl.Expr, detail: str | pl.Expr) -> pl.Expr:
    """A struct (defect, detail) where a row is bad, else null."""
    code = pl.lit(defect) if isinstance(defect, str) else defect
    why = pl.lit(detail) if isinstance(detail, str) else detail
    return pl.when(where).then(pl.struct(code.alias("defect"), why.alias("detail")))


def no_number(cell: pl.Expr, column: pl.Expr) -> pl.Expr:
    """What is wrong with a cell that holds something and is no number, else null."""
    lost = cell.is_not_null() & cell.cast(pl.Float32, strict=False).is_null()
    return pl.when(lost).then(pl.format("{} holds '{}', which is no number", column, cell.cast(pl.String)))


def as_text(dtype: pl.DataType, column: str) -> pl.Expr:
    """A column of scalars as text."""
    return text_of(dtype, pl.col(column))


def text_of(dtype: pl.DataType, cell: pl.Expr) -> pl.Expr:
    """Scalar cells as text.

    A whole number stored as a float is rendered without its `.0`: that is what becomes of integer
    labels when a tool that has no nullable integers meets a missing one.
    """
    if dtype.is_float():
        whole = (cell == cell.round()) & (cell.abs() < 2**53)
        number = pl.when(whole).then(cell.cast(pl.Int64, strict=False).cast(pl.String))
        return pl.when(cell.is_not_nan()).then(pl.coalesce(number, cell.cast(pl.String)))
    return cell.cast(pl.String)


def as_list(dtype: pl.DataType, column: str) -> pl.Expr:
    """A column of lists of any or of one length as lists."""
    return pl.col(column).arr.to_list() if isinstance(dtype, pl.Array) else pl.col(column)


def holds_bytes(dtype: pl.DataType) -> bool:
    """Whether a column can hold files."""
    if isinstance(dtype, pl.Struct):
        return any(field.name == "bytes" and field.dtype == pl.Binary for field in dtype.fields)
    return dtype in (pl.Binary, pl.String)


def as_bytes(dtype: pl.DataType, column: str) -> pl.Expr:
    """Binary as it is; text as base64, null where it is none; of {bytes, path}, as `datasets` has, bytes."""
    if isinstance(dtype, pl.Struct):
        return pl.col(column).struct.field("bytes")
    return pl.col(column).str.decode("base64", strict=False) if dtype == pl.String else pl.col(column)
