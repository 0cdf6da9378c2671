"""The labels that several people gave a row: from columns to a list of who said what, and its majority.

Two layouts occur: one column a person, or one column of lists of {annotator, label}. Both become a list of
structs (annotator, label) a row, in the order of the mapping or of the list; whoever gave no label is not
in it, and a row that nobody labelled has null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

ANNOTATION = pl.List(pl.Struct({"annotator": pl.String, "label": pl.String}))
FIELDS = ("annotator", "label")


def from_columns(cells: Mapping[str, pl.Expr]) -> pl.Expr:
    """One column a person: names to their labels as text."""
    each = [pl.struct(pl.lit(name).alias("annotator"), cell.alias("label")) for name, cell in cells.items()]
    return given(pl.concat_list(each))


def given(annotations: pl.Expr) -> pl.Expr:
    """Without the entries that hold no label, unless it is the annotator that they lack."""
    label, annotator = (pl.element().struct.field(name) for name in ("label", "annotator"))
    said = annotations.list.eval(pl.element().filter(label.is_not_null() | annotator.is_null()))
    return pl.when(said.list.len() > 0).then(said).cast(ANNOTATION)


def is_nameless(annotations: pl.Expr) -> pl.Expr:
    """Whether an entry lacks its annotator."""
    nameless = pl.element().struct.field("annotator").fill_null("") == ""
    return annotations.list.eval(nameless).list.any()


def is_repeated(annotations: pl.Expr) -> pl.Expr:
    """Whether somebody labels the row twice."""
    names = annotations.list.eval(pl.element().struct.field("annotator"))
    return names.list.n_unique() < names.list.len()


def holds(dtype: pl.DataType) -> bool:
    """Whether a column can hold lists of {annotator, label}, both single values."""
    inner = getattr(dtype, "inner", None)
    if not isinstance(inner, pl.Struct):
        return inner == pl.Null or dtype == pl.Null
    kinds = {field.name: field.dtype for field in inner.fields}
    return all(name in kinds and not kinds[name].is_nested() and kinds[name] != pl.Binary for name in FIELDS)


def labels(annotations: pa.Array) -> pa.Array:
    """Every label that somebody gave, as one array, of RAW's `annotations` or the table's."""
    return pc.struct_field(annotations.flatten(), "label")


def with_labels(annotations: pa.Array, new: pa.Array) -> pa.Array:
    """The same annotations with other labels, one for each of `labels`."""
    names = pc.struct_field(annotations.flatten(), "annotator")
    said = pa.StructArray.from_arrays([names, new], FIELDS)
    lengths = pc.fill_null(pc.list_value_length(annotations), 0)
    ends = pc.cumulative_sum(lengths).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    return pa.ListArray.from_arrays(offsets, said, mask=annotations.is_null())


def renamed(annotations: pa.Array, names: Mapping[str, str]) -> pa.Array:
    """With labels under the names that their classes have now."""
    found = pl.Series(labels(annotations), dtype=pl.String).replace(names)
    return with_labels(annotations, found.to_arrow().cast(pa.string()))


def majority(annotations: pa.Array) -> pa.Array:
    """The label that most people gave, string (n,); of those that equally many gave, the one named first
    in the row. Null where nobody gave one."""
    return _majority(pl.Series(annotations)).to_arrow().cast(pa.string())


def _majority(annotations: pl.Series) -> pl.Series:
    said = pl.DataFrame({"row": pl.int_range(len(annotations), eager=True), "said": annotations})
    each = said.explode("said").with_row_index("place").with_columns(pl.col("said").struct.field("label"))
    votes = each.drop_nulls("label").group_by("row", "label").agg(pl.len(), pl.col("place").min())
    best = votes.sort("len", "place", descending=[True, False]).unique(
        "row", keep="first", maintain_order=True
    )
    return said.join(best, on="row", how="left", maintain_order="left")["label"]


def first_among(annotations: pl.Series, names: Iterable[str]) -> pl.Series:
    """The first label of each row that is one of `names`; null where there is none."""
    return _first(annotations, pl.element().is_in(_set(names)))


def first_beyond(annotations: pl.Series, names: Iterable[str]) -> pl.Series:
    """The first label of each row that is none of `names`; null where there is none."""
    return _first(annotations, ~pl.element().is_in(_set(names)))


def _first(annotations: pl.Series, wanted: pl.Expr) -> pl.Series:
    said = annotations.list.eval(pl.element().struct.field("label"))
    return said.list.eval(pl.element().filter(wanted)).list.first()


def _set(names: Iterable[str]) -> pl.Expr:
    return pl.lit(pl.Series(list(names), dtype=pl.String).implode())


def indexed(annotations: pa.Array, classes: Sequence[str]) -> pa.Array:
    """Annotations whose labels are text, as the table `rows` holds them: labels are class indices."""
    return with_labels(annotations, pc.index_in(labels(annotations), pa.array(classes, pa.string())))
