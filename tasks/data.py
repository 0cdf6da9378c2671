"""The arrays that travel between stages and methods: small frozen dataclasses.

Every one holds plain NumPy arrays of one length `n`, in the order of the partition's rows.
`from_arrow`/`to_arrow` are the only places that know how a table's columns are laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.largest import largest, rounded

ONE = 32767
"""The int16 that stands for probability 1."""


@dataclass(frozen=True)
class Rows:
    """Base of the row-wise dataclasses: every array field has the same first dimension."""

    ids: np.ndarray  # (n,) object, str

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> Self:
        """The rows at `index` (integers or a mask), in that order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: taken(value, index) for name, value in values.items()})

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """All parts one after the other; those with rows must have the same optional fields."""
        # A table without rows does not say how long its lists are: (0, 0) where the others have (n, k).
        parts = [part for part in parts if len(part)] or parts[:1]
        first = parts[0]
        names = [f.name for f in fields(first)]
        return replace(first, **{name: joined([getattr(part, name) for part in parts]) for name in names})


def joined(values: list[Any]) -> Any:
    """A field of several parts as one: arrays and row-wise data one after the other; else the first's."""
    first = values[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if isinstance(first, Rows):
        return type(first).concat(values)
    if isinstance(first, tuple):
        return tuple(joined(list(each)) for each in zip(*values, strict=True))
    return first


def taken(value: Any, index: np.ndarray) -> Any:
    """The rows at `index` of a field: an array, row-wise data, several of them; anything else stays."""
    if isinstance(value, np.ndarray):
        return value[index]
    if isinstance(value, Rows):
        return value.take(index)
    return tuple(taken(part, index) for part in value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Annotations(Rows):
    """The labels that several people gave each row: long, those of a row next to each other.

    counts: (n,) int32, how many labels the row has. annotators: (L,) object, str. classes: (L,) int32.
    """

    counts: np.ndarray
    annotators: np.ndarray
    classes: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(L,) int64, the row that each label is of."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, index: np.ndarray) -> Annotations:
        """The rows at `index`, and their labels."""
        counts = self.counts[index]
        first = (np.cumsum(self.counts) - self.counts)[index]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(first, counts) + within
        return Annotations(self.ids[index], counts, self.annotators[places], self.classes[places])

    @classmethod
    def from_arrow(cls, ids: np.ndarray, column: pa.ChunkedArray) -> Annotations:
        """From the column `annotations` of the table `rows`; a null is no label."""
        said = column.combine_chunks()
        flat = said.flatten()
        return cls(
            ids,
            pc.fill_null(pc.list_value_length(said), 0).to_numpy(),
            pc.struct_field(flat, "annotator").to_numpy(zero_copy_only=False),
            pc.struct_field(flat, "label").to_numpy(),
        )


@dataclass(frozen=True)
class Examples(Rows):
    """Rows as encoders, teachers, reinforcers and distillers see them.

    keys: (n,) uint64 from the content hash; equal content, equal key. Seeds and folds use it.
    labels: (n,) int32 class index, -1 where there is none.
    images: (n, height, width, channels) uint8, or None.
    features: (n, d) float32 as ingested, or None.
    embedding: (n, e) float32, what the curation's encoder made of the payload, or None.
    trains: (n,) bool, whether the row is of the training split, or None where nobody asks.
    texts: (n,) object, str, or None.
    dynamics: (n, 3) float32, area under the margin, forgetting events and early error (see
    `tasks.teach.dynamics`), NaN for a row that no teacher trained on under this label, or None.
    """

    keys: np.ndarray
    labels: np.ndarray
    images: np.ndarray | None = None
    features: np.ndarray | None = None
    embedding: np.ndarray | None = None
    trains: np.ndarray | None = None
    annotations: Annotations | None = None
    texts: np.ndarray | None = None
    dynamics: np.ndarray | None = None


@dataclass(frozen=True)
class SoftLabels(Rows):
    """One teacher's (or the ensemble's) opinion on rows it never trained on, as stored.

    labels: (n,) int32 given label, -1 where there is none.
    classes, weights: (n, k) int32 and int16, the k largest probabilities first; ties go to the
    lower class. given_weight: (n,) int16, 0 where there is no given label. tail: (n,) int16,
    what neither the top k nor the given label holds. n_classes: the vocabulary's size.
    """

    labels: np.ndarray
    classes: np.ndarray
    weights: np.ndarray
    given_weight: np.ndarray
    tail: np.ndarray
    n_classes: int

    @classmethod
    def from_pred_probs(
        cls, ids: np.ndarray, labels: np.ndarray, pred_probs: np.ndarray, top_k: int
    ) -> SoftLabels:
        """Encode dense probabilities (n, n_classes) float; rows sum to 1.

        A probability p is stored as round(p * 32767), half to even, so that sums of weights are
        exact whatever their order. Raises ValueError where p is NaN or outside 0..1.
        """
        n, n_classes = pred_probs.shape
        if n and not (pred_probs.min() >= -1e-6 and pred_probs.max() <= 1 + 1e-6):
            raise ValueError("pred_probs holds NaN or values outside 0..1; has the teacher diverged?")
        k = min(top_k, n_classes)
        classes, top = largest(pred_probs, k)
        known = labels >= 0
        given = rounded(pred_probs[np.arange(n), np.maximum(labels, 0)])
        given_weight = np.where(known, given, 0).astype(np.int16)
        listed = (classes == labels[:, None]).any(axis=1)
        stored = top.sum(axis=1, dtype=np.int32) + np.where(known & ~listed, given_weight, 0)
        rest = n_classes - k - (known & ~listed)
        tail = np.where(rest > 0, np.maximum(ONE - stored, 0), 0).astype(np.int16)
        return cls(ids, labels.astype(np.int32), classes, top, given_weight, tail, n_classes)

    def pred_probs(self) -> np.ndarray:
        """Decode to (n, n_classes) float32; the tail is spread evenly over the classes not stored."""
        n, k = self.classes.shape
        known = self.labels >= 0
        listed = (self.classes == self.labels[:, None]).any(axis=1)
        rest = np.maximum(self.n_classes - k - (known & ~listed), 1)
        # Rounding may leave the tail more than its share; no class it hides beats one that is listed.
        share = np.minimum(self.tail / rest, self.weights.min(axis=1, initial=ONE))
        dense = np.empty((n, self.n_classes), np.float32)
        dense[:] = (share / ONE).astype(np.float32)[:, None]
        dense[np.flatnonzero(known), self.labels[known]] = self.given_weight[known] / ONE
        np.put_along_axis(dense, self.classes, (self.weights / ONE).astype(np.float32), axis=1)
        return dense

    @classmethod
    def from_arrow(cls, table: pa.Table, labels: np.ndarray, n_classes: int) -> SoftLabels:
        """From rows of the `soft_labels` table of one teacher, with their given labels."""
        n = table.num_rows
        return cls(
            table["id"].to_numpy(),
            labels,
            lists_to_array(table["classes"], n, np.int32),
            lists_to_array(table["weights"], n, np.int16),
            table["given_weight"].to_numpy(),
            table["tail"].to_numpy(),
            n_classes,
        )

    def to_arrow(self, teacher: str | np.ndarray, folds: np.ndarray) -> pa.Table:
        """As rows of the `soft_labels` table; teacher: a name, or (n,) object with one a row; folds: (n,)
        int16, -1 where there were none."""
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "teacher": pa.array(np.broadcast_to(np.asarray(teacher, object), len(self)), pa.string()),
                "fold": pa.array(folds, pa.int16()),
                "classes": array_to_lists(self.classes),
                "weights": array_to_lists(self.weights),
                "given_weight": pa.array(self.given_weight),
                "tail": pa.array(self.tail),
            }
        )


@dataclass(frozen=True)
class Issues(Rows):
    """A detector's findings, one a row.

    score: (n,) float32 label quality in 0..1, low is bad. is_issue: (n,) bool.
    suggested_label: (n,) int32, -1 where there is none. p_error: (n,) float32, the probability
    that the given label is wrong, NaN from a detector that does not say.
    """

    score: np.ndarray
    is_issue: np.ndarray
    suggested_label: np.ndarray
    p_error: np.ndarray

    def to_arrow(self, detector: str) -> pa.Table:
        n = len(self)
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "detector": pa.array([detector]).take(pa.array(np.zeros(n, np.int32))),
                "score": pa.array(self.score, pa.float32()),
                "is_issue": pa.array(self.is_issue, pa.bool_()),
                "suggested_label": optional_ints(self.suggested_label),
                "p_error": pa.array(self.p_error, pa.float32(), mask=np.isnan(self.p_error)),
            }
        )

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Issues:
        return cls(
            table["id"].to_numpy(),
            table["score"].to_numpy(),
            table["is_issue"].to_numpy(),
            ints_or_minus_one(table["suggested_label"]),
            table["p_error"].fill_null(np.nan).to_numpy(),
        )


@dataclass(frozen=True)
class Labelled(Rows):
    """Rows as detectors see them: their given labels, and what there is to judge them by.

    keys: (n,) uint64 from the content hash; equal content, equal key. trains: (n,) bool, whether the
    row is of the training split. soft: the ensemble's soft labels, which hold the given labels.
    The rest is None, or empty, unless the detector reads it. opinions: each teacher's soft labels, in
    the curation's order. embedding: (n, e) float32. dynamics: (n, 3) float32, area under the margin,
    forgetting events and early error, NaN for a row that no teacher trained on. findings: what each other
    detector says, in the curation's order. decided: (n,) int32, the class that a person decided on, -1 where
    they took the label away; only of rows that people decided on. annotations: what people said.
    """

    keys: np.ndarray
    trains: np.ndarray
    soft: SoftLabels
    opinions: tuple[SoftLabels, ...] = ()
    embedding: np.ndarray | None = None
    dynamics: np.ndarray | None = None
    findings: tuple[Issues, ...] = ()
    decided: np.ndarray | None = None
    annotations: Annotations | None = None

    @property
    def labels(self) -> np.ndarray:
        """(n,) int32 given label, -1 where there is none."""
        return self.soft.labels

    @property
    def learnable(self) -> np.ndarray:
        """(n,) bool, labelled rows of the training split: what a held-out row is called decides nothing."""
        return self.trains & (self.labels >= 0)


@dataclass(frozen=True)
class Evidence(Rows):
    """What a relabelling policy may look at, one row an example.

    given: (n,) int32, -1 where the row came without a label. pred_probs: (n, n_classes) float32,
    the ensemble's. is_issue: (n,) bool, flagged by any detector, or by the one that weighs the others.
    p_error: (n,) float32, the largest of theirs. suggested: (n,) int32, the class to change to.
    """

    given: np.ndarray
    pred_probs: np.ndarray
    is_issue: np.ndarray
    p_error: np.ndarray
    suggested: np.ndarray


ACTIONS = ("keep", "fix", "soften", "drop", "review", "human")
"""What can be decided on a label; `Decisions.action` indexes it."""

TRUSTED = ("keep", "fix", "human")
"""Actions whose label may be learned from; the others are doubtful or gone."""


@dataclass(frozen=True)
class Decisions(Rows):
    """What was decided, one row an example.

    given, label: (n,) int32, -1 for none (a dropped row, or one that never had a label).
    action: (n,) int8 index into ACTIONS. confidence: (n,) float32 in 0..1, the probability of
    `label`. reason: (n,) object str, one sentence a person can read. decided_by: (n,) object str.
    """

    given: np.ndarray
    label: np.ndarray
    action: np.ndarray
    confidence: np.ndarray
    reason: np.ndarray
    decided_by: np.ndarray

    def to_arrow(self) -> pa.Table:
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "given": optional_ints(self.given),
                "label": optional_ints(self.label),
                "action": pa.array(ACTIONS).take(pa.array(self.action)),
                "confidence": pa.array(self.confidence, pa.float32()),
                "reason": pa.array(self.reason, pa.string()),
                "decided_by": pa.array(self.decided_by, pa.string()),
            }
        )

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Decisions:
        """From rows of the `labels` table."""
        return cls(
            table["id"].to_numpy(),
            ints_or_minus_one(table["given"]),
            ints_or_minus_one(table["label"]),
            pc.index_in(table["action"], pa.array(ACTIONS)).to_numpy().astype(np.int8),
            table["confidence"].to_numpy(),
            table["reason"].to_numpy(),
            table["decided_by"].to_numpy(),
        )


@dataclass(frozen=True)
class State:
    """What a fit leaves for apply: named arrays and JSON-able facts. Saved as safetensors."""

    arrays: dict[str, np.ndarray]
    info: dict[str, Any]


def lists_to_array(column: pa.ChunkedArray, n: int, dtype: Any) -> np.ndarray:
    """A list column whose lists all have one length, as (n, k)."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(n, -1).astype(dtype, copy=False) if n else np.zeros((0, 0), dtype)


def array_to_lists(values: np.ndarray) -> pa.Array:
    """(n, k) as an Arrow list array."""
    n, k = values.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(k))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).reshape(-1)))


def optional_ints(values: np.ndarray) -> pa.Array:
    """int32 with -1 for none, as a nullable Arrow array."""
    return pa.array(values, pa.int32(), mask=values < 0)


def ints_or_minus_one(column: pa.ChunkedArray) -> np.ndarray:
    """A nullable int32 column with -1 for null."""
    values: np.ndarray = column.fill_null(-1).to_numpy()
    return values.astype(np.int32, copy=False)


def keys_of(content_hash: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The first 64 bits of each hexadecimal content hash: (n,) uint64."""
    prefixes = pc.utf8_slice_codeunits(content_hash, 0, 16)
    return np.frombuffer(bytes.fromhex("".join(prefixes.to_pylist())), dtype=">u8").astype(np.uint64)
