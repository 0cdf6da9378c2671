"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_mixing.py"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.reinforce import mixing
from tasks.reinforce.mixing import ONE, boxes, mixed, own_weights, partners, pasted

CHANCES = np.arange(1000) / 1000


def box(top: int, left: int, height: int, width: int) -> dict[str, np.ndarray]:
    sides = {"top": top, "left": left, "height": height, "width": width}
    return {f"paste_{name}": np.array([value], np.int16) for name, value in sides.items()}


def sides(found: dict[str, np.ndarray]) -> list[int]:
    return [int(found[f"paste_{name}"][0]) for name in ("top", "left", "height", "width")]


def test_the_own_side_of_mixup_weighs_at_least_half() -> None:
    own = own_weights(CHANCES)
    assert own.min() == 16384  # of 32767
    assert own.max() == ONE
    assert own[250] == round(0.75 * ONE)  # lambda 0.25 is the partner's


def test_mixup_is_a_rounded_weighted_mean_and_weight_one_changes_nothing() -> None:
    a, b = np.full((1, 1, 2, 1), [[[10], [255]]], np.uint8), np.full((1, 1, 2, 1), [[[20], [0]]], np.uint8)
    assert mixed(a, b, np.array([24575], np.int16)).ravel().tolist() == [13, 191]  # 0.75 own: 12.5, 191.25
    assert np.array_equal(mixed(a, b, np.array([ONE], np.int16)), a)
    assert np.array_equal(mixed(a, a, np.array([16384], np.int16)), a)


def test_cutmix_pastes_the_box_and_nothing_else() -> None:
    zeros, ones = np.zeros((1, 3, 4, 1), np.uint8), np.ones((1, 3, 4, 1), np.uint8)
    view = pasted(zeros, ones, box(1, 2, 2, 1))[0, :, :, 0]
    assert view.tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert not pasted(zeros, ones, box(0, 0, 0, 0)).any()


def test_a_box_has_sides_of_the_root_of_one_minus_lambda_about_its_centre() -> None:
    # lambda 0.75: half of each side, 8 x 10 of 16 x 20, about pixel (8, 10)
    found = boxes(np.array([[0.75], [0.5], [0.5]]), (16, 20, 1))
    assert sides(found) == [4, 5, 8, 10]
    clipped = boxes(np.array([[0.75], [0.0], [0.99]]), (16, 20, 1))
    assert sides(clipped) == [0, 14, 4, 6]


@settings(max_examples=50, deadline=None)
@given(h=st.integers(1, 40), w=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_every_box_lies_inside_its_image(h: int, w: int, seed: int) -> None:
    found = boxes(np.random.default_rng(seed).random((3, 200)), (h, w, 1))
    assert min(int(value.min()) for value in found.values()) >= 0
    assert (found["paste_top"] + found["paste_height"]).max() <= h
    assert (found["paste_left"] + found["paste_width"]).max() <= w


def test_a_partner_is_another_content_of_the_same_group() -> None:
    random = np.random.default_rng(0)
    keys, groups = random.integers(0, 2**64, 500, dtype=np.uint64), random.integers(0, 4, 500)
    found = partners(keys, groups, 6, seed=1)
    assert found.min() >= 0
    assert (groups[found] == groups[:, None]).all()
    assert (found != np.arange(500)[:, None]).all()


def test_equal_rows_are_no_partners_of_each_other_and_the_first_stands_for_them() -> None:
    keys = np.array([7, 7, 9, 7], np.uint64)
    assert partners(keys, np.zeros(4, int), 2, seed=0).tolist() == [[2, 2], [2, 2], [0, 0], [2, 2]]


def test_a_row_that_is_alone_in_its_group_has_no_partner() -> None:
    keys = np.array([1, 2, 3, 3], np.uint64)
    assert partners(keys, np.array([0, 1, 2, 2]), 3, seed=0).tolist() == [[-1] * 3] * 4
    assert partners(keys[:0], np.zeros(0, int), 3, seed=0).shape == (0, 3)


def test_all_rows_get_their_turn_as_partners() -> None:
    keys = np.random.default_rng(3).integers(0, 2**64, 300, dtype=np.uint64)
    chosen = np.bincount(partners(keys, np.zeros(300, int), 40, seed=1).ravel(), minlength=300)
    assert chosen.min() > 10  # 40 on average
    assert chosen.max() < 90


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 60), gone=st.integers(0, 59))
def test_a_row_that_goes_changes_nobodys_partner_but_its_own_followers(seed: int, n: int, gone: int) -> None:
    random = np.random.default_rng(seed)
    keys, groups = random.integers(0, 2**64, n, dtype=np.uint64), random.integers(0, 2, n)
    stays = np.arange(n) != gone % n
    before = partners(keys, groups, 3, seed=5)[stays]
    after = partners(keys[stays], groups[stays], 3, seed=5)
    places = np.append(np.flatnonzero(stays), -1)  # the last is what -1 finds
    same = places[after] == before
    assert same[before != gone % n].all()


def test_one_is_the_one_of_stored_probabilities() -> None:
    from tasks.data import ONE as STORED

    assert STORED == mixing.ONE
