"""Columns that are somebody's become the columns of RAW, and cells that cannot are marked.

`ColumnSource` is what Parquet, CSV, JSON lines, NumPy and Hugging Face sources share: which column
holds the id, the label and the payload, and what makes a row bad. Whole columns of an impossible
type fail the file (`BadSource`); a cell that cannot be read makes its row a reject. Codes, the first
that applies:

- `broken_line` (set by text formats): the line is no row at all; it is kept in `text`;
- `missing_partition`: the partition column is empty or no usable name; the row lies in `unknown`;
- `missing_id`, `missing_payload`: the mapped column is empty;
- `wrong_type`: a label, feature, picture or annotation is not readable as one;
- `repeated_annotator`: somebody labels the row twice;
- `wrong_length`: a features list is not `feature_length` long, or image bytes that are no picture
  file are not height * width * channels;
- `nan_features`: a feature is empty, NaN or infinite;
- `nan_target`: a target is NaN or infinite.

Everything is a Polars expression over a batch: the cost is one pass over its cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import polars as pl
from pydantic import Field, PositiveInt, model_validator

from tasks.ingest import BadSource, Payload, labels, people
from tasks.ingest.cells import as_bytes, as_list, as_text, holds_bytes, mark, no_number, text_of
from tasks.ingest.days import day_of, holds_times, is_zone
from tasks.ingest.files import PARTITION_NAME, UNKNOWN, FileSource
from tasks.ingest.images import SIGNATURES
from tasks.method import Task

OWN = "winnow:"
"""Begins the names of columns that are not the user's, so that theirs may be called anything else."""

LATER = ("time_zone", "annotators", "annotations", "labels", "target", "truths", "target_truth")
"""Fields that sources once did not have."""

SOURCE, DEFECT, DETAIL, LINE = (OWN + name for name in ("source", "defect", "detail", "line"))
"""What a format adds to a row: its file; and to one it could not take apart: code, detail, the raw line."""


class ColumnSource(FileSource):
    """A file source whose files have named columns."""

    partition_column: str | None = Field(
        default=None, description="the column whose value names the row's partition; dates become ISO dates"
    )
    time_zone: str | None = Field(
        default=None,
        description="the zone, such as Europe/Berlin, whose days partitions are, when partition_column holds "
        "times; one with an offset is brought to it, one without is taken as local already",
    )
    id: str | None = Field(default=None, description="column of the row's name")
    label: str | None = Field(default=None, description="column of the given label")
    labels: str | tuple[str, ...] | None = Field(
        default=None,
        description="of multi_label: one column of lists of classes, or columns of 0 and 1, named as classes",
    )
    target: str | None = Field(default=None, description="of regression: column of the given number")
    annotators: dict[str, str] | None = Field(
        default=None, min_length=1, description="what several people said: each one's name and their column"
    )
    annotations: str | None = Field(
        default=None, description="what several people said: one column of lists of {annotator, label}"
    )
    truth: str | None = Field(default=None, description="column of a known true label, for measuring only")
    truths: str | tuple[str, ...] | None = Field(
        default=None,
        description="of multi_label, likewise; columns stand in the order of those that labels names",
    )
    target_truth: str | None = Field(default=None, description="of regression, likewise")
    split: str | None = Field(
        default=None, description="column of the split; without one, all rows are train"
    )
    image: str | None = Field(
        default=None, description="column of picture files or raw uint8 images; text is taken as base64"
    )
    text: str | None = Field(default=None, description="column of the text")
    features: str | tuple[str, ...] | None = Field(
        default=None, description="one column of lists of numbers, or a list of columns of numbers"
    )
    image_shape: tuple[PositiveInt, PositiveInt, Literal[1, 3]] | None = Field(
        default=None, description="[height, width, channels] of the images; needed with image"
    )
    feature_length: PositiveInt | None = Field(
        default=None, description="the length of every list; needed when features is one column"
    )

    @model_validator(mode="after")
    def _check_zone(self) -> ColumnSource:
        if self.time_zone is None:
            return self
        if self.partition_column is None:
            raise ValueError("time_zone says which day a time of partition_column belongs to; give both")
        if not is_zone(self.time_zone):
            raise ValueError(
                f"time_zone {self.time_zone} is no zone of the IANA database; write one such as Europe/Berlin"
            )
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> ColumnSource:
        for problem in labels.problems(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _check_payload(self) -> ColumnSource:
        given = [name for name in ("image", "text", "features") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"a row has one payload, so give only one of {' and '.join(given)}")
        if (self.image is None) != (self.image_shape is None):
            raise ValueError("image and image_shape go together, such as image_shape: [28, 28, 1]")
        if self.annotators and self.annotations:
            raise ValueError("annotators are columns and annotations is one; give only one of them")
        if isinstance(self.features, str) != (self.feature_length is not None):
            raise ValueError(
                "feature_length is for features that are one column of lists, and is needed then"
            )
        taken = next((column for column in self.columns if column.startswith(OWN)), None)
        if taken:
            raise ValueError(
                f"column {taken} cannot be mapped: names that begin with {OWN} are kept; rename it"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Without what came later and is not given: stores from before stay as they are."""
        return {
            key: value for key, value in super().identity().items() if key not in LATER or value is not None
        }

    @property
    def payload(self) -> Payload:
        given: list[Payload] = ["image", "text", "features"]
        return next((name for name in given if name and getattr(self, name)), None)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        return self.image_shape

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.labels if isinstance(self.labels, tuple) else None

    @property
    def task(self) -> Task:
        return "multi_label" if self.labels else "regression" if self.target else "single_label"

    @property
    def annotated(self) -> bool:
        return bool(self.annotators or self.annotations)

    def _rules(self) -> list[str]:
        return super()._rules() + (["partition_column"] if self.partition_column else [])

    @property
    def text_columns(self) -> list[str]:
        """The mapped columns whose cells are read as text."""
        names = (self.partition_column, self.id, self.label, self.truth, self.split, self.text)
        everyone = (self.annotators or {}).values()
        return list(dict.fromkeys(name for name in (*names, *everyone) if name))

    @property
    def feature_columns(self) -> list[str]:
        """The mapped columns of numbers, or the one of lists."""
        return [self.features] if isinstance(self.features, str) else list(self.features or ())

    @property
    def columns(self) -> list[str]:
        """Every mapped column, each once."""
        others = [name for name in (self.image, self.annotations, *self.set_columns, *self.numbers) if name]
        return list(dict.fromkeys(self.text_columns + others + self.feature_columns))

    @property
    def set_columns(self) -> list[str]:
        """The mapped columns of sets of classes."""
        sets = (self.labels, self.truths)
        return [name for found in sets if found for name in ([found] if isinstance(found, str) else found)]

    @property
    def set_lists(self) -> list[str]:
        """Those of them that hold lists."""
        return [found for found in (self.labels, self.truths) if isinstance(found, str)]

    @property
    def numbers(self) -> list[str]:
        """The mapped columns of targets."""
        return [name for name in (self.target, self.target_truth) if name]

    def check_columns(self, present: Iterable[str], name: str) -> None:
        """Raise BadSource if a mapped column is not among those of the file `name`."""
        there = list(present)
        missing = [column for column in self.columns if column not in there]
        if missing:
            raise BadSource(f"{name}: has no column {missing[0]}; it has {', '.join(there[:20])}")

    def _names(self, frame: pl.DataFrame) -> pl.Series:
        column = str(self.partition_column)
        dtype = frame.schema[column]
        if self.time_zone and not holds_times(dtype):
            name = frame[SOURCE][0] if frame.height else self.path
            raise BadSource(
                f"{name}: column {column} is {dtype}, must hold times, of which time_zone makes days; "
                "leave time_zone out if it names partitions"
            )
        is_time = isinstance(dtype, pl.Datetime) or self.time_zone is not None
        cell = day_of(dtype, column, self.time_zone) if is_time else as_text(dtype, column)
        names = frame.select(cell).to_series()
        return names.set(~names.str.contains(PARTITION_NAME).fill_null(False), UNKNOWN)

    def _map(self, frame: pl.DataFrame) -> pl.DataFrame:
        self._check_types(frame)
        blank = pl.lit(None, pl.String)
        line = pl.col(LINE) if LINE in frame.columns else blank
        texts = {
            role: as_text(frame.schema[column], column) if column else blank
            for role in ("id", "label", "truth", "split", "text")
            for column in (getattr(self, role),)
        }
        image = as_bytes(frame.schema[self.image], self.image) if self.image else pl.lit(None, pl.Binary)
        cells = texts | {
            "source": pl.col(SOURCE),
            "split": texts["split"].fill_null("train"),
            "text": pl.coalesce(line, texts["text"]),
            "image": image,
            "features": self._vector(frame.schema),
            "annotations": self._annotations(frame.schema),
            "labels": labels.as_set(frame.schema, self.labels, self.classes),
            "truths": labels.as_set(frame.schema, self.truths, self.classes),
            "target": labels.as_number(self.target),
            "target_truth": labels.as_number(self.target_truth),
        }
        helpers = {
            "untyped": self._unreadable(frame.schema),
            "partition": self._names(frame) if self.partition_column else pl.lit("", pl.String),
        }
        read = frame.with_columns(**{OWN + role: cell for role, cell in (cells | helpers).items()})
        found = pl.coalesce(*self._defects(frame.schema, reported=DEFECT in frame.columns))
        return read.select(
            *(pl.col(OWN + role).alias(role) for role in cells),
            found.struct.field("defect"),
            found.struct.field("detail"),
        )

    def _defects(self, schema: pl.Schema, reported: bool) -> list[pl.Expr]:
        """One struct (defect, detail) per rule, null where the row is well; the first one counts."""
        rules = []
        if reported:
            rules.append(mark(pl.col(DEFECT).is_not_null(), pl.col(DEFECT), pl.col(DETAIL)))
        if self.partition_column:
            lost = pl.col(OWN + "partition") == UNKNOWN
            rules.append(mark(lost, "missing_partition", f"{self.partition_column} names no partition"))
        if self.id:
            lost = pl.col(OWN + "id").fill_null("") == ""
            rules.append(mark(lost, "missing_id", f"{self.id} is empty"))
        if self.text:
            rules.append(mark(pl.col(OWN + "text").is_null(), "missing_payload", f"{self.text} is empty"))
        if self.image:
            rules += self._image_defects(schema)
        if self.features:
            rules += self._feature_defects()
        if self.annotations:
            said = pl.col(OWN + "annotations")
            rules.append(
                mark(people.is_nameless(said), "wrong_type", f"{self.annotations} lacks an annotator")
            )
            twice = people.is_repeated(said)
            rules.append(mark(twice, "repeated_annotator", f"{self.annotations} has an annotator twice"))
        for columns in (self.labels, self.truths):
            rules += labels.set_defects(schema, columns)
        for column in self.numbers:
            rules += labels.number_defects(column)
        return [*rules, mark(pl.lit(False), "", "")]

    def _image_defects(self, schema: pl.Schema) -> list[pl.Expr]:
        assert self.image is not None  # `_check_payload` made sure of both
        assert self.image_shape is not None
        height, width, channels = self.image_shape
        size = height * width * channels
        data, found = pl.col(OWN + "image"), pl.col(self.image)
        if isinstance(schema[self.image], pl.Struct):
            found = found.struct.field("bytes")
        is_picture = pl.any_horizontal(data.bin.starts_with(start) for start in SIGNATURES)
        detail = pl.format(f"{self.image} is no picture and has {{}} bytes, not {size}", data.bin.size())
        return [
            mark(found.is_null() | (data.bin.size() == 0), "missing_payload", f"{self.image} is empty"),
            mark(data.is_null(), "wrong_type", f"{self.image} is not base64"),
            mark(~is_picture & (data.bin.size() != size), "wrong_length", detail),
        ]

    def _feature_defects(self) -> list[pl.Expr]:
        vector, column = pl.col(OWN + "features"), ", ".join(self.feature_columns[:3])
        gone = pl.col(self.features).is_null() if isinstance(self.features, str) else pl.lit(False)
        length = self.feature_length or len(self.feature_columns)
        detail = pl.format(f"{column} has {{}} numbers, not {length}", vector.list.len())
        finite = vector.list.eval(pl.element().is_finite().fill_null(False)).list.all()
        return [
            mark(gone, "missing_payload", f"{column} is empty"),
            mark(pl.col(OWN + "untyped").is_not_null(), "wrong_type", pl.col(OWN + "untyped")),
            mark(vector.list.len() != length, "wrong_length", detail),
            mark(~finite, "nan_features", "a feature is empty, NaN or infinite"),
        ]

    def _annotations(self, schema: pl.Schema) -> pl.Expr:
        """Who gave the row which label, null where nobody did."""
        if self.annotators:
            cells = {name: as_text(schema[column], column) for name, column in self.annotators.items()}
            return people.from_columns(cells)
        inner = getattr(schema[self.annotations], "inner", None) if self.annotations else None
        if self.annotations is None or not isinstance(inner, pl.Struct):
            return pl.lit(None, people.ANNOTATION)
        kinds: dict[str, Any] = {field.name: field.dtype for field in inner.fields}
        parts = [text_of(kinds[name], pl.element().struct.field(name)).alias(name) for name in people.FIELDS]
        said = as_list(schema[self.annotations], self.annotations)
        return people.given(said.list.eval(pl.struct(parts)))

    def _vector(self, schema: pl.Schema) -> pl.Expr:
        """The features as List(Float32), null where a cell is no number."""
        target = pl.List(pl.Float32)
        if self.features is None:
            return pl.lit(None, target)
        if not isinstance(self.features, str):
            return pl.concat_list(pl.col(name).cast(pl.Float32, strict=False) for name in self.features)
        return as_list(schema[self.features], self.features).cast(target, strict=False)

    def _unreadable(self, schema: pl.Schema) -> pl.Expr:
        """What is wrong where a cell that holds something became null on the way to a number, else null."""
        blank = pl.lit(None, pl.String)
        if self.features is None:
            return blank
        if not isinstance(self.features, str):
            return pl.coalesce(*(no_number(pl.col(name), pl.lit(name)) for name in self.features), blank)
        told = no_number(pl.element(), pl.lit(self.features))
        return as_list(schema[self.features], self.features).list.eval(told.drop_nulls()).list.first()

    def _check_types(self, frame: pl.DataFrame) -> None:
        """Raise BadSource for a column whose type could hold nothing of the kind it is mapped to."""
        name = frame[SOURCE][0] if frame.height else self.path
        for column in self.text_columns:
            if frame.schema[column].is_nested() or frame.schema[column] == pl.Binary:
                raise BadSource(
                    f"{name}: column {column} is {frame.schema[column]}, must be text or a number"
                )
        if self.image and not holds_bytes(frame.schema[self.image]):
            raise BadSource(f"{name}: column {self.image} is {frame.schema[self.image]}, must be binary")
        if self.annotations and not people.holds(frame.schema[self.annotations]):
            found = frame.schema[self.annotations]
            raise BadSource(
                f"{name}: column {self.annotations} is {found}, must hold lists of {{annotator, label}}"
            )
        for column in self.set_columns + self.numbers:
            must = labels.unfit(frame.schema[column], column in self.set_lists, column in self.numbers)
            if must:
                raise BadSource(f"{name}: column {column} is {frame.schema[column]}, must {must}")
        for column in self.feature_columns:
            dtype, number = frame.schema[column], isinstance(self.features, tuple)
            cell = dtype if number else getattr(dtype, "inner", None)
            if cell is None or not (cell.is_numeric() or cell in (pl.String, pl.Boolean, pl.Null)):
                kind = "numbers" if number else "lists of numbers"
                raise BadSource(f"{name}: column {column} is {dtype}, must hold {kind}")
