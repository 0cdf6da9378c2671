"""The digits of scikit-learn. Run: python -m pytest tests/tasks/ingest/test_sklearn_digits.py"""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from tasks.ingest import RAW, BadSource
from tasks.ingest.sklearn_digits import DigitFacts, Digits, SklearnDigits


def read(source: Digits) -> list[pa.Table]:
    return [pa.Table.from_batches(source.read(p), schema=RAW) for p in source.partitions()]


def test_every_digit_is_dealt_once_over_consecutive_dates() -> None:
    source = SklearnDigits(days=14, start=datetime.date(2025, 12, 30))
    days = read(source)
    assert source.partitions()[:3] == ["2025-12-30", "2025-12-31", "2026-01-01"]
    assert {len(day) for day in days} == {128, 129}
    assert sorted(key for day in days for key in day["id"].to_pylist()) == [f"{i:04}" for i in range(1797)]
    assert all(day["position"].to_pylist() == list(range(len(day))) for day in days)
    assert all(len(set(day["label"].to_pylist())) == 10 for day in days)


def test_pixels_are_scaled_to_a_byte() -> None:
    (day,) = read(SklearnDigits(days=1))
    images, labels = load_digits(return_X_y=True)
    order = np.array(day["id"].to_pylist()).astype(int)
    pixels = np.frombuffer(b"".join(day["image"].to_pylist()), np.uint8).reshape(1797, 64)
    assert pixels.max() == 255
    assert (np.rint(pixels / 255 * 16) == images[order]).all()
    assert day["label"].to_pylist() == labels[order].astype(str).tolist()


def test_noise_is_exact_and_truth_is_kept() -> None:
    clean, noisy = read(SklearnDigits())[0], read(SklearnDigits(planted_noise=0.08))
    rows = pa.concat_tables(noisy)
    label, truth = np.array(rows["label"].to_pylist()), np.array(rows["truth"].to_pylist())
    assert (label != truth).sum() == round(0.08 * 1797)
    assert noisy[0]["truth"].equals(clean["label"])
    assert set(label) == set(SklearnDigits().classes)


def test_more_noise_keeps_the_rows_that_were_wrong_before() -> None:
    (few,), (many,) = (read(SklearnDigits(days=1, planted_noise=share)) for share in (0.05, 0.3))
    was = np.array(few["label"].to_pylist()) != np.array(few["truth"].to_pylist())
    assert (
        np.array(many["label"].to_pylist())[was].tolist() == np.array(few["label"].to_pylist())[was].tolist()
    )


def test_the_days_change_no_label() -> None:
    one, seven = (pa.concat_tables(read(SklearnDigits(days=days, planted_noise=0.2))) for days in (1, 7))
    assert one.drop_columns("position").equals(seven.drop_columns("position"))


def test_fingerprints_differ_by_day_and_stay() -> None:
    source = SklearnDigits(days=3)
    prints = [source.fingerprint(p) for p in source.partitions()]
    assert len(set(prints)) == 3
    assert prints == [SklearnDigits(days=3).fingerprint(p) for p in source.partitions()]


def test_no_such_day_says_which_there_are() -> None:
    with pytest.raises(BadSource, match="no partition 2026-01-03; it has 2026-01-01 to 2026-01-02"):
        list(SklearnDigits().read("2026-01-03"))


def test_impossible_fields_are_refused() -> None:
    for fields in ({"days": 0}, {"planted_noise": 1.0}, {"planted_noise": -0.1}):
        with pytest.raises(ValidationError):
            SklearnDigits(**fields)  # type: ignore[arg-type]


def test_of_every_digit_three_facts_are_asked() -> None:
    (day,) = read(DigitFacts(days=1))
    (digits,) = read(SklearnDigits(days=1))
    assert day["id"].equals(digits["id"])
    assert day["image"].equals(digits["image"])
    assert day["labels"].equals(day["truths"])
    said = dict(zip(digits["label"].to_pylist(), day["labels"].to_pylist(), strict=True))
    assert said["0"] == ["even", "loop"]
    assert said["8"] == ["even", "above_four", "loop"]
    assert said["1"] == said["3"] == []
    assert DigitFacts().task == "multi_label"


def test_planted_noise_turns_that_share_of_the_answers_round_and_keeps_the_truth() -> None:
    (day,) = read(DigitFacts(days=1, planted_noise=0.05))
    pairs = zip(day["labels"].to_pylist(), day["truths"].to_pylist(), strict=True)
    assert sum(len(set(given) ^ set(true)) for given, true in pairs) == round(0.05 * 3 * 1797)
