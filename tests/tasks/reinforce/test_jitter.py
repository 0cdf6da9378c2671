"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_jitter.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from storage.tables import TRANSFORM
from tasks.reinforce.jitter import Jitter

KEYS = np.random.default_rng(1).integers(0, 2**64, 500, dtype=np.uint64)


def noise_of(method: Jitter, d: int, seed: int = 0) -> np.ndarray:
    transforms = method.sample(KEYS, (d,), seed)
    return method.replay(np.zeros((len(KEYS) * method.draws, d), np.float32), transforms)


def test_the_noise_is_standard_normal() -> None:
    values = noise_of(Jitter(draws=4, scale=1.0), 7).ravel()
    assert stats.kstest(values, "norm").pvalue > 0.001
    assert values.std() == pytest.approx(1, abs=0.02)


def test_features_draws_and_rows_are_independent() -> None:
    noise = noise_of(Jitter(draws=2, scale=1.0), 5).reshape(len(KEYS), 10)
    between = np.corrcoef(noise.T)[~np.eye(10, dtype=bool)]
    assert np.abs(between).max() < 0.2
    assert len(np.unique(noise)) == noise.size


def test_one_scale_serves_all_features_and_a_list_each_its_own() -> None:
    unit = noise_of(Jitter(scale=1.0), 3)
    assert np.allclose(noise_of(Jitter(scale=0.5), 3), 0.5 * unit)
    assert np.allclose(noise_of(Jitter(scale=(1, 0, 10)), 3), unit * [1, 0, 10])


def test_replay_gives_the_same_bytes_for_any_batch() -> None:
    method = Jitter()
    payload = np.random.default_rng(0).normal(size=(1000, 9)).astype(np.float32)
    transforms = method.sample(KEYS[:125], (9,), 4)
    whole = method.replay(payload, transforms)
    for size in (1, 7, 256):
        parts = [
            method.replay(payload[i : i + size], {n: t[i : i + size] for n, t in transforms.items()})
            for i in range(0, 1000, size)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


def test_a_view_depends_on_its_key_draw_and_seed_alone() -> None:
    every = Jitter().sample(KEYS, (4,), 5)["noise_seed"].reshape(-1, 8)
    assert np.array_equal(
        Jitter(draws=3).sample(KEYS[100:90:-1], (4,), 5)["noise_seed"], every[100:90:-1, :3].ravel()
    )
    assert not np.isin(Jitter().sample(KEYS, (4,), 6)["noise_seed"], every).any()


def test_numbers_have_the_types_of_the_transform_column() -> None:
    for name, values in Jitter().sample(KEYS, (4,), 0).items():
        assert values.dtype == TRANSFORM.field(name).type.to_pandas_dtype()


def test_nan_stays_nan_and_float32_stays_float32() -> None:
    method = Jitter(draws=1)
    payload = np.array([[np.nan, 1.0]], np.float32)
    view = method.replay(payload, method.sample(KEYS[:1], (2,), 0))
    assert view.dtype == np.float32
    assert np.isnan(view[0, 0])
    assert np.isfinite(view[0, 1])


def test_no_rows_give_no_views() -> None:
    transforms = Jitter().sample(KEYS[:0], (3,), 0)
    assert Jitter().replay(np.zeros((0, 3), np.float32), transforms).shape == (0, 3)


def test_a_list_of_another_length_than_the_features_is_refused() -> None:
    method = Jitter(draws=1, scale=(1.0, 2.0))
    with pytest.raises(ValueError, match="2 deviations, rows have 3 features"):
        method.replay(np.zeros((1, 3), np.float32), method.sample(KEYS[:1], (3,), 0))


@pytest.mark.parametrize("scale", [-1.0, (1.0, -1.0), "wide"])
def test_impossible_scales_are_refused(scale: Any) -> None:
    with pytest.raises(ValidationError):
        Jitter(scale=scale)
