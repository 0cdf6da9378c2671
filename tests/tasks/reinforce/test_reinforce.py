"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_reinforce.py"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.tables import TRANSFORM
from tasks.reinforce import NO_PARTNER
from tasks.reinforce.randaugment import OPERATIONS, SIGNED, magnitudes
from tasks.reinforce.reinforce import DatasetReinforcement

KEYS = np.random.default_rng(1).integers(0, 2**64, 400, dtype=np.uint64)
ALL = DatasetReinforcement(flip=True)
PLAIN = DatasetReinforcement(operations=0, erase=0, mixup=0, cutmix=0)
MIXING = ("partner_draw", "own_weight", "paste_top", "paste_left", "paste_height", "paste_width")


def noise(m: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (m, *shape), dtype=np.uint8)


def part(transforms: dict[str, np.ndarray], which: Any) -> dict[str, np.ndarray]:
    return {name: values[which] for name, values in transforms.items()}


def test_numbers_have_the_types_of_the_transform_column() -> None:
    transforms = ALL.sample(KEYS, (16, 20, 3), 0)
    assert set(MIXING) < set(transforms)
    for name, values in transforms.items():
        assert values.shape == (len(KEYS) * ALL.draws,)
        assert values.dtype == TRANSFORM.field(name).type.to_pandas_dtype(), name


def test_what_is_left_out_stores_no_numbers() -> None:
    assert set(PLAIN.sample(KEYS, (8, 8, 1), 0)) == {"top", "left", "height", "width", "flip"}
    assert not PLAIN.mixes
    assert ALL.mixes


def test_operations_are_uniform_and_signs_even() -> None:
    t = ALL.sample(KEYS, (28, 28, 1), 0)
    counts = np.bincount(np.concatenate([t["op_1"], t["op_2"]]), minlength=14)
    assert counts.min() > 0.8 * 6400 / 14
    assert counts.max() < 1.2 * 6400 / 14
    signed = SIGNED[t["op_1"]]
    assert (t["magnitude_1"][signed] < 0).mean() == pytest.approx(0.5, abs=0.04)
    assert (t["magnitude_1"][~signed] >= 0).all()
    levels = magnitudes(9, 28, 28)
    assert np.array_equal(np.abs(t["magnitude_2"]), levels[t["op_2"]])


def test_chances_are_those_of_the_paper() -> None:
    t = ALL.sample(KEYS, (32, 32, 1), 0)
    assert (t["erase_height"] > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (t["own_weight"] < 32767).mean() == pytest.approx(0.5, abs=0.03)
    assert (t["partner_draw"] >= 0).mean() == pytest.approx(0.75, abs=0.03)
    assert t["own_weight"].min() >= 16384
    erased = t["erase_height"] > 0
    area = (t["erase_height"].astype(int) * t["erase_width"])[erased] / 32**2
    assert area.min() > 0.015
    assert area.max() < 0.34


def test_the_partners_view_is_its_draw_of_the_same_number() -> None:
    t = ALL.sample(KEYS[:50], (8, 8, 1), 0)
    own_draw = np.tile(np.arange(ALL.draws), 50)
    mixed = t["partner_draw"] != NO_PARTNER
    assert np.array_equal(t["partner_draw"][mixed], own_draw[mixed])


def test_erasing_makes_its_box_black_after_randaugment() -> None:
    method = DatasetReinforcement(operations=1, erase=1.0, mixup=0, cutmix=0, scale=(1.0, 1.0))
    t = part(method.sample(KEYS[:1], (6, 6, 1), 0), slice(0, 1))
    invert = OPERATIONS.index("solarize")  # of black makes white: erased afterwards, so it stays black
    t |= {"op_1": np.array([invert], np.int16), "magnitude_1": np.zeros(1, np.float32)}
    sides = {"top": 1, "left": 2, "height": 3, "width": 2}
    t |= {f"erase_{name}": np.array([value], np.int16) for name, value in sides.items()}
    view = method.replay(np.zeros((1, 6, 6, 1), np.uint8), t)[0, :, :, 0]
    expected = np.full((6, 6), 255)
    expected[1:4, 2:4] = 0
    assert view.tolist() == expected.tolist()


def test_mixup_comes_before_cutmix_and_both_take_the_same_partner() -> None:
    t = {"own_weight": np.array([16384], np.int16), "partner_draw": np.zeros(1, np.int16)}
    t |= {
        f"paste_{n}": np.array([v], np.int16)
        for n, v in {"top": 0, "left": 0, "height": 1, "width": 1}.items()
    }
    own, other = np.zeros((1, 1, 2, 1), np.uint8), np.full((1, 1, 2, 1), 200, np.uint8)
    assert ALL.mix(own, other, t).ravel().tolist() == [200, 100]


def test_a_view_depends_on_its_key_draw_and_seed_alone() -> None:
    every = ALL.sample(KEYS, (28, 28, 3), 5)
    order = np.random.default_rng(2).permutation(len(KEYS))[:37]
    some = ALL.sample(KEYS[order], (28, 28, 3), 5)
    more = ALL.model_copy(update={"draws": 12}).sample(KEYS, (28, 28, 3), 5)
    for name, values in every.items():
        assert np.array_equal(values.reshape(len(KEYS), -1)[order].ravel(), some[name]), name
        assert np.array_equal(more[name].reshape(-1, 12)[:, :8].ravel(), values), name


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 90), channels=st.sampled_from([1, 3]), seed=st.integers(0, 2**62))
def test_replay_and_mix_give_the_same_bytes_for_any_batch(size: int, channels: int, seed: int) -> None:
    payload = np.repeat(noise(10, (12, 9, channels)), ALL.draws, axis=0)
    transforms = ALL.sample(KEYS[:10], (12, 9, channels), seed)
    whole = ALL.replay(payload, transforms)
    mixed = ALL.mix(whole, whole[::-1], transforms)
    for start in range(0, len(payload), size):
        batch = slice(start, start + size)
        views = ALL.replay(payload[batch], part(transforms, batch))
        assert np.array_equal(views, whole[batch])
        assert np.array_equal(ALL.mix(views, whole[::-1][batch], part(transforms, batch)), mixed[batch])


def test_the_bytes_of_a_stored_view_never_change() -> None:
    """Views stored last year must be redrawn as they were: whoever changes this raises `revision`."""
    n = np.arange(56)
    transforms = {
        "top": n % 7,
        "left": n % 5,
        "height": 13 + n % 11,
        "width": 11 + n % 17,
        "flip": n % 3 == 0,
        "op_1": n % 14,
        "magnitude_1": magnitudes(9, 30, 28)[n % 14],
        "op_2": (n // 14 * 5) % 14,
        "magnitude_2": magnitudes(21, 30, 28)[(n // 14 * 5) % 14],
        "erase_top": n % 9,
        "erase_left": n % 11,
        "erase_height": n % 4,
        "erase_width": n % 5,
        "own_weight": 16384 + n * 200,
        "paste_top": n % 8,
        "paste_left": n % 6,
        "paste_height": n % 3 * 5,
        "paste_width": n % 7,
    }
    pixels = (np.arange(56 * 30 * 28 * 3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
    views = ALL.replay(pixels.astype(np.uint8).reshape(56, 30, 28, 3), transforms)
    views = ALL.mix(views, views[::-1], transforms)
    assert hashlib.sha256(views.tobytes()).hexdigest()[:16] == "808886d5ad9c1e61"


def test_no_rows_give_no_views() -> None:
    transforms = ALL.sample(KEYS[:0], (8, 8, 1), 0)
    assert ALL.replay(np.zeros((0, 8, 8, 1), np.uint8), transforms).shape == (0, 8, 8, 1)


@pytest.mark.parametrize("wrong", [{"operations": 3}, {"magnitude": 31}, {"erase": 1.1}, {"mixup": -0.1}])
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetReinforcement(**wrong)
