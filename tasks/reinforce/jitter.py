"""Jitter: Gaussian noise on feature rows, stored as one seed and one size a view.

Augmentation for rows that are no images: Bishop, "Training with noise is equivalent to Tikhonov
regularization", Neural Computation 1995. Added to Faghri et al.'s scheme (ICCV 2023) of storing
the numbers that redraw a view, so that tables of numbers can be reinforced too.

A view's noise is a pure function of its stored seed: SplitMix64 gives 64 bits for each
(view, feature), Box and Muller (Ann. Math. Statist. 1958) turn each pair into two normal numbers,
all element by element in float64, so a view never depends on the batch it is redrawn in.
It assumes that a small move keeps the label: true where classes are wider than the noise.
Cost: O(views * features), about 50 nanoseconds a number.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.reinforce import Reinforcer, Transforms
from tasks.seeds import mix, seed_of

Deviation = Annotated[float, Field(ge=0)]
BATCH = 4096
"""Views redrawn at once, to bound the memory of the float64 noise. Changes no byte."""


class Jitter(Reinforcer):
    """Each feature moved by its own Gaussian noise."""

    kind: Literal["jitter"] = "jitter"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Bishop, Training with noise is equivalent to Tikhonov regularization, 1995"
    reads: ClassVar[Literal["images", "features"]] = "features"

    draws: int = Field(8, ge=1, le=32767, description="stored views a row; fewer than 8 are memorised")
    scale: Deviation | tuple[Deviation, ...] = Field(
        0.1,
        description="standard deviation of the noise, in the features' own units: one number for all "
        "(right for standardised features) or a list with one a feature; a view sees one row only, so the "
        "spread of the data cannot be measured here",
    )

    def sample(self, keys: np.ndarray, shape: tuple[int, ...], seed: int) -> Transforms:
        """keys (n,) uint64 -> noise_seed int64 and noise_scale float32, (n * draws,).

        noise_scale is `scale` itself, or 1 where `scale` is a list: then replay needs this method's
        parameters beside the stored numbers.
        """
        seeds = np.stack([mix(keys, seed_of(seed, "noise", draw)) for draw in range(self.draws)], axis=1)
        size = self.scale if isinstance(self.scale, float) else 1.0
        return {
            "noise_seed": seeds.ravel().view(np.int64),
            "noise_scale": np.full(seeds.size, size, np.float32),
        }

    def replay(self, payload: np.ndarray, transforms: Transforms) -> np.ndarray:
        """payload (m, d) float32 plus its noise -> (m, d) float32; NaN stays NaN.

        ValueError where `scale` is a list of another length than d.
        """
        m, d = payload.shape
        deviations = np.ones(d) if isinstance(self.scale, float) else np.array(self.scale)
        if len(deviations) != d:
            raise ValueError(
                f"jitter.scale has {len(deviations)} deviations, rows have {d} features; list one a feature"
            )
        views = np.empty_like(payload)
        for start in range(0, m, BATCH):
            batch = slice(start, start + BATCH)
            size = transforms["noise_scale"][batch].astype(np.float64)[:, None] * deviations
            views[batch] = payload[batch] + size * _normal(transforms["noise_seed"][batch], d)
        return views


def _normal(seeds: np.ndarray, d: int) -> np.ndarray:
    """Independent standard normal numbers: seeds (m,) int64 -> (m, d) float64."""
    pairs = (d + 1) // 2
    counters = np.arange(2 * pairs, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = mix(seeds.view(np.uint64)[:, None] + counters, 0)
    u = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2 * np.log1p(-u[:, :pairs]))
    angle = 2 * np.pi * u[:, pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :d]
