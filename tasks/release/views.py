"""Stored views back to what the teachers saw: the numbers of `transform`, and the method that drew them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from storage.history import History
from storage.store import TableRef
from storage.tables import TRANSFORM
from tasks.config import Curation
from tasks.data import Rows
from tasks.errors import BadInput
from tasks.reinforce import AnyReinforcer, Reinforcer, Transforms
from tasks.release import Release

RECORD = np.dtype([(field.name, field.type.to_pandas_dtype()) for field in TRANSFORM])
"""The fields of `transform`, a view a record, so that views are taken and joined as one array."""


def records_of(transforms: pa.StructArray) -> tuple[np.ndarray, np.ndarray]:
    """The column `transform` as records (m,) of RECORD, and (m,) int64 the fields that are there as bits."""
    records = np.zeros(len(transforms), RECORD)
    there = np.zeros(len(transforms), np.int64)
    for bit, field in enumerate(TRANSFORM):
        values = transforms.field(field.name)
        if values.null_count < len(values):
            there |= pc.is_valid(values).to_numpy(zero_copy_only=False).astype(np.int64) << bit
            nothing = pa.scalar(0, pa.int8()).cast(field.type)
            records[field.name] = values.fill_null(nothing).to_numpy(zero_copy_only=False)
    return records, there


@dataclass(frozen=True)
class View(Rows):
    """A view of each of n rows: what redraws it, and whom it is mixed with.

    records, there: see `records_of`. method: (n,), the number of what drew it. mixed: (n,) bool, whether it
    has a partner; of those that have one, other is the partner's payload, and other_records and
    other_there the partner's view.
    """

    records: np.ndarray
    there: np.ndarray
    method: np.ndarray
    mixed: np.ndarray
    other: np.ndarray
    other_records: np.ndarray
    other_there: np.ndarray

    def redraw(
        self,
        payload: np.ndarray,
        decode: Callable[[np.ndarray, np.ndarray], np.ndarray],
        methods: Sequence[Reinforcer],
    ) -> np.ndarray:
        """What the teachers saw. payload: that of the rows, decoded; decode: does it for the
        partners' of rows by their ids."""
        views = np.empty_like(payload)
        for mine, number, transforms in alike(self.method, self.there, self.records):
            views[mine] = methods[number].replay(payload[mine], transforms)
        if self.mixed.any():
            own = self.take(np.flatnonzero(self.mixed))
            partners, mixed = decode(own.other, own.ids), views[self.mixed]
            others = np.empty_like(partners)
            for mine, number, transforms in alike(own.method, own.other_there, own.other_records):
                others[mine] = methods[number].replay(partners[mine], transforms)
            for mine, number, transforms in alike(own.method, own.there, own.records):
                mixed[mine] = methods[number].mix(mixed[mine], others[mine], transforms)
            views[self.mixed] = mixed
        return views


def alike(
    methods: np.ndarray, there: np.ndarray, records: np.ndarray
) -> Iterator[tuple[np.ndarray, int, Transforms]]:
    """The views that one call can redraw: which they are (n,) bool, their method, and their numbers."""
    for number, bits in sorted(set(zip(methods.tolist(), there.tolist(), strict=True))):
        mine = (methods == number) & (there == bits)
        fields = [name for bit, name in enumerate(RECORD.names or ()) if bits >> bit & 1]
        yield mine, number, {name: records[name][mine] for name in fields}


def methods_of(
    release: Release, curation: Curation, refs: Sequence[TableRef]
) -> tuple[list[Reinforcer], list[int]]:
    """The methods that drew some partitions' views, and the number of each partition's among them.

    What drew a view is noted where the view was committed. A store from before that was so is read with
    what the curation says. Raises BadInput where a method is gone, or draws otherwise today.
    """
    noted = {
        (life.partition, life.fingerprint): life.info().get("reinforcer")
        for life in History(release.store, "reinforcements").all()
    }
    known: list[dict[str, Any]] = []
    numbers = []
    for ref in refs:
        identity = noted.get((ref.partition, ref.fingerprint))
        if identity is None:
            if curation.reinforce is None:
                raise BadInput(
                    f"{release} does not say what drew its views; add its `reinforce` to the curation"
                )
            identity = curation.reinforce.identity()
        if identity not in known:
            known.append(identity)
        numbers.append(known.index(identity))
    return [restored(release, identity) for identity in known], numbers


def restored(release: Release, identity: dict[str, Any]) -> Reinforcer:
    """A method from its identity. Raises BadInput unless it still draws what it drew."""
    revision = identity["revision"]
    try:
        parameters = {name: value for name, value in identity.items() if name != "revision"}
        found: Reinforcer = TypeAdapter(AnyReinforcer).validate_python(parameters)
    except ValidationError as error:
        raise BadInput(
            f"{release}: its views were drawn by {identity['kind']}, which cannot be had "
            f"({error.errors()[0]['msg']})"
        ) from None
    if found.revision != revision:
        raise BadInput(
            f"{release}: its views were drawn by revision {revision} of {found.kind}, and this winnow has "
            f"revision {found.revision}; run reinforce again, or train with the older one"
        )
    return found
