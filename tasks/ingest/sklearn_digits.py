"""The 1,797 handwritten digits that come with scikit-learn: real data in every installation.

Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998: 8x8 grey images, ten classes.
Rows are dealt over `days` dates in a fixed shuffled order, in runs of equal length (to within one row).
`planted_noise` makes exactly round(share * 1797) labels wrong, each by one of the other nine classes
with equal chance; which rows depends on nothing but the share, and the right labels are kept in
`truth`. Cost: some 0.1 s to load, then nothing.

The same rows serve multi_label: what is asked of a digit then is which of three facts holds (`FACTS`), and
`planted_noise` turns exactly round(share * 5391) of the answers round.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from datetime import date, timedelta
from typing import ClassVar, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from tasks.ingest import BadSource, Payload, Source
from tasks.ingest.files import to_raw
from tasks.ingest.planted_noise import another_class
from tasks.method import Task
from tasks.seeds import seed_of

FACTS = {"even": (0, 2, 4, 6, 8), "above_four": (5, 6, 7, 8, 9), "loop": (0, 6, 8, 9)}
"""The digits of which each holds. A loop is one that is closed in print; some hands close that of a 4."""


class Digits(Source):
    """The rows that both sources deal."""

    paper: ClassVar[str] = "Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998"

    days: int = Field(default=2, gt=0, le=90, description="over how many dates the rows are dealt")
    start: date = Field(default=date(2026, 1, 1), description="the first of these dates")
    planted_noise: float = Field(
        default=0.0, ge=0, lt=1, description="the share of labels made wrong on purpose"
    )

    @property
    def payload(self) -> Payload:
        return "image"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (8, 8, 1)

    def partitions(self) -> list[str]:
        return [(self.start + timedelta(days=day)).isoformat() for day in range(self.days)]

    def fingerprint(self, partition: str) -> str:
        self._day(partition)
        return hashlib.sha256(f"{self.kind} {partition}".encode()).hexdigest()

    @abstractmethod
    def labelled(self, truth: np.ndarray) -> dict[str, pl.Series]:
        """The columns of RAW with what is said of each digit, and what is true. truth: (n,) int."""

    def read(self, partition: str, start: int = 0) -> Iterator[pa.RecordBatch]:
        from sklearn.datasets import load_digits

        day = self._day(partition)
        images, truth = load_digits(return_X_y=True)
        n = len(truth)
        order = _shuffle(n, "order")[day * n // self.days : (day + 1) * n // self.days][start:]
        pixels = np.rint(images[order] * (255 / 16)).astype(np.uint8)
        data = pa.FixedSizeBinaryArray.from_buffers(pa.binary(64), len(order), [None, pa.py_buffer(pixels)])
        rows = pl.DataFrame(
            {
                "source": pl.repeat("sklearn.datasets.load_digits", len(order), eager=True),
                "position": np.arange(start, start + len(order), dtype=np.int64),
                "id": pl.Series(order).cast(pl.String).str.zfill(4),
                "split": pl.repeat("train", len(order), eager=True),
                **{name: column.gather(order) for name, column in self.labelled(truth).items()},
                "image": pl.Series(data.cast(pa.binary())),
            }
        )
        yield to_raw(rows)

    def _day(self, partition: str) -> int:
        names = self.partitions()
        if partition not in names:
            raise BadSource(
                f"{self.kind}: there is no partition {partition}; it has {names[0]} to {names[-1]}"
            )
        return names.index(partition)


class SklearnDigits(Digits):
    """Handwritten digits, dealt over dates, with as many wrong labels as you ask for."""

    kind: Literal["sklearn_digits"] = "sklearn_digits"
    revision: ClassVar[int] = 1

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(str(digit) for digit in range(10))

    def labelled(self, truth: np.ndarray) -> dict[str, pl.Series]:
        """All labels, the planted ones wrong."""
        n = len(truth)
        chosen = _shuffle(n, "planted_noise")[: round(self.planted_noise * n)]
        draws = np.random.Generator(np.random.PCG64(seed_of(self.kind, "flips"))).random(n)
        given = truth.copy()
        given[chosen] = another_class(truth, draws, 10)[chosen]
        return {name: pl.Series(of).cast(pl.String) for name, of in (("label", given), ("truth", truth))}


class DigitFacts(Digits):
    """Handwritten digits and which of three facts hold of each, with as many wrong answers as you ask for."""

    kind: Literal["digit_facts"] = "digit_facts"
    revision: ClassVar[int] = 1

    @property
    def task(self) -> Task:
        return "multi_label"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(FACTS)

    def labelled(self, truth: np.ndarray) -> dict[str, pl.Series]:
        """All sets of facts, the planted answers turned round."""
        facts = np.stack([np.isin(truth, digits) for digits in FACTS.values()], axis=1)
        chosen = _shuffle(facts.size, "planted_facts")[: round(self.planted_noise * facts.size)]
        turned = np.zeros(facts.size, dtype=bool)
        turned[chosen] = True
        given = facts ^ turned.reshape(facts.shape)
        return {"labels": _named(given), "truths": _named(facts)}


def _named(facts: np.ndarray) -> pl.Series:
    """Which facts hold, (n, 3) bool, as lists of their names."""
    columns = [
        pl.when(pl.Series(holds)).then(pl.lit(name)) for name, holds in zip(FACTS, facts.T, strict=True)
    ]
    return pl.select(pl.concat_list(columns).list.drop_nulls()).to_series()


def _shuffle(n: int, purpose: str) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed_of("sklearn_digits", purpose))).permutation(n)
