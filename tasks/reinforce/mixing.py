"""Mixing a view with another: mixup, cutmix, and who the other is.

Zhang et al., "mixup", ICLR 2018: a weighted mean of two images. Yun et al., "CutMix", ICCV 2019: a
box of one pasted into the other, its area 1 - lambda before the border clips it. Both with lambda
uniform in 0..1 (Beta(1, 1)), as Faghri et al. draw it. Weights are whole numbers of 32767ths and
boxes whole pixels, so mixing is integer arithmetic: the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tasks.seeds import mix, seed_of

ONE = 32767
"""The weight that stands for 1."""
BATCH = 256
"""Views mixed at once, to bound the memory. Changes no byte."""


def own_weights(chance: np.ndarray) -> np.ndarray:
    """mixup's weight of the own side from a number in [0, 1): the larger of lambda and 1 - lambda, so a
    view stays mostly its own row's. (m,) -> (m,) int16, 16384..32767."""
    return np.asarray(np.rint(np.maximum(chance, 1 - chance) * ONE), np.int16)


def boxes(chances: Iterable[np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """CutMix's boxes from three numbers in [0, 1): lambda, and the line and column of the centre, (m,) each.
    Sides of sqrt(1 - lambda), clipped at the border; `paste_top`, `paste_left`, `paste_height` and
    `paste_width`, (m,) int16."""
    share, line, column = chances
    found: dict[str, np.ndarray] = {}
    for first, extent, centre, length in (
        ("paste_top", "paste_height", line, shape[0]),
        ("paste_left", "paste_width", column, shape[1]),
    ):
        half = np.floor(np.sqrt(1 - share) * length).astype(np.int64) // 2
        middle = np.floor(centre * length).astype(np.int64)
        begin, end = np.maximum(middle - half, 0), np.minimum(middle + half, length)
        found |= {first: begin.astype(np.int16), extent: (end - begin).astype(np.int16)}
    return found


def mixed_in(views: np.ndarray, others: np.ndarray, t: dict[str, np.ndarray]) -> np.ndarray:
    """mixup by `own_weight`, then cutmix by the box `paste_…`, with the same others: (m, h, w, c) uint8."""
    done = np.empty_like(views)
    for start in range(0, len(views), BATCH):
        batch = slice(start, start + BATCH)
        blended = mixed(views[batch], others[batch], t["own_weight"][batch])
        done[batch] = pasted(blended, others[batch], {name: values[batch] for name, values in t.items()})
    return done


def mixed(views: np.ndarray, others: np.ndarray, own: np.ndarray) -> np.ndarray:
    """own / 32767 of a view and the rest of the other, rounded: (m, h, w, c) uint8, (m,) int16."""
    weight = own.astype(np.int32)[:, None, None, None]
    total = views * weight + others * (ONE - weight)
    blended: np.ndarray = ((2 * total + ONE) // (2 * ONE)).astype(np.uint8)
    return blended


def pasted(views: np.ndarray, others: np.ndarray, t: dict[str, np.ndarray], box: str = "paste") -> np.ndarray:
    """The other's pixels inside of the box `{box}_top`, …: (m, h, w, c) uint8."""
    top, left, height, width = (
        t[f"{box}_{name}"].astype(np.int64)[:, None] for name in ("top", "left", "height", "width")
    )
    line, column = np.arange(views.shape[1]), np.arange(views.shape[2])
    across = ((line >= top) & (line < top + height))[:, :, None]
    along = ((column >= left) & (column < left + width))[:, None, :]
    return np.where((across & along)[..., None], others, views)


def partners(keys: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Who each draw of each row is mixed with: (n,) uint64 keys, (n,) int -> (n, draws) int64 places.

    For every draw the rows of a group lie on a circle, at a place that their key gives them, and the
    partner is the next one of another content; -1 where there is none. So a row that comes or goes
    changes the partner of those right before it and of nobody else. Of equal rows the first is taken.
    """
    found = np.full((len(keys), draws), -1, np.int64)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for draw in range(draws):
        place = mix(keys, seed_of(seed, "partner", draw))
        for group in members:
            order = group[np.argsort(place[group], kind="stable")]
            ring = place[order]
            following = order[np.searchsorted(ring, ring, side="right") % len(ring)]
            found[order, draw] = np.where(keys[following] != keys[order], following, -1)
    return found
