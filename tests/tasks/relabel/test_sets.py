"""The threshold policy on sets of classes, rule by rule: pytest tests/tasks/relabel/test_sets.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from tasks.data import ACTIONS, Decisions, Evidence
from tasks.relabel.threshold import Threshold

NAMES = ("red", "round", "big")
FREE = {"max_fixed": 1.0, "max_fixed_per_class": 1.0}


def evidence(before: list[list[int]], p: list[list[float]], doubts: list[list[int]]) -> Evidence:
    """Rows row0, row1, …; those with a doubt are flagged."""
    sets, n = np.array(before, np.int8).reshape(-1, 3), len(before)
    doubted = np.array(doubts, bool).reshape(-1, 3)
    return Evidence(
        np.array([f"row{i}" for i in range(n)], dtype=object),
        np.where((sets >= 0).any(axis=1), 0, -1).astype(np.int32),
        np.array(p, np.float32).reshape(-1, 3),
        doubted.any(axis=1),
        np.zeros(n, np.float32),
        np.full(n, -1, np.int32),
        before=sets,
        doubts=doubted,
    )


def decide(policy: Threshold, shard: Evidence) -> Decisions:
    return policy.apply(shard, policy.fit([shard]), NAMES)


def actions(decisions: Decisions) -> list[str]:
    return [ACTIONS[a] for a in decisions.action]


def test_each_rule_on_one_row() -> None:
    shard = evidence(
        [[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, -1, -1], [-1, -1, -1]],
        [
            [0.98, 0.02, 0.10],
            [0.98, 0.97, 0.03],
            [0.15, 0.02, 0.01],
            [0.90, 0.70, 0.01],
            [0.55, 0.45, 0.20],
            [0.97, 0.02, 0.99],
            [0.97, 0.60, 0.99],
        ],
        [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]],
    )
    decided = decide(Threshold(**FREE), shard)
    assert actions(decided) == ["keep", "fix", "review", "soften", "drop", "fix", "review"]
    assert decided.after is not None
    assert decided.after.tolist() == [
        [1, 0, 0],
        [1, 1, 0],
        [1, 0, 0],
        [1, 0, 0],
        [-1, -1, -1],
        [1, 0, 1],
        [-1, -1, -1],
    ]
    assert decided.given.tolist() == [0, 0, 0, 0, 0, -1, -1]
    assert decided.label.tolist() == [0, 0, 0, 0, -1, 0, -1]
    assert decided.confidence == pytest.approx([0.90, 0.97, 0.15, 0.30, 0.55, 0.97, 0.60])
    assert decided.reason.tolist() == [
        "teachers give each given answer 0.900 or more and no detector flags it",
        "teachers give 'round' 0.970, which was not given",
        "teachers give 'red' 0.150, which was given, short of fix_at 0.95",
        "teachers give 'round' 0.700, which was not given, short of review_at 0.8: "
        "only its soft label teaches",
        "teachers give 'round' 0.450, which was not given, short of drop_at 0.5: no answer convinces",
        "no labels were given and teachers give each likelier answer 0.970 or more",
        "no labels were given and teachers give each likelier answer 0.600 or more, short of fix_at 0.95",
    ]
    table = decided.to_arrow()
    assert table["labels"].to_pylist() == [[0], [0, 1], [0], [0], None, [0, 2], None]
    assert table["given_labels"].to_pylist()[-3:] == [[0], None, None]


def test_several_doubts_that_can_be_proved_are_fixed_at_once() -> None:
    decided = decide(Threshold(**FREE), evidence([[1, 0, 0]], [[0.005, 0.99, 0.2]], [[1, 1, 0]]))
    assert actions(decided) == ["fix"]
    assert decided.after is not None
    assert decided.after.tolist() == [[0, 1, 0]]
    assert decided.reason[0] == "teachers give 'red' 0.005, which was given, and doubt 1 more"


def test_one_doubt_that_cannot_be_proved_holds_the_whole_row_back() -> None:
    decided = decide(Threshold(**FREE), evidence([[1, 0, 0]], [[0.01, 0.85, 0.2]], [[1, 1, 0]]))
    assert actions(decided) == ["review"]
    assert decided.after is not None
    assert decided.after.tolist() == [[1, 0, 0]]
    assert decided.reason[0] == (
        "teachers give 'round' 0.850, which was not given, and doubt 1 more, short of fix_at 0.95"
    )


@pytest.mark.parametrize(
    ("q", "action"), [(0.95, "fix"), (0.9499, "review"), (0.8, "review"), (0.7999, "soften"), (0.5, "soften")]
)
def test_a_threshold_met_exactly_is_reached(q: float, action: str) -> None:
    decided = decide(Threshold(**FREE), evidence([[0, 0, 0]], [[q, 0, 0]], [[1, 0, 0]]))
    assert actions(decided) == [action]


def test_a_flagged_row_without_a_doubted_answer_is_for_people() -> None:
    shard = evidence([[1, 0, 0]], [[0.9, 0.1, 0.1]], [[0, 0, 0]])
    shard.is_issue[0] = True
    decided = decide(Threshold(**FREE), shard)
    assert actions(decided) == ["review"]
    assert decided.reason[0] == (
        "teachers give each given answer 0.900 or more, and a detector flags it but names no class"
    )


def test_no_class_at_all_is_a_set_like_any_other() -> None:
    decided = decide(Threshold(**FREE), evidence([[1, 0, 0]], [[0.01, 0.02, 0.03]], [[1, 0, 0]]))
    assert decided.to_arrow()["labels"].to_pylist() == [[]]


def many(fixed: int, kept: int) -> Evidence:
    """Rows whose `round` is added, then rows that have `red` and `round` and stay."""
    before = [[1, 0, 0]] * fixed + [[1, 1, 0]] * kept
    p = [[0.99, 0.99, 0.01]] * (fixed + kept)
    return evidence(before, p, [[0, 1, 0]] * fixed + [[0, 0, 0]] * kept)


def test_beyond_the_cap_on_rows_none_is_changed() -> None:
    policy = Threshold(max_fixed=0.15, max_fixed_per_class=1.0)
    assert actions(decide(policy, many(15, 85))).count("fix") == 15
    shard = many(16, 84)
    decided = decide(policy, shard)
    assert "fix" not in actions(decided)
    assert actions(decided).count("review") == 16
    assert decided.reason[0].endswith("more labels would change than max_fixed 0.15 of the partition allows")
    assert policy.fit([shard]).info["notes"][0].startswith("16 of the partition's 100 labels would be fixed")


def test_a_class_that_would_change_too_often_is_left_to_people_and_no_other() -> None:
    """Five answers on `round` would change, and four rows have it already: five of nine."""
    both = evidence(
        [[1, 0, 0]] * 5 + [[1, 1, 0]] * 4 + [[1, 0, 0]],
        [[0.99, 0.99, 0.01]] * 9 + [[0.01, 0.01, 0.01]],
        [[0, 1, 0]] * 5 + [[0, 0, 0]] * 4 + [[1, 0, 0]],
    )
    policy = Threshold(max_fixed=1.0, max_fixed_per_class=0.5)
    assert actions(decide(policy, both)) == ["review"] * 5 + ["keep"] * 4 + ["fix"]
    state = policy.fit([both])
    assert state.arrays["labelled"].tolist() == [10, 9, 0]
    assert state.arrays["changed"].tolist() == [1, 5, 0]


def test_counts_of_shards_add_up_to_those_of_the_whole() -> None:
    whole, policy = many(7, 30), Threshold()
    apart = policy.fit([whole.take(np.arange(5)), whole.take(np.arange(5, 37))])
    assert apart.info == policy.fit([whole]).info
    assert (apart.arrays["changed"] == policy.fit([whole]).arrays["changed"]).all()


def test_no_rows_are_legal() -> None:
    decided = decide(Threshold(), evidence([], [], []))
    assert len(decided) == 0


@settings(deadline=None, max_examples=60)
@drawn(st.data())
def test_what_is_kept_or_waits_is_as_it_was_and_what_is_fixed_differs_where_it_was_doubted(
    data: st.DataObject,
) -> None:
    n = 6
    draw = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    before = draw.integers(0, 2, (n, 3))
    before[0] = -1
    shard = evidence(before.tolist(), draw.random((n, 3)).tolist(), (draw.random((n, 3)) < 0.3).tolist())
    decided = decide(Threshold(fix_at=0.7, review_at=0.6, drop_at=0.4, **FREE), shard)
    assert decided.after is not None
    assert shard.doubts is not None
    assert decided.before is shard.before
    for row, action in enumerate(actions(decided)):
        changed = decided.after[row] != before[row]
        if action == "fix" and row:
            assert (changed == shard.doubts[row]).all()
        elif action != "drop" and row:
            assert not changed.any()
