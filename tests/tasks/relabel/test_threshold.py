"""The threshold policy, rule by rule and at its boundaries: pytest tests/tasks/relabel/test_threshold.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.data import ACTIONS, Decisions, Evidence
from tasks.relabel.threshold import Threshold

NAMES = ("shirt", "coat", "bag")
cases = settings(deadline=None, max_examples=60)


def evidence(
    given: list[int], pred_probs: list[list[float]], flagged: list[int], suggested: list[int] | None = None
) -> Evidence:
    """Rows row0, row1, …; the suggestion is the likeliest class other than the given one by default."""
    probs, labels = np.array(pred_probs, np.float32).reshape(len(given), -1), np.array(given, np.int32)
    others = probs.copy()
    others[np.arange(len(given)), np.maximum(labels, 0)] -= (labels >= 0).astype(np.float32) * 2
    to = others.argmax(axis=1) if suggested is None and len(given) else np.array(suggested or [])
    return Evidence(
        np.array([f"row{i}" for i in range(len(given))], dtype=object),
        labels,
        probs,
        np.array(flagged, bool),
        np.zeros(len(given), np.float32),
        to.astype(np.int32),
    )


def decide(policy: Threshold, shard: Evidence) -> Decisions:
    return policy.apply(shard, policy.fit([shard]), NAMES)


def actions(decisions: Decisions) -> list[str]:
    return [ACTIONS[a] for a in decisions.action]


FREE = {"max_fixed": 1.0, "max_fixed_per_class": 1.0}


def test_each_rule_on_one_row() -> None:
    shard = evidence(
        given=[0, 0, 0, 0, 0, -1, -1],
        pred_probs=[
            [0.98, 0.02, 0],
            [0.004, 0.981, 0.015],
            [0.10, 0.85, 0.05],
            [0.20, 0.70, 0.10],
            [0.35, 0.45, 0.20],
            [0.97, 0.02, 0.01],
            [0.50, 0.40, 0.10],
        ],
        flagged=[0, 1, 1, 1, 1, 0, 0],
    )
    decided = decide(Threshold(**FREE), shard)
    assert actions(decided) == ["keep", "fix", "review", "soften", "drop", "fix", "review"]
    assert decided.label.tolist() == [0, 1, 0, 0, -1, 0, -1]
    assert decided.given.tolist() == shard.given.tolist()
    assert decided.confidence == pytest.approx([0.98, 0.981, 0.10, 0.20, 0.45, 0.97, 0.50])
    assert decided.reason.tolist() == [
        "teachers give the given 'shirt' 0.980 and no detector flags it",
        "teachers give 'coat' 0.981 and the given 'shirt' 0.004",
        "teachers give 'coat' 0.850 and the given 'shirt' 0.100, short of fix_at 0.95",
        "teachers give 'coat' 0.700 and the given 'shirt' 0.200, short of review_at 0.8: "
        "only its soft label teaches",
        "teachers give 'coat' 0.450 and the given 'shirt' 0.350, short of drop_at 0.5: no class convinces",
        "no label was given and teachers give 'shirt' 0.970",
        "no label was given and teachers give 'shirt' 0.500, short of fix_at 0.95",
    ]
    assert set(decided.decided_by) == {"threshold"}
    assert decided.to_arrow()["label"].null_count == 2


@pytest.mark.parametrize(
    ("q", "action"), [(0.95, "fix"), (0.9499, "review"), (0.8, "review"), (0.7999, "soften"), (0.5, "soften")]
)
def test_a_threshold_met_exactly_is_reached(q: float, action: str) -> None:
    decided = decide(Threshold(**FREE), evidence([0], [[1 - q, q, 0]], [1]))
    assert actions(decided) == [action]


def test_it_acts_on_the_suggested_class_even_where_another_is_likelier() -> None:
    shard = evidence([0], [[0.1, 0.3, 0.6]], [1], suggested=[1])
    decided = decide(Threshold(drop_at=0.2, review_at=0.25, fix_at=0.3, **FREE), shard)
    assert decided.label.tolist() == [1]
    assert decided.confidence == pytest.approx([0.3])


@pytest.mark.parametrize("suggested", [-1, 0])
def test_a_flag_without_another_class_asks_people_whatever_the_probability(suggested: int) -> None:
    decided = decide(Threshold(**FREE), evidence([0], [[0.99, 0.01, 0]], [1], suggested=[suggested]))
    assert actions(decided) == ["review"]
    assert decided.label.tolist() == [0]
    assert decided.reason[0] == (
        "teachers give the given 'shirt' 0.990, and a detector flags it but names no other class"
    )


def sure_errors(wrong: int, right: int, label: int = 0) -> tuple[list[int], list[list[float]], list[int]]:
    other = [0.01, 0.98, 0.01] if label != 1 else [0.98, 0.01, 0.01]
    return (
        [label] * (wrong + right),
        [other] * wrong + [[1 / 3] * 3] * right,
        [1] * wrong + [0] * right,
    )


def test_the_partitions_cap_holds_exactly_and_stops_everything_beyond() -> None:
    """29 of 100 are not more than 0.29, although 0.29 * 100 < 29 in floating point."""
    policy = Threshold(max_fixed=0.29, max_fixed_per_class=1.0)
    at_cap, beyond = evidence(*sure_errors(29, 71)), evidence(*sure_errors(30, 70))
    assert policy.fit([at_cap]).info == {"capped": False, "notes": []}
    assert actions(decide(policy, at_cap)).count("fix") == 29

    assert policy.fit([beyond]).info["notes"] == [
        "30 of the partition's 100 labels would be fixed or dropped, more than max_fixed 0.29: "
        "none was changed, all are queued for review"
    ]
    decided = decide(policy, beyond)
    assert actions(decided) == ["review"] * 30 + ["keep"] * 70
    assert decided.label.tolist() == beyond.given.tolist()
    assert decided.reason[0] == (
        "teachers give 'coat' 0.980 and the given 'shirt' 0.010: more labels would change than "
        "max_fixed 0.29 of the partition allows"
    )


def test_drops_count_as_changes_and_a_stopped_partition_gains_no_labels_either() -> None:
    shard = evidence([0, 0, -1], [[0.3, 0.4, 0.3], [1, 0, 0], [0, 1, 0]], [1, 0, 0])
    decided = decide(Threshold(max_fixed=0.49, max_fixed_per_class=1), shard)
    assert actions(decided) == ["review", "keep", "review"]
    assert decided.label.tolist() == [0, 0, -1]


def test_a_classs_cap_stops_that_class_alone() -> None:
    first, second = sure_errors(3, 1, label=0), sure_errors(1, 9, label=2)
    shard = evidence(*(a + b for a, b in zip(first, second, strict=True)))
    policy = Threshold(max_fixed=0.5)
    state = policy.fit([shard])
    assert state.arrays["labelled"].tolist() == [4, 0, 10]
    assert state.arrays["changed"].tolist() == [3, 0, 1]
    assert state.info["notes"] == [
        "3 of the 4 labels of class 0 would be fixed or dropped, more than max_fixed_per_class 0.5: "
        "none was changed, all are queued for review"
    ]
    decided = policy.apply(shard, state, NAMES)
    assert actions(decided) == ["review"] * 3 + ["keep"] + ["fix"] + ["keep"] * 9
    assert "max_fixed_per_class 0.5 allows" in decided.reason[0]


def test_rows_without_a_label_count_towards_no_cap() -> None:
    shard = evidence([-1] * 5, [[0.97, 0.02, 0.01]] * 5, [0] * 5)
    policy = Threshold(max_fixed=0.0, max_fixed_per_class=0.0)
    assert policy.fit([shard]).info["capped"] is False
    assert actions(decide(policy, shard)) == ["fix"] * 5


def test_reviews_and_softened_labels_change_nothing_and_so_count_nowhere() -> None:
    shard = evidence([0, 0], [[0.1, 0.85, 0.05], [0.3, 0.6, 0.1]], [1, 1])
    assert actions(decide(Threshold(max_fixed=0.0), shard)) == ["review", "soften"]


@cases
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_shards_do_not_change_a_decision(seed: int, size: int) -> None:
    shard = random_evidence(seed)
    policy = Threshold()
    parts = [shard.take(np.arange(i, min(i + size, len(shard)))) for i in range(0, len(shard), size)]
    whole, dealt = policy.fit([shard]), policy.fit(parts)
    assert whole.info == dealt.info
    assert all(np.array_equal(whole.arrays[name], dealt.arrays[name]) for name in whole.arrays)
    joined = Decisions.concat([policy.apply(part, dealt, NAMES) for part in parts])
    assert joined.to_arrow().equals(policy.apply(shard, whole, NAMES).to_arrow())


@cases
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_no_run_changes_more_than_its_caps_allow(seed: int, cap: float, cap_per_class: float) -> None:
    shard = random_evidence(seed)
    decided = decide(Threshold(max_fixed=cap, max_fixed_per_class=cap_per_class), shard)
    labelled = shard.given >= 0
    changed = labelled & (decided.label != shard.given)
    assert changed.sum() <= cap * labelled.sum() + 1e-9
    for label in range(3):
        of_class = shard.given == label
        assert changed[of_class].sum() <= cap_per_class * of_class.sum() + 1e-9


@cases
@given(st.integers(0, 2**32 - 1))
def test_confidence_is_the_probability_of_the_label_that_results(seed: int) -> None:
    shard = random_evidence(seed)
    decided = decide(Threshold(**FREE), shard)
    rows, has_label = np.arange(len(shard)), decided.label >= 0
    assert np.array_equal(
        decided.confidence[has_label], shard.pred_probs[rows[has_label], decided.label[has_label]]
    )
    assert np.array_equal(decided.confidence[~has_label], shard.pred_probs[~has_label].max(axis=1))
    kept = np.isin(decided.action, [ACTIONS.index(a) for a in ("keep", "soften", "review")])
    assert np.array_equal(decided.label[kept], shard.given[kept])


def random_evidence(seed: int) -> Evidence:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    probs = rng.dirichlet(np.full(3, 0.2), n).astype(np.float32)
    return evidence(rng.integers(-1, 3, n).tolist(), probs.tolist(), (rng.random(n) < 0.4).tolist())


def test_no_rows_are_legal() -> None:
    policy = Threshold()
    none = evidence([0], [[1, 0, 0]], [0]).take(np.arange(0))
    for shards in ([], [none]):
        state = policy.fit(shards)
        assert state.info == {"capped": False, "notes": []}
        assert len(policy.apply(none, state, NAMES)) == 0


def test_one_class_alone_is_kept_or_asked_about() -> None:
    policy = Threshold()
    shard = evidence([0, 0], [[1.0], [1.0]], [0, 1], suggested=[0, 0])
    assert actions(policy.apply(shard, policy.fit([shard]), ("only",))) == ["keep", "review"]


@pytest.mark.parametrize("wrong", [{"drop_at": 0.9}, {"fix_at": 0.7}, {"review_at": 0.4}])
def test_thresholds_that_fall_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="set drop_at <= review_at <= fix_at"):
        Threshold(**wrong)


@pytest.mark.parametrize("field", list(Threshold.model_fields)[1:])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_and_probabilities_outside_0_to_1_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Threshold(**{field: value})
