"""Nights of digits as files, and twenty ways in which the last of them arrives broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, SPREAD = 200, 10
"""Rows of a night: a mean, and how far it is off at most."""

HELD_OUT, WRONG, PIXEL_NOISE = 0.1, 0.03, 1.0
"""Share of rows of the test split; of wrong labels; deviation of what is added to pixels of 0..16."""

FEATURES = 64


@dataclass(frozen=True)
class Night:
    """A night's rows. features: (n, 64) float32; label, split, writer: (n,) str, writer a column that is
    no label but looks like one; model: (n, 10) float32, what somebody else's model says of the classes."""

    ids: np.ndarray
    features: np.ndarray
    label: np.ndarray
    split: np.ndarray
    writer: np.ndarray
    model: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Night:
        return Night(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def but(self, **columns: np.ndarray) -> Night:
        return Night(**{name: columns.get(name, getattr(self, name)) for name in self.__dataclass_fields__})

    def named(self, prefix: str) -> Night:
        """With new ids."""
        return self.but(ids=np.array([f"{prefix}-{i:03d}" for i in range(len(self))]))

    def save(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = {
            "id": self.ids,
            "features": pa.array(list(self.features)),
            "label": self.label,
            "split": self.split,
            "writer": self.writer,
        }
        pq.write_table(pa.table(rows), folder / f"{name}.parquet")


def month(names: list[str], seed: int) -> list[Night]:
    """A night of digits for each name: pictures drawn from scikit-learn's with replacement, noise added."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    rng = np.random.Generator(np.random.PCG64(seed))
    pictures, digits = load_digits(return_X_y=True)
    model = LogisticRegression(C=0.01, max_iter=300).fit(pictures[::2], digits[::2])
    found = []
    for name in names:
        n = ROWS + int(rng.integers(-SPREAD, SPREAD + 1))
        rows = rng.integers(0, len(digits), n)
        features = np.clip(pictures[rows] + rng.normal(0, PIXEL_NOISE, (n, FEATURES)), 0, 16)
        wrong = rng.random(n) < WRONG
        given = np.where(wrong, (digits[rows] + rng.integers(1, 10, n)) % 10, digits[rows])
        night = Night(
            ids=np.empty(n),
            features=features.astype(np.float32),
            label=given.astype(str),
            split=np.where(rng.random(n) < HELD_OUT, "test", "train"),
            writer=rng.integers(0, 10, n).astype(str),
            model=model.predict_proba(features).astype(np.float32),
        )
        found.append(night.named(name))
    return found


def save_model(nights: list[Night], file: Path) -> None:
    """The other model's probabilities for all rows, as one export."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ids, said = (np.concatenate([getattr(night, name) for night in nights]) for name in ("ids", "model"))
    _, first = np.unique(ids, return_index=True)
    pq.write_table(pa.table({"id": ids[first], "model": pa.array(list(said[first]))}), file)


Defect = Callable[[list[Night], np.random.Generator], Night]
"""The last night, broken; given all nights."""


def shifted(nights: list[Night], rng: np.random.Generator) -> Night:
    return relabelled(nights[-1], (digits(nights[-1]) + 1) % 10)


def trebled(nights: list[Night], rng: np.random.Generator) -> Night:
    """Three times as many rows of a class as nights usually have."""
    night = nights[-1]
    usual = np.mean([(before.label == "3").sum() for before in nights[:-1]])
    some = np.flatnonzero(night.label == "3")
    again = np.resize(some, round(3 * usual) - len(some))
    noisy = night.take(np.concatenate([np.arange(len(night)), again]))
    noise = rng.normal(0, PIXEL_NOISE, noisy.features.shape).astype(np.float32)
    noise[: len(night)] = 0
    return noisy.but(features=np.clip(noisy.features + noise, 0, 16)).named("trebled")


def scaled(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(features=nights[-1].features * 255)


def nan_block(nights: list[Night], rng: np.random.Generator) -> Night:
    features = nights[-1].features.copy()
    features[40:65, :32] = np.nan
    return nights[-1].but(features=features)


def leaked(nights: list[Night], rng: np.random.Generator) -> Night:
    """Test rows of the nights before, among today's training rows."""
    night = nights[-1]
    tests = np.concatenate([before.features[before.split == "test"] for before in nights[-4:-1]])[:20]
    features = night.features.copy()
    features[np.flatnonzero(night.split == "train")[: len(tests)]] = tests
    return night.but(features=features)


def doubled(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-2].named("doubled")


def swapped_columns(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(label=nights[-1].writer, writer=nights[-1].label)


def half_the_classes(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].take(digits(nights[-1]) < 5)


def shuffled(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(label=rng.permutation(nights[-1].label))


def halved(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].take(np.arange(len(nights[-1]) // 2))


def blank(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(features=np.zeros_like(nights[-1].features))


def permuted_columns(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(features=nights[-1].features[:, rng.permutation(FEATURES)])


def unknown_class(nights: list[Night], rng: np.random.Generator) -> Night:
    label = nights[-1].label.astype(object)
    label[rng.random(len(label)) < 0.1] = "unreadable"
    return nights[-1].but(label=label.astype(str))


def repeated_ids(nights: list[Night], rng: np.random.Generator) -> Night:
    ids = nights[-1].ids.copy()
    ids[30:60] = ids[:30]
    return nights[-1].but(ids=ids)


def trailing_spaces(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(label=np.char.add(nights[-1].label, " "))


def noisy_pictures(nights: list[Night], rng: np.random.Generator) -> Night:
    features = nights[-1].features + rng.normal(0, 6, nights[-1].features.shape)
    return nights[-1].but(features=np.clip(features, 0, 16).astype(np.float32))


def off_by_one(nights: list[Night], rng: np.random.Generator) -> Night:
    return nights[-1].but(label=np.roll(nights[-1].label, 1))


def relabelled(night: Night, labels: np.ndarray) -> Night:
    return night.but(label=labels.astype(str))


def digits(night: Night) -> np.ndarray:
    return night.label.astype(np.int64)


NIGHTS: dict[str, Defect] = {
    "label map shifted by one": shifted,
    "a class that trebled": trebled,
    "features scaled by 255": scaled,
    "a block of NaN": nan_block,
    "held-out rows leaked into training": leaked,
    "yesterday's file again": doubled,
    "label column swapped with another": swapped_columns,
    "half of the classes missing": half_the_classes,
    "labels shuffled": shuffled,
    "half of the rows missing": halved,
    "all pictures blank": blank,
    "feature columns permuted": permuted_columns,
    "a class nobody knows": unknown_class,
    "ids given twice": repeated_ids,
    "labels with a trailing space": trailing_spaces,
    "noise over the pictures": noisy_pictures,
    "labels one row off": off_by_one,
}
"""Defects of a night's rows."""


def truncated(file: Path) -> None:
    """A transfer that broke off."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def another_data_set(night: Night, rng: np.random.Generator) -> Night:
    """What a model of some other ten classes says, under the same ids."""
    return night.but(model=rng.dirichlet(np.full(10, 0.1), len(night)).astype(np.float32))


def sums_to_nine_tenths(night: Night, rng: np.random.Generator) -> Night:
    return night.but(model=night.model * np.float32(0.9))


EXPORTS: dict[str, Callable[[Night, np.random.Generator], Night]] = {
    "teacher file of another data set": another_data_set,
    "probabilities that sum to 0.9": sums_to_nine_tenths,
}
"""Defects of the other model's export, in what it says of the last night."""

FILES: dict[str, Callable[[Path], None]] = {"file cut off in the middle": truncated}
"""Defects of the file."""
