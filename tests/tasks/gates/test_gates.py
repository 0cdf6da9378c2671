"""What passes a gate. Run: python -m pytest tests/tasks/gates/test_gates.py"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config import Gate
from tasks.gates import Evidence, Figures, Measured, Outcome, judge
from tasks.report.comparison import COMPARED

TODAY = date(2026, 11, 30)


def share(**values: float) -> Figures:
    return {name: Measured(value, "share") for name, value in values.items()}


def judged(figures: Figures, *history: Figures, last: Figures | None = None, **gate: Any) -> Outcome:
    [found] = judge([Gate(**gate)], Evidence(figures, history, last), TODAY)
    return found


@pytest.mark.parametrize(("value", "passed"), [(0.5, True), (0.49, False)])
def test_at_least_a_number(value: float, passed: bool) -> None:
    assert judged(share(a=value), metric="a", at_least=0.5) == Outcome("a", value, "at least 0.5", passed)


@pytest.mark.parametrize(("value", "passed"), [(0.0, True), (1e-9, False)])
def test_at_most_nothing_means_nothing(value: float, passed: bool) -> None:
    assert judged(share(a=value), metric="a", at_most=0).passed is passed


@pytest.mark.parametrize(("value", "passed"), [(1e-9, True), (0.0, False), (-1.0, False)])
def test_above_nothing_is_more_than_nothing(value: float, passed: bool) -> None:
    assert judged(share(a=value), metric="a", above=0) == Outcome("a", value, "above 0", passed)


def test_the_outcome_says_which_table_a_failure_keeps() -> None:
    assert judged(share(a=0.0), metric="a", above=0, keeps="distilled").keeps == "distilled"


def test_a_bound_may_be_another_metric() -> None:
    found = judged(share(curated=0.9, given=0.91), metric="curated", at_least="given")
    assert found == Outcome("curated", 0.9, "at least given (0.91)", False)


def test_what_was_not_measured_fails_its_gate_on_either_side_of_it() -> None:
    assert judged({}, metric="a", at_most=1) == Outcome("a", None, "at most 1 (not measured)", False)
    assert judged(share(a=1), metric="a", at_most="b") == Outcome("a", 1, "at most b (not measured)", False)


@pytest.mark.parametrize("metric", sorted(COMPARED))
def test_what_compares_with_earlier_nights_passes_while_there_is_nothing_to_compare_with(metric: str) -> None:
    found = judged({}, metric=metric, at_most=0.1)
    assert found == Outcome(metric, None, "at most 0.1 (not judged: nothing to compare with)", True)


@pytest.mark.parametrize(
    ("bound", "value", "passed"),
    [
        ({"at_most_below_last": 0.02}, 0.885, True),
        ({"at_most_below_last": 0.02}, 0.875, False),
        ({"at_most_below_last": 0.02}, 0.99, True),
        ({"at_most_above_last": 0.02}, 0.915, True),
        ({"at_most_above_last": 0.02}, 0.925, False),
        ({"at_most_above_last": 0}, 0.9, True),
    ],
)
def test_a_change_since_the_last_release(bound: dict[str, float], value: float, passed: bool) -> None:
    assert judged(share(a=value), last=share(a=0.9), metric="a", **bound).passed is passed


def test_without_a_release_or_without_the_metric_in_it_there_is_no_change_to_judge() -> None:
    for last in (None, share(b=1)):
        found = judged(share(a=0.1), last=last, metric="a", at_most_below_last=0.02)
        assert found.passed
        assert found.bound == "at most 0.02 below the last release (not judged: no release has it)"


HISTORY = [share(a=0.10 + 0.02 * (i % 5 - 2), rows=0) for i in range(20)]
"""Median 0.1, median distance from it 0.02, so a deviation of 0.029652."""


@pytest.mark.parametrize(
    ("bound", "value", "passed"),
    [
        ({"z_at_most": 5}, 0.247, True),
        ({"z_at_most": 5}, 0.249, False),
        ({"z_at_most": 5}, 0.0, True),
        ({"z_at_least": -2}, 0.041, True),
        ({"z_at_least": -2}, 0.040, False),
        ({"z_at_least": -2}, 1.0, True),
        ({"z_within": 2}, 0.159, True),
        ({"z_within": 2}, 0.160, False),
        ({"z_within": 2}, 0.040, False),
    ],
)
def test_a_robust_z_score_by_hand(bound: dict[str, float], value: float, passed: bool) -> None:
    found = judged(share(a=value, rows=1e9), *HISTORY, metric="a", **bound)
    assert found.passed is passed
    assert "usually 0.1 ± 0.02965, 20 partitions" in found.bound


def test_a_short_history_passes_and_says_so() -> None:
    found = judged(share(a=1.0), *HISTORY[:13], metric="a", z_at_most=1)
    assert (found.passed, found.bound) == (True, "z at most 1 (not judged: 13 of 14 earlier partitions)")
    assert not judged(share(a=1.0), *HISTORY[:13], metric="a", z_at_most=1, min_history=13).passed


def test_a_partition_that_lacks_the_metric_is_no_history_of_it() -> None:
    found = judged(share(a=1.0), *HISTORY[:13], share(b=1.0), metric="a", z_at_most=1)
    assert "13 of 14" in found.bound


def test_only_the_newest_partitions_of_a_history_count() -> None:
    history = [*(share(a=0.9) for _ in range(50)), *HISTORY]
    assert not judged(share(a=0.9, rows=1e9), *history, metric="a", z_at_most=5, history=20).passed
    assert judged(share(a=0.9, rows=1e9), *history, metric="a", z_at_most=5, history=70).passed


def test_a_waiver_lets_a_failure_pass_until_its_day_and_is_told() -> None:
    waived = {"until": date(2026, 12, 1), "why": "camera 3 is being replaced"}
    found = judged(share(a=1), metric="a", at_most=0.5, waived=waived)
    assert not found.passed
    assert found.waived == "waived until 2026-12-01: camera 3 is being replaced"
    expired = {**waived, "until": TODAY}
    assert judged(share(a=1), metric="a", at_most=0.5, waived=expired).waived == ""


def test_a_waiver_of_a_gate_that_holds_is_not_told() -> None:
    waived = {"until": "2027-01-01", "why": "just in case"}
    assert judged(share(a=0.1), metric="a", at_most=0.5, waived=waived).waived == ""


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ({"metric": "a"}, "exactly one of at_least, at_most, .* and z_within"),
        ({"metric": "a", "at_least": 0, "at_most": 1}, "exactly one of"),
        ({"metric": "a", "z_at_most": 3, "at_most": 1}, "exactly one of"),
        ({"at_most": 1}, "a gate needs a metric"),
        ({"metric": "a", "at_most": 1, "history": 9}, "history, min_history and floor are for z_"),
        ({"metric": "a", "at_most": 1, "floor": 0.1}, "history, min_history and floor are for z_"),
        ({"metric": "a", "z_at_most": 3, "history": 9}, "min_history is 14, must be at most history, 9"),
        ({"metric": "a", "z_at_most": 0}, "greater than 0"),
        ({"metric": "a", "z_at_least": 1}, "less than 0"),
        ({"kind": "standard", "metric": "a"}, "kind: standard stands alone"),
        ({"metric": "a", "at_most": 1, "waived": {"until": "2026-12-01", "why": ""}}, "at least 1 character"),
        ({"metric": "a", "at_most": 1, "waived": {"why": "for ever"}}, "Field required"),
    ],
)
def test_a_gate_that_means_nothing_is_refused(gate: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Gate(**gate)


def test_a_gate_survives_being_written_out_whole_and_read_again() -> None:
    waived = {"until": "2026-12-01", "why": "known"}
    for gate in (
        Gate(kind="standard"),
        Gate(metric="a", at_most=1, waived=waived),  # type: ignore[arg-type]
        Gate(metric="a", z_within=3, history=30),
    ):
        assert Gate.model_validate_json(gate.model_dump_json()) == gate
