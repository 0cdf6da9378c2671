"""That each planted defect is one and no more. Run: python -m pytest tests/benchmarks/test_defects.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks._defects import EXPORTS, FILES, NIGHTS, Night, digits, month, save_model
from benchmarks.defects import caught_by

NAMES = [f"2026-11-{day:02d}" for day in range(1, 9)]


@pytest.fixture(scope="module")
def nights() -> list[Night]:
    return month(NAMES, 1)


def rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(0))


def columns(night: Night) -> dict[str, np.ndarray]:
    return {name: getattr(night, name) for name in night.__dataclass_fields__}


def test_there_are_twenty() -> None:
    assert len(NIGHTS) + len(EXPORTS) + len(FILES) == 20


def test_a_month_is_the_same_for_a_seed_and_no_two_rows_of_it_are_equal(nights: list[Night]) -> None:
    again = month(NAMES, 1)
    assert all((a.features == b.features).all() for a, b in zip(nights, again, strict=True))
    assert (month(NAMES, 2)[0].label[:50] != nights[0].label[:50]).any()
    features = np.concatenate([night.features for night in nights])
    assert len(np.unique(features, axis=0)) == len(features)


@pytest.mark.parametrize("defect", NIGHTS)
def test_a_defect_changes_the_last_night_and_no_other(defect: str, nights: list[Night]) -> None:
    before = [columns(night) for night in nights]
    broken = columns(NIGHTS[defect](nights, rng()))
    assert any(
        len(broken[name]) != len(before[-1][name]) or (broken[name] != before[-1][name]).any()
        for name in broken
    )
    for night, kept in zip(nights, before, strict=True):
        assert all((getattr(night, name) == values).all() for name, values in kept.items())


def test_some_by_hand(nights: list[Night]) -> None:
    last = nights[-1]
    assert (digits(NIGHTS["label map shifted by one"](nights, rng())) == (digits(last) + 1) % 10).all()
    usual = np.mean([(night.label == "3").sum() for night in nights[:-1]])
    assert (NIGHTS["a class that trebled"](nights, rng()).label == "3").sum() == round(3 * usual)
    assert set(NIGHTS["half of the classes missing"](nights, rng()).label) == set("01234")
    leaked = NIGHTS["held-out rows leaked into training"](nights, rng())
    tests = np.concatenate([night.features[night.split == "test"] for night in nights[:-1]])
    training = leaked.features[leaked.split == "train"]
    assert (training[:, None] == tests[None]).all(axis=2).any(axis=1).sum() == 20


def test_an_export_has_each_id_once_and_its_defects_are_in_the_last_night(
    nights: list[Night], tmp_path: Path
) -> None:
    save_model([*nights, nights[-1]], tmp_path / "model.parquet")
    table = pq.read_table(tmp_path / "model.parquet")
    assert len(set(table["id"].to_pylist())) == table.num_rows == sum(map(len, nights))
    short = EXPORTS["probabilities that sum to 0.9"](nights[-1], rng()).model.sum(axis=1)
    assert short == pytest.approx(0.9, abs=1e-5)
    foreign = EXPORTS["teacher file of another data set"](nights[-1], rng()).model
    assert foreign.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (foreign.argmax(axis=1) == nights[-1].model.argmax(axis=1)).mean() < 0.3


def test_what_caught_a_defect_is_told_by_the_gates_or_the_refusal() -> None:
    why = (
        "release 30 of 2026-11-30 is held: rows is 5, must be z within 6 (is -9); rows is 5, must be at "
        "least 9; class_shift is 0.7, must be at most 0.5; look at it with `winnow sql … --release 30`"
    )
    assert caught_by(why) == "rows, class_shift"
    assert caught_by("/tmp/abc/model.parquet: broken") == "refused: model.parquet: broken"
