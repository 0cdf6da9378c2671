"""A night against earlier ones. Run: python -m pytest tests/tasks/report/test_comparison.py"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tasks.report.comparison import (
    FEWEST,
    MEANINGS,
    SAMPLE,
    Sample,
    Side,
    figures,
    later_copies,
    leaked,
    missing_partitions,
    nearly_leaked,
    sampled,
    swap,
)

PICTURES, DIGITS = load_digits(return_X_y=True)
RNG = np.random.Generator(np.random.PCG64(0))
ORDER = RNG.permutation(len(DIGITS))
NIGHT, EARLIER = ORDER[:200], ORDER[200:1000]


def side(rows: np.ndarray, labels: np.ndarray | None = None, vectors: np.ndarray | None = None) -> Side:
    given = (DIGITS[rows] if labels is None else labels).astype(np.int32)
    x = (PICTURES[rows] if vectors is None else vectors).astype(np.float32)
    keys = rows.astype(np.uint64)
    trains = keys % 10 != 0
    chosen = sampled(keys)
    return Side(keys, given, trains, Sample(given[chosen], trains[chosen], x[chosen]))


def measured(night: Side, earlier: Side | None = None) -> dict[str, float]:
    found = figures(night, earlier or side(EARLIER), 10, 0, "cpu")
    assert len({f.name for f in found}) == len(found)
    assert {f.name for f in found} <= MEANINGS.keys()
    assert all(np.isfinite(f.value) for f in found)
    return {f.name: f.value for f in found}


def test_a_night_like_those_before_it_differs_in_nothing_that_a_gate_bounds() -> None:
    found = measured(side(NIGHT))
    assert found["label_agreement"] > 0.85
    limits = (
        "share_repeated",
        "share_leaked",
        "class_shift",
        "class_jump",
        "new_classes",
        "embedding_drift",
        "label_shift",
    )
    assert {name: found[name] for name in limits} == dict.fromkeys(limits, 0)
    assert found["label_swap"] < 0.1


def test_labels_that_all_moved_by_one_are_seen_although_they_agree_with_themselves() -> None:
    found = measured(side(NIGHT, (DIGITS[NIGHT] + 1) % 10))
    assert found["label_shift"] > 0.6
    assert found["label_swap"] > 0.5
    assert found["class_shift"] == found["embedding_drift"] == 0


def test_two_classes_swapped_are_seen_in_the_one_pair() -> None:
    swapped = np.arange(10)
    swapped[[3, 8]] = [8, 3]
    assert measured(side(NIGHT, swapped[DIGITS[NIGHT]]))["label_swap"] > 0.4


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: x[:, ::-1]])
def test_pictures_of_another_kind_have_drifted(change: object) -> None:
    assert callable(change)
    assert measured(side(NIGHT, vectors=change(PICTURES[NIGHT])))["embedding_drift"] > 0.3


def test_a_night_that_came_before_repeats_it() -> None:
    assert measured(side(EARLIER[:200]))["share_repeated"] == 1
    assert measured(side(np.repeat(NIGHT[:50], 4)))["share_repeated"] == 0.75


def test_copies_are_those_after_the_first() -> None:
    assert later_copies(np.array([5, 3, 5, 5], np.uint64)).tolist() == [False, False, True, True]


def small(keys: list[int], trains: list[bool], vectors: list[float]) -> Side:
    x = np.array(vectors, np.float32)[:, None]
    on = np.array(trains)
    return Side(
        np.array(keys, np.uint64), np.zeros(len(keys), np.int32), on, Sample(np.zeros(len(keys)), on, x)
    )


def test_a_leak_is_a_content_on_both_sides_of_the_split_on_whichever_night() -> None:
    earlier = small([1, 2], [True, False], [1, 2])
    night = small([1, 2, 3, 4, 4], [False, True, True, True, False], [100, 200, 300, 400, 500])
    assert leaked(night, earlier) == 0.8
    assert leaked(small([1, 2], [True, False], [100, 200]), earlier) == 0


def test_a_leak_that_was_stored_anew_is_seen_by_its_vector() -> None:
    earlier = small([1, 2], [True, False], [1, 2])
    assert nearly_leaked(small([8, 9], [True, True], [2.001, 50]).sample, earlier.sample) == 0.5
    assert nearly_leaked(small([8, 9], [False, True], [2.001, 50]).sample, earlier.sample) == 0
    assert leaked(small([8, 9], [True, True], [2.001, 50]), earlier) == 0.5


def test_rows_without_vectors_are_compared_by_label_and_content() -> None:
    night, earlier = side(NIGHT), side(EARLIER)
    night = Side(night.keys, night.labels, night.trains, Sample(night.labels, night.trains, None))
    names = {"share_repeated", "share_leaked", "class_shift", "class_jump", "new_classes"}
    assert measured(night, earlier).keys() == names


def test_too_few_rows_or_labels_are_not_judged() -> None:
    few = side(NIGHT[: FEWEST - 1])
    assert "embedding_drift" not in measured(few)
    assert "label_shift" not in measured(side(NIGHT, np.full(200, -1)))
    assert figures(side(NIGHT[:0]), side(EARLIER), 10, 0, "cpu") == []


def test_a_sample_depends_on_contents_alone_and_is_bounded() -> None:
    keys = np.arange(10_000, dtype=np.uint64)
    chosen = sampled(keys)
    assert len(chosen) == SAMPLE
    order = RNG.permutation(len(keys))
    assert (keys[order][sampled(keys[order])] == keys[chosen]).all()


def test_a_swap_is_judged_by_rows_enough() -> None:
    given = np.repeat([0, 1], [3, 40])
    said = np.where(np.arange(43) < 23, 1, 0)
    assert swap(given, said, 2) == pytest.approx(0.2567, abs=0.01)
    assert swap(given[:3], said[:3], 2) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("earlier", "partition", "missing"),
    [
        (["2026-11-01", "2026-11-02", "2026-11-03"], "2026-11-04", 0),
        (["2026-11-01", "2026-11-02", "2026-11-03"], "2026-11-06", 2),
        (["2026-11-01", "2026-11-08", "2026-11-15"], "2026-11-22", 0),
        (["2026-11-01", "2026-11-08", "2026-11-15"], "2026-11-29", 1),
    ],
)
def test_missing_dates_are_counted_at_the_usual_step(
    earlier: list[str], partition: str, missing: int
) -> None:
    assert [f.value for f in missing_partitions(partition, earlier)] == [missing]


def test_names_that_are_no_dates_or_show_no_step_have_no_gap() -> None:
    assert missing_partitions("b", ["a"]) == missing_partitions("2026-11-02", ["2026-11-01"]) == []
