"""Class probabilities that other models gave, from a Parquet file.

For teachers that winnow does not train: large networks on other machines, whose out-of-sample
probabilities are exported once. Assumes that no model was trained on the rows it judges: that is
not checked and cannot be. The file is the source: its content, not its place, is part of the
method's identity, so a new export makes the soft labels stale. Cost: the ids of the file once a
process, and for each shard the row groups that hold its rows; O(n k) of memory.
"""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from tasks.data import Examples, State
from tasks.method import Task
from tasks.teach import BadTraining, Start, Teacher
from tasks.teach.yes_no import log_odds

FLOOR = 1e-12
"""Stands for probability 0, whose logarithm is not finite."""

TOLERANCE = 1e-3
"""How far from 1 the probabilities of a row may sum."""


class Precomputed(Teacher):
    """Look probabilities up by id."""

    kind: Literal["precomputed"] = "precomputed"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    reads: ClassVar[Literal["images", "embedding", "nothing"]] = "nothing"
    cross_fitted: ClassVar[bool] = False
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label", "regression"})

    path: str = Field(min_length=1, description="Parquet file, relative to the YAML file")
    id: str = Field("id", min_length=1, description="column that holds the rows' ids")
    teachers: tuple[str, ...] = Field(
        min_length=1,
        description="columns of probabilities, each a list<float> with one number a class; of regression, of "
        "predicted numbers",
    )

    def names(self) -> tuple[str, ...]:
        """One opinion a column."""
        return self.teachers

    def identity(self) -> dict[str, Any]:
        """With the file's content in place of its path; a file that is not there has none."""
        content = _digest(*_version(self.path)) if os.path.isfile(self.path) else None
        return {**super().identity(), "path": content}

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Nothing is learned here: the empty state."""
        return State({}, {})

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (len(teachers), n, n_classes): the file's probabilities, at least 1e-12, as logarithms.

        They are not rescaled: exp() gives them back. Of multi_label, where those of a row need not sum to
        1, as log-odds; of regression the file's numbers, float64 (len(teachers), n, 1). Raises BadTraining
        if the file or a column is missing, or a row has no probabilities, too few or too many, or numbers
        that are none.
        """
        table, one_class = self._rows(examples.ids), examples.given is None
        if examples.given is not None and examples.given.ndim == 1:
            return np.stack([self._numbers(table[name], name, examples.ids) for name in self.teachers])
        judged = [
            self._column(table[name], name, examples.ids, n_classes, one_class) for name in self.teachers
        ]
        if not one_class:
            return log_odds(np.stack(judged), FLOOR)
        log_probs: np.ndarray = np.log(np.maximum(np.stack(judged), FLOOR)).astype(np.float32)
        return log_probs

    def _rows(self, ids: np.ndarray) -> pa.Table:
        if not os.path.isfile(self.path):
            raise BadTraining(
                f"teach.teachers: {self.path} is not there; export it or correct precomputed.path"
            )
        file = pq.ParquetFile(self.path, memory_map=True)
        missing = [name for name in (self.id, *self.teachers) if name not in file.schema_arrow.names]
        if missing:
            raise BadTraining(
                f"{self.path}: there is no column {missing[0]} for precomputed; "
                f"it has {', '.join(file.schema_arrow.names)}"
            )
        known, starts = _ids(*_version(self.path), self.id)
        at = pc.index_in(pa.array(ids, pa.string()), value_set=known)
        self._refuse(ids, at.is_null().to_numpy(zero_copy_only=False), "have no row")
        rows = at.to_numpy(zero_copy_only=False).astype(np.int64)
        group = np.searchsorted(starts, rows, side="right") - 1
        needed = np.unique(group)
        sizes = np.diff(starts, append=len(known))[needed]
        first = np.cumsum(sizes) - sizes  # where each needed group begins in what is read
        columns = list(dict.fromkeys(self.teachers))
        read = file.read_row_groups(needed.tolist(), columns=columns, use_threads=False)
        return read.take(pa.array(first[np.searchsorted(needed, group)] + rows - starts[group]))

    def _column(
        self, column: pa.ChunkedArray, name: str, ids: np.ndarray, n_classes: int, one_class: bool
    ) -> np.ndarray:
        if not (
            pa.types.is_list(column.type)
            or pa.types.is_large_list(column.type)
            or pa.types.is_fixed_size_list(column.type)
        ):
            raise BadTraining(f"{self.path}: column {name} is {column.type}, must be list<float>")
        n = len(ids)
        lengths = pc.list_value_length(column).fill_null(0).to_numpy()
        self._refuse(ids, lengths == 0, f"have no probabilities in {name}")
        self._refuse(ids, lengths != n_classes, f"do not have {n_classes} numbers in {name}, one a class")
        flat = pc.list_flatten(column).cast(pa.float64()).fill_null(np.nan).to_numpy()
        probs = flat.reshape(n, n_classes)
        inside = ((probs >= 0) & (probs <= 1)).all(axis=1)  # NaN is neither
        self._refuse(ids, ~inside, f"have numbers outside 0..1 in {name}")
        off = np.abs(probs.sum(axis=1) - 1) > TOLERANCE
        self._refuse(ids, off & one_class, f"have probabilities in {name} that do not sum to 1")
        return np.asarray(probs)

    def _numbers(self, column: pa.ChunkedArray, name: str, ids: np.ndarray) -> np.ndarray:
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise BadTraining(f"{self.path}: column {name} is {column.type}, must hold numbers")
        values = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
        self._refuse(ids, ~np.isfinite(values), f"have no finite number in {name}")
        return np.asarray(values[:, None])

    def _refuse(self, ids: np.ndarray, bad: np.ndarray, what: str) -> None:
        if bad.any():
            raise BadTraining(
                f"{self.path}: {int(bad.sum())} of {len(ids)} rows {what}, such as {ids[bad][0]}; "
                "export the file again"
            )


def _version(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
def _digest(path: str, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@functools.lru_cache(maxsize=2)
def _ids(path: str, modified: int, size: int, column: str) -> tuple[pa.Array, np.ndarray]:
    """The file's ids, and the row at which each row group starts. Raises BadTraining if an id repeats."""
    file = pq.ParquetFile(path, memory_map=True)
    ids = file.read(columns=[column], use_threads=False)[column].cast(pa.string()).combine_chunks()
    repeated = len(ids) - len(pc.unique(ids))
    if repeated:
        raise BadTraining(f"{path}: {repeated} values of column {column} repeat others; ids must be unique")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    return ids, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
