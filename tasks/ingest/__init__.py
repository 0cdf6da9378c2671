"""Ingest: a partition of somebody's data becomes `rows`, and what cannot lands in `rejects`.

Three contracts: a `Source` reads, a `Filter` says which good rows are not wanted, an `Encoder`
turns payloads into vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from tasks.data import Examples
from tasks.errors import BadInput
from tasks.method import Method, Task, third_party

Payload = Literal["image", "text", "features"] | None

ANNOTATIONS = pa.list_(pa.struct([("annotator", pa.string()), ("label", pa.string())]))

RAW = pa.schema(
    [
        ("source", pa.string()),  # the file (relative to the source's root) or the data set's name
        ("position", pa.int64()),  # row number within the partition, counting bad rows too
        ("id", pa.string()),  # the mapped id column, null where the mapping has none
        ("split", pa.string()),  # "train" unless mapped
        ("label", pa.string()),  # as found, rendered as text; null where there is none
        ("labels", pa.list_(pa.string())),  # of multi_label: all that apply, null where nobody said
        ("target", pa.float64()),  # of regression
        ("truth", pa.string()),  # the right label, where it is known
        ("truths", pa.list_(pa.string())),  # likewise
        ("target_truth", pa.float64()),  # likewise
        ("annotations", ANNOTATIONS),  # what several people said; null where nobody was asked
        ("image", pa.binary()),  # PNG or JPEG or other file bytes, or raw uint8 when image_shape is set
        ("text", pa.string()),
        ("features", pa.list_(pa.float32())),
        ("defect", pa.string()),  # a code, where the source itself knows the row is bad
        ("detail", pa.string()),  # what is wrong, for `defect`
    ]
)
"""What a source yields: a row for every input, the bad ones too. Exactly one payload column is used."""


class BadSource(BadInput):
    """The partition cannot be read at all: a missing, empty or broken file. One sentence."""


class Source(Method, ABC):
    """Where rows come from. Reads files or packages; knows nothing of stores.

    `payload` says which column of RAW holds the payload (None: rows carry no payload, only labels
    for `precomputed` teachers). `image_shape` is (height, width, channels) for images: raw bytes
    are that shape, and encoded pictures of another size are resized to it when decoded.
    """

    @property
    @abstractmethod
    def payload(self) -> Payload: ...

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of decoded images; None when the payload is no image."""
        return None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names, where the source itself knows them all; index = position."""
        return None

    @property
    def task(self) -> Task:
        """What it gives rows: a label, labels or a target."""
        return "single_label"

    @property
    def annotated(self) -> bool:
        """Whether rows may come with what several people said of them."""
        return False

    @abstractmethod
    def partitions(self) -> list[str]:
        """Every partition that has arrived, in name order. Raises BadSource."""

    @abstractmethod
    def fingerprint(self, partition: str) -> str:
        """Changes when the partition's input does; cheap (file sizes and times, never contents)."""

    @abstractmethod
    def read(self, partition: str, start: int = 0) -> Iterator[pa.RecordBatch]:
        """The partition's rows from position `start` on, in a fixed order, streamed in batches of schema RAW.

        A row is the same, its position too, wherever reading starts. A shard is read this way, so what
        comes before `start` should cost as little as the format allows. Raises BadSource.
        """


class Filter(Method, ABC):
    """Says which well-formed rows are not wanted, and why."""

    @abstractmethod
    def reasons(self, rows: pl.DataFrame) -> pl.Series:
        """One String a row: "code: detail" for a row to reject, null to keep.

        `rows` has the columns of RAW but `defect`, plus `content_hash` (hex SHA-256 of the payload)
        and `seen` (Boolean: an earlier row of this partition, or an earlier partition, has the same
        content_hash).
        """


class Encoder(Method, ABC):
    """Turns payloads into one vector a row. Depends on its parameters alone, never on other rows,
    so that embeddings of different nights can be compared."""

    reads: ClassVar[Literal["images", "features", "texts"]]

    @abstractmethod
    def encode(self, examples: Examples) -> np.ndarray:
        """(n, e) float32 from what it `reads` of the examples."""


from tasks.ingest.convnet_embedding import ConvnetEmbedding  # noqa: E402
from tasks.ingest.csv import Csv  # noqa: E402
from tasks.ingest.exact_duplicates import ExactDuplicates  # noqa: E402
from tasks.ingest.features import Features  # noqa: E402
from tasks.ingest.huggingface import HuggingFace  # noqa: E402
from tasks.ingest.image_folder import ImageFolder  # noqa: E402
from tasks.ingest.jsonl import Jsonl  # noqa: E402
from tasks.ingest.numpy import Numpy  # noqa: E402
from tasks.ingest.out_of_range import OutOfRange  # noqa: E402
from tasks.ingest.parquet import Parquet  # noqa: E402
from tasks.ingest.pixels import Pixels  # noqa: E402
from tasks.ingest.sklearn_digits import DigitFacts, SklearnDigits  # noqa: E402
from tasks.ingest.text_embedding import TextEmbedding  # noqa: E402
from tasks.ingest.too_short import TooShort  # noqa: E402
from tasks.ingest.where import Where  # noqa: E402

AnySource = Annotated[
    Annotated[
        Parquet | Csv | Jsonl | ImageFolder | Numpy | HuggingFace | SklearnDigits | DigitFacts,
        Field(discriminator="kind"),
    ],
    third_party(Source),
]
AnyFilter = Annotated[
    Annotated[ExactDuplicates | TooShort | OutOfRange | Where, Field(discriminator="kind")],
    third_party(Filter),
]
AnyEncoder = Annotated[
    Annotated[Pixels | Features | ConvnetEmbedding | TextEmbedding, Field(discriminator="kind")],
    third_party(Encoder),
]
