"""What rows of multi_label and regression are given, between Arrow columns and `Examples.given`.

A set of classes is a row of (n, k) int8: 1 for classes that apply, 0 for others, -1 throughout where nobody
said. A number is one of (n,) float64, NaN for none.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def labels_of(given: np.ndarray) -> np.ndarray:
    """(n,) int32, 0 where something is given, -1 elsewhere."""
    there = np.isfinite(given) if given.ndim == 1 else (given >= 0).any(axis=1)
    return np.where(there, 0, -1).astype(np.int32)


def sets_to_array(column: pa.ChunkedArray, n_classes: int) -> np.ndarray:
    """Lists of class indices as (n, n_classes) int8: 1 for those listed, 0 for others, -1 in rows of null."""
    sets = column.combine_chunks()
    dense = np.zeros((len(sets), n_classes), np.int8)
    dense[pc.list_parent_indices(sets).to_numpy(), pc.list_flatten(sets).to_numpy()] = 1
    dense[sets.is_null().to_numpy(zero_copy_only=False)] = -1
    return dense


def array_to_sets(given: np.ndarray) -> pa.Array:
    """(n, k) int8 as sorted lists of class indices, null where a row is -1: what `sets_to_array` reads."""
    there = (given >= 0).any(axis=1)
    rows, classes = np.nonzero(given == 1)
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(given)))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(classes, pa.int32()), mask=pa.array(~there))


def numbers_or_nan(column: pa.ChunkedArray) -> np.ndarray:
    """A nullable column of doubles with NaN for null."""
    values: np.ndarray = column.fill_null(np.nan).to_numpy()
    return values


def of_task(values: np.ndarray) -> pa.Array:
    """What `Examples.given` holds, as an Arrow array with nulls: lists of class indices, or doubles."""
    if values.ndim == 2:
        return array_to_sets(values)
    return pa.array(values, pa.float64(), mask=np.isnan(values))
