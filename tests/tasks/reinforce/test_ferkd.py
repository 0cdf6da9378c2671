"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_ferkd.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.reinforce import REGIONS, Adapted
from tasks.reinforce.crops import Crops
from tasks.reinforce.ferkd import FerKD, following_kept, softened

SHAPE = (8, 10, 1)
KEYS = np.random.default_rng(1).integers(0, 2**64, 300, dtype=np.uint64)


def adapted(probs: Any, labels: list[int], flagged: list[bool] | None = None, **parameters: Any) -> Adapted:
    """Of rows with the same number of draws each, thresholds 0.3 and 0.6 unless told otherwise."""
    probs = np.array(probs, np.float32)
    method = FerKD(
        **(
            {"lower": 0.3, "upper": 0.6, "self_mix": 0, "draws": len(probs) // max(len(labels), 1)}
            | parameters
        )
    )
    doubts = np.zeros(len(labels), bool) if flagged is None else np.array(flagged)
    transforms = method.sample(KEYS[: len(labels)], SHAPE, 0)
    return method.adapt(probs, np.array(labels, np.int32), doubts, transforms, SHAPE)


UNSURE, DOUBTFUL, SURE = [0.25] * 4, [0.5, 0.2, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]


def test_the_three_regions_are_dropped_calibrated_and_believed() -> None:
    done = adapted([UNSURE, DOUBTFUL, SURE], [2])
    assert done.keep.tolist() == [False, True, True]
    assert np.allclose(done.targets[1], [0.1 / 3, 0.1 / 3, 0.9, 0.1 / 3])
    assert done.targets[2].tolist() == np.array(SURE, np.float32).tolist()
    assert done.regions is not None
    assert [REGIONS[region] for region in done.regions] == ["hard", "uncertain", "confident"]


def test_a_flagged_row_and_one_without_a_label_keep_the_teachers_opinion() -> None:
    for labels, flagged in (([2], [True]), ([-1], [False])):
        done = adapted([UNSURE, DOUBTFUL, SURE], labels, flagged)
        assert done.targets.tolist() == np.array([UNSURE, DOUBTFUL, SURE], np.float32).tolist()
        assert done.keep.tolist() == [False, True, True]


def test_teachers_that_are_sure_of_another_class_are_believed() -> None:
    assert adapted([SURE], [3]).targets.tolist() == np.array([SURE], np.float32).tolist()


def test_a_row_never_loses_all_of_its_crops() -> None:
    worse = [0.24, 0.24, 0.26, 0.26]
    done = adapted([UNSURE, worse, worse, SURE, UNSURE, UNSURE], [2, 0])
    assert done.keep.tolist() == [False, True, False, True, False, False]  # of equals the first
    assert np.allclose(done.targets[1], [0.1 / 3, 0.1 / 3, 0.9, 0.1 / 3])


def test_without_smoothing_the_label_is_one_hot_and_one_class_is_certain() -> None:
    assert adapted([DOUBTFUL], [1], smoothing=0).targets.tolist() == [[0, 1, 0, 0]]
    assert softened(np.array([0, -1]), 1, 0.1).tolist() == [[1], [1]]


def test_thresholds_of_zero_are_plain_reinforcement_and_of_one_calibrate_all() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 12)
    done = adapted(probs, [0, 1, 2], lower=0, upper=0)
    assert done.keep.all()
    assert np.array_equal(done.targets, probs.astype(np.float32))
    assert np.array_equal(
        adapted(probs, [0, 1, 2], lower=0, upper=1).targets,
        np.repeat(softened(np.array([0, 1, 2]), 4, 0.1), 4, axis=0).astype(np.float32),
    )


def test_thresholds_compare_the_integers_that_are_stored() -> None:
    just_below = 9830.4 / 32767  # 0.30001; rounds to 9830, which is what 0.3 rounds to
    rest = (1 - just_below) / 3
    assert adapted([[just_below - 0.00002, rest, rest, rest], SURE], [0]).keep.tolist() == [True, True]


def test_views_are_the_crops_of_the_same_numbers() -> None:
    """Grading changes no view: the numbers are those that `crops` would draw without colour."""
    ours = FerKD(scale=(0.5, 1.0), self_mix=0).sample(KEYS, SHAPE, 3)
    theirs = Crops(brightness=0, contrast=0).sample(KEYS, SHAPE, 3)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    images = np.random.default_rng(0).integers(0, 256, (len(KEYS) * 8, *SHAPE), dtype=np.uint8)
    assert np.array_equal(FerKD().replay(images, ours), Crops().replay(images, theirs))


def test_self_mix_goes_on_to_the_next_draw_that_is_kept() -> None:
    keep = np.array([[True, False, True, True], [False, True, False, False], [True, True, True, True]])
    assert following_kept(keep).tolist() == [[2, -1, 3, 0], [-1, -1, -1, -1], [1, 2, 3, 0]]


def test_self_mix_of_a_lone_crop_is_no_mix() -> None:
    done = adapted([SURE, UNSURE], [0], self_mix=1.0)
    assert done.transforms["partner_draw"].tolist() == [-1, -1]
    assert done.targets[0].tolist() == np.array(SURE, np.float32).tolist()


def test_targets_are_mixed_by_the_exact_share_of_pixels_or_weight() -> None:
    other = [0.1, 0.1, 0.1, 0.7]
    done = adapted([SURE, other] * 300, [0] * 300, self_mix=1.0)
    t = {name: values.astype(int) for name, values in done.transforms.items()}
    assert set(t["partner_draw"]) == {0, 1}
    own = (1 - t["paste_height"] * t["paste_width"] / 80) * (t["own_weight"] / 32767)
    base = np.array([SURE, other] * 300)
    swapped = base.reshape(-1, 2, 4)[:, ::-1].reshape(-1, 4)
    assert np.allclose(done.targets, own[:, None] * base + (1 - own[:, None]) * swapped, atol=1e-6)
    pastes, blends = t["paste_height"] > 0, t["own_weight"] < 32767
    assert not (pastes & blends).any()
    assert pastes.mean() == pytest.approx(0.45, abs=0.08)
    assert blends.mean() == pytest.approx(0.5, abs=0.08)


def test_the_mixed_pixels_are_in_the_share_that_the_target_says() -> None:
    method = FerKD(self_mix=1.0, draws=1)
    t = method.sample(KEYS, SHAPE, 0)
    zeros = np.zeros((len(KEYS), *SHAPE), np.uint8)
    theirs = (method.mix(zeros, zeros + 255, t) / 255).mean(axis=(1, 2, 3))
    own = (1 - t["paste_height"].astype(int) * t["paste_width"] / 80) * (t["own_weight"] / 32767)
    assert np.abs(theirs - (1 - own)).max() < 0.5 / 255 + 1e-9  # a grey level's rounding


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31), n=st.integers(1, 12), lower=st.floats(0, 1), mix=st.sampled_from([0.0, 0.7])
)
def test_a_rows_outcome_depends_on_no_other_row(seed: int, n: int, lower: float, mix: float) -> None:
    random = np.random.default_rng(seed)
    method = FerKD(draws=5, lower=lower, upper=max(lower, 0.6), self_mix=mix)
    probs = random.dirichlet(np.full(4, 0.5), n * 5).astype(np.float32)
    labels, flagged = random.integers(-1, 4, n).astype(np.int32), random.random(n) < 0.3
    t = method.sample(KEYS[:n], SHAPE, 0)
    whole = method.adapt(probs, labels, flagged, t, SHAPE)
    assert whole.keep.reshape(n, 5).any(axis=1).all()
    assert np.allclose(whole.targets.sum(axis=1), 1, atol=1e-5)
    for row in range(n):
        mine = slice(row * 5, row * 5 + 5)
        own = {name: values[mine] for name, values in t.items()}
        alone = method.adapt(probs[mine], labels[row : row + 1], flagged[row : row + 1], own, SHAPE)
        assert np.array_equal(alone.targets, whole.targets[mine])
        assert np.array_equal(alone.keep, whole.keep[mine])
        if mix:
            kept = whole.keep[mine]
            partner = alone.transforms["partner_draw"][kept]
            assert kept[partner[partner >= 0]].all()
            assert np.array_equal(alone.transforms["partner_draw"], whole.transforms["partner_draw"][mine])


def test_no_rows_are_no_trouble() -> None:
    assert len(adapted(np.zeros((0, 4)), [], draws=3).keep) == 0


def test_labels_that_are_wrong_where_teachers_are_unsure_are_kept_out_by_flagging() -> None:
    """The trap of calibrating by labels: errors gather among crops of which teachers are unsure."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 200)
    probs = np.full((200, 4), 0.2)
    probs[np.arange(200), truth] = 0.4
    wrong = random.random(200) < 0.2
    given = np.where(wrong, (truth + 1) % 4, truth)

    def right(flagged: np.ndarray) -> float:
        done = adapted(probs, given.tolist(), flagged.tolist(), draws=1)
        return float((done.targets.argmax(axis=1) == truth).mean())

    assert right(np.zeros(200, bool)) == pytest.approx(1 - wrong.mean())
    assert right(wrong) == 1


@pytest.mark.parametrize("wrong", [{"lower": 0.6, "upper": 0.5}, {"smoothing": 1}, {"self_mix": 2}])
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FerKD(**wrong)
