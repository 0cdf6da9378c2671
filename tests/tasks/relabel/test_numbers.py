"""Numbers are kept, reviewed or dropped, and never fixed. Run: pytest tests/tasks/relabel/test_numbers.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.data import ACTIONS, Decisions, Evidence, State
from tasks.given import labels_of
from tasks.relabel.threshold import Threshold

NAN = np.nan


def evidence(given: list[float], score: list[float], flagged: list[bool]) -> Evidence:
    n, numbers = len(given), np.array(given, dtype=np.float64)
    return Evidence(
        ids=np.array([f"row{i}" for i in range(n)], dtype=object),
        given=labels_of(numbers),
        pred_probs=np.zeros((n, 0), np.float32),
        is_issue=np.array(flagged, dtype=bool),
        p_error=np.zeros(n, np.float32),
        suggested=np.full(n, -1, np.int32),
        before=numbers,
        values=np.full(n, 151.25),
        score=np.array(score, dtype=np.float32),
    )


def decide(shard: Evidence, **fields: Any) -> tuple[Decisions, State]:
    policy = Threshold(**fields)
    state = policy.fit([shard])
    return policy.apply(shard, state, ()), state


def actions(decisions: Decisions) -> list[str]:
    return [ACTIONS[action] for action in decisions.action]


FOUR = evidence([150.0, 900.0, 20.0, NAN], [0.9, 0.001, 0.04, 1.0], [False, True, True, False])


def test_what_is_flagged_is_for_people_to_decide() -> None:
    found, _ = decide(FOUR)
    assert actions(found) == ["keep", "review", "review", "review"]
    assert found.after is not None
    np.testing.assert_array_equal(found.after, [150.0, 900.0, 20.0, NAN])
    assert found.confidence.tolist() == pytest.approx([0.9, 0.001, 0.04, 0.0])
    assert found.decided_by.tolist() == ["threshold"] * 4


def test_what_is_hopeless_loses_its_number() -> None:
    found, _ = decide(FOUR, drop_below=0.01, max_fixed=0.5)
    assert actions(found) == ["keep", "drop", "review", "review"]
    assert found.after is not None
    np.testing.assert_array_equal(found.after, [150.0, NAN, 20.0, NAN])
    assert found.label.tolist() == [0, -1, 0, -1]


def test_a_number_that_nobody_flags_is_kept_whatever_its_score() -> None:
    found, _ = decide(evidence([1.0], [0.0], [False]), drop_below=0.5)
    assert actions(found) == ["keep"]


def test_a_score_at_the_threshold_is_not_below_it() -> None:
    found, _ = decide(evidence([1.0], [0.05], [True]), drop_below=0.05)
    assert actions(found) == ["review"]


def test_a_run_that_would_drop_too_many_drops_none() -> None:
    found, state = decide(FOUR, drop_below=0.01, max_fixed=0.33)
    assert actions(found) == ["keep", "review", "review", "review"]
    assert state.info["notes"] == [
        "1 of the partition's 3 labels would be fixed or dropped, more than max_fixed 0.33: "
        "none was changed, all are queued for review"
    ]
    assert found.reason[1].endswith(
        "more numbers would be dropped than max_fixed 0.33 of the partition allows"
    )


def test_reasons_are_sentences() -> None:
    found, _ = decide(FOUR, drop_below=0.01, max_fixed=0.5)
    assert found.reason.tolist() == [
        "teachers predict 151.25 and 150 was given, and no detector flags it",
        "teachers predict 151.25 and 900 was given, and a detector scores it below drop_below 0.01",
        "teachers predict 151.25 and 20 was given, and a detector flags it",
        "no number was given and teachers predict 151.25",
    ]


def test_no_rows_are_no_decisions() -> None:
    found, state = decide(evidence([], [], []))
    assert len(found) == 0
    assert state.info == {"capped": False, "notes": []}


def test_a_policy_is_known_by_what_it_was_unless_it_drops_numbers() -> None:
    assert "drop_below" not in Threshold().identity()
    assert Threshold(drop_below=0.1).identity()["drop_below"] == 0.1


@pytest.mark.parametrize("field", ["fix_at", "review_at", "drop_at", "max_fixed_per_class"])
def test_what_is_about_classes_is_refused(field: str) -> None:
    from tests.tasks.test_impossible import curation

    rows = {"teach": {"teachers": [{"kind": "linear"}]}, "detect": [{"kind": "outre"}]}
    rows |= {"ingest": {"encoder": {"kind": "features"}}}
    value = {"fix_at": 1.0, "drop_at": 0.1}.get(field, 0.9)
    with pytest.raises(ValidationError, match=f"relabel.{field}: a number is kept, reviewed or dropped"):
        curation("regression", **rows, relabel={"kind": "threshold", field: value})
    assert curation("regression", **rows, relabel={"kind": "threshold", "drop_below": 0.1}).relabel
    with pytest.raises(ValidationError, match="drop_below is for regression, and the task is single_label"):
        curation("single_label", relabel={"kind": "threshold", "drop_below": 0.1})
