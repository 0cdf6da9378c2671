"""Labels of a row that are no single class: a set of classes, or a number; and what can be wrong with them.

Sets come in two layouts. One column of lists holds the names of the classes that apply: `[]` means that
none does, null that nobody said. Columns of 0 and 1, what formats without lists can hold, are named as the
classes are; a row whose cells are all empty is one that nobody labelled. Everything is a Polars
expression: the cost is one pass over the cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.ingest.cells import as_list, as_text, mark, no_number, text_of

if TYPE_CHECKING:
    from tasks.ingest.mapping import ColumnSource

SET = pl.List(pl.String)
MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}

Columns = str | tuple[str, ...] | None


def problems(source: ColumnSource) -> list[str]:
    """Sentences for mappings of labels that cannot be meant."""
    found = []
    given = [role for role in ("label", "labels", "target") if getattr(source, role)]
    if len(given) > 1:
        found.append(f"a row has labels of one kind, so give only one of {' and '.join(given)}")
    for truth, role in (("truths", "labels"), ("target_truth", "target")):
        if getattr(source, truth) and not getattr(source, role):
            found.append(f"{truth} is the right {role}, so give {role} too")
    if given and given != ["label"]:
        alone = [role for role in ("truth", "annotators", "annotations") if getattr(source, role)]
        found += [f"{role} goes with label, and {given[0]} is given; leave it out" for role in alone]
    for role in ("labels", "truths"):
        columns = getattr(source, role)
        if isinstance(columns, tuple) and len(set(columns)) < len(columns):
            found.append(f"{role} names a column twice; give each once")
    if isinstance(source.labels, tuple) and not source.labels:
        found.append("labels is an empty list; name the columns of 0 and 1, one a class")
    if isinstance(source.truths, tuple) and len(source.truths) != len(source.classes or ()):
        found.append("truths is a list of columns, so labels must be one too, as long and in the same order")
    return found


def unfit(dtype: pl.DataType, is_list: bool, is_number: bool) -> str | None:
    """What a column must be, where its type could hold nothing of the kind; else None."""
    if is_list:
        inner = getattr(dtype, "inner", None)
        fits = dtype == pl.Null or (inner is not None and not inner.is_nested() and inner != pl.Binary)
        return None if fits else "hold lists of classes"
    if is_number:
        fits = dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Null)
        return None if fits else "hold numbers"
    return "hold 0 and 1" if dtype.is_nested() or dtype == pl.Binary else None


def as_set(schema: pl.Schema, columns: Columns, classes: tuple[str, ...] | None) -> pl.Expr:
    """The classes of each row, List(String), as they came; null where nobody said. classes: what the columns
    of 0 and 1 stand for."""
    if isinstance(columns, tuple):
        assert classes is not None  # `problems` made sure of as many
        cells = [as_text(schema[column], column) for column in columns]
        applies = [_mark_of(cell) for cell in cells]
        names = [pl.when(yes).then(pl.lit(name)) for yes, name in zip(applies, classes, strict=True)]
        said = pl.any_horizontal(cell.is_not_null() for cell in cells)
        return pl.when(said).then(pl.concat_list(names).list.drop_nulls())
    if columns is None or schema[columns] == pl.Null:
        return pl.lit(None, SET)
    return as_list(schema[columns], columns).list.eval(_entry(schema, columns))


def set_defects(schema: pl.Schema, columns: Columns) -> list[pl.Expr]:
    """Marks on sets that are none."""
    if isinstance(columns, tuple):
        cells = [as_text(schema[column], column) for column in columns]
        said = pl.any_horizontal(cell.is_not_null() for cell in cells)
        return [
            mark(
                said & _mark_of(cell).is_null(),
                "wrong_type",
                pl.format("{} holds '{}', which is neither 0 nor 1", pl.lit(name), cell.fill_null("")),
            )
            for name, cell in zip(columns, cells, strict=True)
        ]
    if columns is None or schema[columns] == pl.Null:
        return []
    entries = as_list(schema[columns], columns).list.eval(_entry(schema, columns))
    is_empty = entries.list.eval(pl.element().fill_null("") == "").list.any()
    return [mark(is_empty, "wrong_type", f"{columns} has an empty entry")]


def as_number(column: str | None) -> pl.Expr:
    """A target, Float64; null where there is none, or it is no number."""
    return pl.col(column).cast(pl.Float64, strict=False) if column else pl.lit(None, pl.Float64)


def number_defects(column: str) -> list[pl.Expr]:
    """Marks on targets that are none."""
    told = no_number(pl.col(column), pl.lit(column))
    infinite = ~as_number(column).is_finite()
    return [
        mark(told.is_not_null(), "wrong_type", told),
        mark(infinite, "nan_target", f"{column} is NaN or infinite"),
    ]


def _mark_of(cell: pl.Expr) -> pl.Expr:
    """Whether a cell says yes; null where it says neither."""
    return cell.str.to_lowercase().replace_strict(MARKS, default=None, return_dtype=pl.Boolean)


def _entry(schema: pl.Schema, column: str) -> pl.Expr:
    inner: pl.DataType = schema[column].inner  # type: ignore[attr-defined]
    return text_of(inner, pl.element())
