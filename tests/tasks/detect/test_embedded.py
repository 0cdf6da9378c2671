"""What detectors on embeddings share. Run: .venv/bin/python -m pytest tests/tasks/detect/test_embedded.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.store import Store
from tasks.detect import Window
from tasks.detect.embedded import distances, everyone, points_of, sampled, stream, typical_distance, voters
from tests.tasks.detect.embeddings import digits, rows
from tests.tasks.stages.harness import bring_up_to_date, curation


def test_rows_get_length_one_whatever_their_scale_and_zeros_stay() -> None:
    unit = points_of(rows([[3, 4], [3e30, 4e30], [3e-30, 4e-30], [0, 0]], [0] * 4, 1), "a").rows
    np.testing.assert_allclose(unit, [[0.6, 0.8]] * 3 + [[0, 0]], rtol=1e-6)


def test_a_rows_unit_vector_does_not_depend_on_the_others() -> None:
    window, _ = digits(0.0, 500)
    whole = points_of(window, "a").rows
    for part in (np.arange(1), np.arange(3, 200), np.arange(500)[::-1]):
        assert points_of(window.take(part), "a").rows.tobytes() == whole[part].tobytes()


def test_a_sample_is_the_same_rows_however_they_are_dealt_and_a_larger_one_holds_it() -> None:
    window, _ = digits(0.0, 500)
    window.keys[:] = np.random.default_rng(0).integers(0, 2**63, 500, dtype=np.uint64)
    whole = sampled(stream(Window.of(window), "a", everyone), 60)
    parts = (window.take(part) for part in np.array_split(np.arange(500), 9))
    dealt = sampled(stream(Window.of(*parts), "a", everyone), 60)
    assert len(whole) == 60
    assert dealt.groups.tobytes() == whole.groups.tobytes()
    assert dealt.rows.tobytes() == whole.rows.tobytes()
    larger = sampled(stream(Window.of(window), "a", everyone), 90)
    assert set(whole.groups.tolist()) < set(larger.groups.tolist())


def test_voters_are_labelled_rows_of_the_training_split() -> None:
    window = rows(np.eye(4), [0, -1, 1, 1], 2, trains=np.array([True, True, False, True]))
    assert voters(window).tolist() == [True, False, False, True]


def test_the_typical_distance_is_the_median_one_to_the_nearest_row_of_other_content() -> None:
    window = rows([[1, 0], [1, 0], [0.8, 0.6], [0, 1]], [0] * 4, 1, keys=np.array([1, 1, 2, 3]))
    assert typical_distance(Window.of(window), "a") == pytest.approx(0.2, abs=1e-7)
    assert typical_distance(Window.of(window.take(np.arange(2))), "a") == 0
    assert typical_distance(Window.of(window.take(np.arange(0))), "a") == 0


def test_what_was_not_found_is_infinitely_far() -> None:
    found = distances(np.array([1.0000001, 0.25, -1, -np.inf], np.float32))
    np.testing.assert_allclose(found, [0, 0.75, 2, np.inf])


@pytest.mark.parametrize("rule", ["vote", "rank"])
def test_all_four_detectors_run_as_a_stage_over_two_nights(tmp_path: Path, rule: str) -> None:
    nights = {"2026-01-01": list("abcd" * 10), "2026-01-02": list("abcd" * 8)}
    kinds = ["neighbours", "outliers", "near_duplicates", "leak"]
    detect = [{"kind": kind} for kind in kinds]
    made = curation(tmp_path, nights, detect=[{**detect[0], "rule": rule}, *detect[1:]])
    bring_up_to_date(made, nights, ("ingest", "teach", "detect"))
    store = Store(made.store, made.dataset)
    issues = store.read(store.refs("issues"))
    assert issues.num_rows == 4 * 72
    assert set(issues["detector"].to_pylist()) == set(kinds)
    assert issues["p_error"].null_count == issues.num_rows
