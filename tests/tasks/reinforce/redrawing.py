"""What every stored draw has to come back as, redrawn from whole tables: the loader is held against it.

A mixed view needs its partner's view, which is redrawn from the partner's row and the partner's draw.
Where either is gone (the row was deleted, or rejected later) the mixed view cannot be what the teachers
were asked about, so it is left out, and never redrawn alone. No tests here.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.data import Examples
from tasks.reinforce import Reinforcer, Transforms

DRAWS = 1 << 15
"""More than any draw's number."""


def redrawn(
    reinforcer: Reinforcer, rows: Examples, draws: pa.Table, wanted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Views of stored draws, and which draws they are of.

    rows: with the payload that the reinforcer reads, in any order. draws: columns `id`, `draw`,
    `transform` and `partner` of `reinforcements`, those of the partners among them. wanted: (w,) places in
    `draws`, by default all. Returns views (v, …) in the payload's dtype and their places in `draws`, (v,)
    int64, in the order of `wanted`; v < w where rows or partners are missing.
    """
    payload = rows.images if reinforcer.reads == "images" else rows.features
    if payload is None:
        raise ValueError(f"{reinforcer.kind} redraws {reinforcer.reads}, which these rows do not have")
    transforms = transforms_of(draws["transform"])
    row = index_in(draws["id"], rows.ids)
    partner = partners_of(draws, transforms, row)
    places = np.arange(len(draws)) if wanted is None else wanted
    alone = partner[places] == ALONE
    there = np.where(alone, True, row[np.maximum(partner[places], 0)] >= 0) & (partner[places] != GONE)
    places = places[there & (row[places] >= 0)]

    def before_mixing(of: np.ndarray) -> np.ndarray:
        return reinforcer.replay(payload[row[of]], {name: values[of] for name, values in transforms.items()})

    views = before_mixing(places)
    mixed = partner[places] != ALONE
    if mixed.any():
        own = places[mixed]
        numbers = {name: values[own] for name, values in transforms.items()}
        views[mixed] = reinforcer.mix(views[mixed], before_mixing(partner[own]), numbers)
    return views, places


ALONE, GONE = -1, -2


def partners_of(draws: pa.Table, transforms: Transforms, row: np.ndarray) -> np.ndarray:
    """The place among `draws` of each one's partner, (m,) int64; ALONE for none, GONE where it is missing."""
    if "partner_draw" not in transforms:
        return np.full(len(draws), ALONE)
    names = pc.unique(draws["id"])
    owner, other = (pc.index_in(draws[name], names).fill_null(-1) for name in ("id", "partner"))
    code = owner.to_numpy().astype(np.int64) * DRAWS + draws["draw"].to_numpy()
    wanted = other.to_numpy().astype(np.int64) * DRAWS + transforms["partner_draw"]
    order = np.argsort(code, kind="stable")
    at = order[np.minimum(np.searchsorted(code, wanted, sorter=order), len(code) - 1)] if len(code) else code
    found = np.where((other.to_numpy() >= 0) & (code[at] == wanted), at, GONE)
    return np.where(transforms["partner_draw"] < 0, ALONE, found)


def index_in(ids: pa.ChunkedArray, known: np.ndarray) -> np.ndarray:
    """The place of each id among `known`, (m,) int64, -1 where it is not there."""
    found = pc.index_in(ids, pa.array(known, pa.string())).fill_null(-1)
    return np.asarray(found.to_numpy().astype(np.int64))


def transforms_of(column: pa.ChunkedArray) -> Transforms:
    """The numbers in the `transform` column, without the fields that the reinforcer does not have."""
    struct = column.combine_chunks()
    fields = {field.name: pc.struct_field(struct, field.name) for field in struct.type}
    return {
        name: values.to_numpy(zero_copy_only=False)
        for name, values in fields.items()
        if not values.null_count
    }
