"""Where randomness comes from: the data, never the clock or the worker."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def seed_of(*parts: Any) -> int:
    """A 63-bit seed from JSON-able parts and NumPy scalars, such as (data set, partition, method, fold).

    Anything else is a TypeError: the text of an object may hold its address, which no rerun repeats.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=np.generic.item)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def mix(keys: np.ndarray, seed: int) -> np.ndarray:
    """Each row's own 64 random bits: uint64 (n,) -> uint64 (n,), by the SplitMix64 finaliser.

    Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 16.
    Counter-based, so a row's bits depend on its key and the seed and on nothing around it.
    """
    with np.errstate(over="ignore"):
        z = keys.astype(np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(keys: np.ndarray, seed: int) -> np.ndarray:
    """Each row's own number in [0, 1): uint64 (n,) -> float64 (n,), 53 random bits."""
    return (mix(keys, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def folds_of(keys: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each row: uint64 (n,) -> int16 (n,) in 0..folds-1.

    From the row's content key alone, so it never changes, and equal rows share a fold: a copy of
    a row never trains the teacher that judges it.
    """
    return (mix(keys, 0) % np.uint64(folds)).astype(np.int16)
