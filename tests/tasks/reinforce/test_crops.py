"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_crops.py"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.tables import TRANSFORM
from tasks.reinforce.crops import Crops

KEYS = np.random.default_rng(1).integers(0, 2**64, 500, dtype=np.uint64)
COLOURFUL = Crops(flip=True, saturation=0.3)


def noise(m: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (m, *shape), dtype=np.uint8)


def views(m: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`m` rows, repeated once a draw, and their transforms."""
    transforms = COLOURFUL.sample(KEYS[:m], shape, seed=3)
    return np.repeat(noise(m, shape), COLOURFUL.draws, axis=0), transforms


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 64),
    w=st.integers(1, 64),
    low=st.floats(0.05, 1),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_box_lies_inside_its_image(h: int, w: int, low: float, seed: int) -> None:
    t = Crops(scale=(low, 1.0)).sample(KEYS[:50], (h, w, 1), seed)
    assert (t["top"] >= 0).all()
    assert (t["left"] >= 0).all()
    assert (t["height"] >= 1).all()
    assert (t["width"] >= 1).all()
    assert (t["top"] + t["height"] <= h).all()
    assert (t["left"] + t["width"] <= w).all()


def test_numbers_have_the_types_of_the_transform_column() -> None:
    transforms = COLOURFUL.sample(KEYS, (16, 16, 3), 0)
    for name, values in transforms.items():
        assert values.shape == (len(KEYS) * COLOURFUL.draws,)
        assert values.dtype == TRANSFORM.field(name).type.to_pandas_dtype()


def test_area_and_aspect_follow_their_ranges() -> None:
    t = Crops(draws=20, scale=(0.5, 1.0)).sample(KEYS, (200, 200, 1), 7)
    area = t["height"].astype(float) * t["width"] / 200**2
    aspect = t["width"] / t["height"].astype(float)
    assert 0.49 < area.min() < 0.51
    assert area.mean() == pytest.approx(0.75, abs=0.01)  # uniform: no box was rejected
    assert 0.74 < aspect.min() < 0.76
    assert 1.32 < aspect.max() < 1.35
    assert np.log(aspect).mean() == pytest.approx(0, abs=0.01)


def test_a_view_depends_on_its_key_draw_and_seed_alone() -> None:
    every = COLOURFUL.sample(KEYS, (28, 28, 3), 5)
    order = np.random.default_rng(2).permutation(len(KEYS))[:37]
    some = COLOURFUL.sample(KEYS[order], (28, 28, 3), 5)
    for name, values in every.items():
        assert np.array_equal(values.reshape(len(KEYS), -1)[order].ravel(), some[name])
    more = COLOURFUL.model_copy(update={"draws": 12}).sample(KEYS, (28, 28, 3), 5)
    assert np.array_equal(more["left"].reshape(-1, 12)[:, :8].ravel(), every["left"])
    assert not np.array_equal(COLOURFUL.sample(KEYS, (28, 28, 3), 6)["left"], every["left"])


def test_no_two_parameters_share_their_numbers() -> None:
    t = Crops(draws=1, flip=True, brightness=0.2, contrast=0.2).sample(KEYS, (28, 28, 1), 0)
    numbers = np.stack([t["brightness"], t["contrast"], t["flip"], t["height"] * t["width"]]).astype(float)
    between = np.corrcoef(numbers)[~np.eye(4, dtype=bool)]
    assert np.abs(between).max() < 0.15


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 20, 3)])
def test_replay_gives_the_same_bytes_for_any_batch(shape: tuple[int, int, int]) -> None:
    payload, transforms = views(75, shape)
    whole = COLOURFUL.replay(payload, transforms)
    for size in (1, 7, 256):
        parts = [
            COLOURFUL.replay(payload[i : i + size], {n: t[i : i + size] for n, t in transforms.items()})
            for i in range(0, len(payload), size)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


def test_stored_numbers_redraw_the_same_views() -> None:
    import pyarrow as pa

    payload, transforms = views(20, (12, 12, 3))
    columns = {name: pa.array(values, TRANSFORM.field(name).type) for name, values in transforms.items()}
    stored = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    loaded = {n: stored.field(n).to_numpy(zero_copy_only=False) for n in columns}
    assert np.array_equal(COLOURFUL.replay(payload, loaded), COLOURFUL.replay(payload, transforms))


def test_the_bytes_of_a_stored_view_never_change() -> None:
    """Views stored last year must be redrawn as they were: whoever changes this raises `revision`."""
    n = np.arange(40)
    transforms = {
        "top": n % 7,
        "left": n % 5,
        "height": 13 + n % 11,
        "width": 11 + n % 17,
        "flip": n % 3 == 0,
        "brightness": (0.8 + n / 100).astype(np.float32),
        "contrast": (1.2 - n / 100).astype(np.float32),
        "saturation": (0.9 + n / 200).astype(np.float32),
    }
    pixels = (np.arange(40 * 30 * 28 * 3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
    views = Crops().replay(pixels.astype(np.uint8).reshape(40, 30, 28, 3), transforms)
    assert hashlib.sha256(views.tobytes()).hexdigest()[:16] == "98269af495471f29"


def test_flip_mirrors_and_full_crops_with_factor_one_change_nothing() -> None:
    images = noise(2, (5, 6, 1))
    neutral: dict[str, np.ndarray] = {
        "top": np.zeros(2, np.int16),
        "left": np.zeros(2, np.int16),
        "height": np.full(2, 5, np.int16),
        "width": np.full(2, 6, np.int16),
        "flip": np.array([False, True]),
        "brightness": np.ones(2, np.float32),
        "contrast": np.ones(2, np.float32),
    }
    redrawn = Crops().replay(images, neutral)
    assert np.array_equal(redrawn[0], images[0])
    assert np.array_equal(redrawn[1], images[1, :, ::-1])


def test_flip_is_off_unless_asked_for_and_then_mirrors_half() -> None:
    assert not Crops().sample(KEYS, (8, 8, 1), 0)["flip"].any()
    assert Crops(flip=True).sample(KEYS, (8, 8, 1), 0)["flip"].mean() == pytest.approx(0.5, abs=0.03)


def test_grey_images_store_no_saturation() -> None:
    assert "saturation" not in COLOURFUL.sample(KEYS, (8, 8, 1), 0)
    assert "saturation" in COLOURFUL.sample(KEYS, (8, 8, 3), 0)


def test_no_rows_give_no_views() -> None:
    transforms = Crops().sample(KEYS[:0], (8, 8, 1), 0)
    assert Crops().replay(np.zeros((0, 8, 8, 1), np.uint8), transforms).shape == (0, 8, 8, 1)


def test_images_of_four_channels_are_refused() -> None:
    transforms = Crops().sample(KEYS[:1], (8, 8, 4), 0)
    with pytest.raises(ValueError, match="1 or 3 channels, not 4"):
        Crops(draws=8).replay(np.zeros((8, 8, 8, 4), np.uint8), transforms)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.9, 0.5)}, {"scale": (0.0, 1.0)}, {"ratio": (2, 1)}, {"draws": 0}, {"zoom": 2}]
)
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Crops(**wrong)


@pytest.mark.slow
def test_one_thread_redraws_20000_small_views_a_second() -> None:
    method = Crops()
    payload = np.repeat(noise(500, (28, 28, 1)), 8, axis=0)
    transforms = method.sample(KEYS, (28, 28, 1), 0)

    def seconds() -> float:
        start = time.process_time()
        method.replay(payload, transforms)
        return time.process_time() - start

    assert len(payload) / min(seconds() for _ in range(5)) > 20_000
