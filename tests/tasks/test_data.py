"""The int16 encoding of soft labels and the row-wise dataclasses: pytest tests/tasks/test_data.py"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data import (
    ACTIONS,
    ONE,
    Decisions,
    Examples,
    Issues,
    SoftLabels,
    array_to_lists,
    keys_of,
    lists_to_array,
)
from tasks.given import array_to_sets, sets_to_array

HALF_A_UNIT = 0.5 / ONE + 1e-7  # 1e-7: what float32 adds to p

cases = settings(deadline=None, max_examples=60)


def ids_of(n: int) -> np.ndarray:
    return np.array([f"row{i}" for i in range(n)], dtype=object)


@st.composite
def opinions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels with -1 among them, probabilities from near-uniform to one-hot, and any top_k."""
    n, n_classes = draw(st.integers(0, 12)), draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sharpness = draw(st.sampled_from([0.01, 0.3, 1.0, 1e6]))
    pred_probs = rng.dirichlet(np.full(n_classes, sharpness), n).reshape(n, n_classes)
    if draw(st.booleans()):
        pred_probs = pred_probs.astype(np.float32)
    return rng.integers(-1, n_classes, n), pred_probs, draw(st.integers(1, 20))


def encode(case: tuple[np.ndarray, np.ndarray, int]) -> SoftLabels:
    labels, pred_probs, top_k = case
    return SoftLabels.from_pred_probs(ids_of(len(labels)), labels, pred_probs, top_k)


def test_a_row_small_enough_to_check_by_hand() -> None:
    soft = encode((np.array([3]), np.array([[0.5, 0.25, 0.125, 0.0625, 0.0625]]), 2))
    assert soft.classes.tolist() == [[0, 1]]
    assert soft.weights.tolist() == [[16384, 8192]]  # 16383.5 and 8191.75, half to even
    assert soft.given_weight.tolist() == [2048]  # 2047.9375: class 3 is kept although it is not among the 2
    assert soft.tail.tolist() == [32767 - 16384 - 8192 - 2048]
    decoded = soft.pred_probs()[0] * ONE
    assert decoded.tolist() == pytest.approx([16384, 8192, 6143 / 2, 2048, 6143 / 2])


@cases
@given(opinions())
def test_stored_probabilities_return_within_half_a_unit(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, pred_probs, _ = case
    soft = encode(case)
    decoded = soft.pred_probs()
    assert decoded.shape == pred_probs.shape
    assert decoded.dtype == np.float32
    stored = np.take_along_axis(pred_probs, soft.classes, axis=1)
    assert np.all(np.abs(np.take_along_axis(decoded, soft.classes, axis=1) - stored) <= HALF_A_UNIT)
    known = np.flatnonzero(labels >= 0)
    assert np.all(np.abs(decoded[known, labels[known]] - pred_probs[known, labels[known]]) <= HALF_A_UNIT)


@cases
@given(opinions())
def test_weights_given_label_and_tail_sum_to_one(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, pred_probs, _ = case
    soft = encode(case)
    listed = (soft.classes == labels[:, None]).any(axis=1)
    total = soft.weights.sum(axis=1, dtype=int) + np.where(listed, 0, soft.given_weight) + soft.tail
    # Where a tail exists it absorbs the rounding, unless the stored weights were all rounded up.
    assert np.all(np.abs(total - ONE) <= np.maximum(pred_probs.shape[1] / 2, 1))
    assert np.all(total[soft.tail > 0] == ONE)
    assert np.all(soft.tail >= 0)


@cases
@given(opinions())
def test_the_given_label_is_always_kept_and_an_absent_one_is_zero(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    labels, pred_probs, _ = case
    soft = encode(case)
    known = np.flatnonzero(labels >= 0)
    assert np.array_equal(
        soft.given_weight[known], np.rint(pred_probs[known, labels[known]].astype(np.float64) * ONE)
    )
    assert not soft.given_weight[labels < 0].any()


@cases
@given(opinions())
def test_no_class_beats_the_first_listed_one_and_weights_fall(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    soft = encode(case)
    assert np.all(np.diff(soft.weights.astype(int), axis=1) <= 0)
    if len(soft):
        decoded = soft.pred_probs()
        top = decoded[np.arange(len(soft)), soft.classes[:, 0]]
        assert np.array_equal(top, decoded.max(axis=1))


@pytest.mark.parametrize("n_classes", [20, 7, 3])
def test_a_uniform_opinion_on_many_classes_still_points_at_the_first(n_classes: int) -> None:
    """The tail's rounding once lifted the eleventh of twenty equal classes above the ten listed."""
    soft = encode((np.array([-1]), np.full((1, n_classes), 1 / n_classes), 10))
    assert soft.pred_probs().argmax(axis=1).tolist() == [0]


def test_ties_go_to_the_lower_class_also_when_only_rounding_makes_them() -> None:
    almost = np.array([[0.3, 0.3 + 1e-9, 0.4 - 1e-9], [0.2, 0.4, 0.4]])
    soft = encode((np.array([-1, -1]), almost, 3))
    assert soft.classes.tolist() == [[2, 0, 1], [1, 2, 0]]
    assert soft.pred_probs().argmax(axis=1).tolist() == soft.classes[:, 0].tolist()


@cases
@given(opinions())
def test_encoding_what_was_decoded_changes_nothing_when_every_class_is_listed(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    labels, pred_probs, _ = case
    once = encode((labels, pred_probs, 20))
    twice = encode((labels, once.pred_probs(), 20))
    assert np.array_equal(once.classes, twice.classes)
    assert np.array_equal(once.weights, twice.weights)
    assert np.array_equal(once.given_weight, twice.given_weight)


def test_top_k_above_the_number_of_classes_lists_them_all_without_a_tail() -> None:
    soft = encode((np.array([0, -1]), np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]), 10))
    assert soft.classes.shape == (2, 3)
    assert not soft.tail.any()


@pytest.mark.parametrize("bad", [np.nan, 1.01, -0.01])
def test_probabilities_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"NaN or values outside 0\.\.1"):
        encode((np.array([0]), np.array([[0.5, bad]]), 2))


@cases
@given(opinions(), st.integers(1, 5))
def test_a_row_is_encoded_alike_in_any_batch(case: tuple[np.ndarray, np.ndarray, int], size: int) -> None:
    labels, pred_probs, top_k = case
    whole = encode(case)
    starts = range(0, len(labels), size)
    parts = [encode((labels[i : i + size], pred_probs[i : i + size], top_k)) for i in starts]
    if parts:
        joined = SoftLabels.concat(parts)
        assert np.array_equal(whole.weights, joined.weights)
        assert np.array_equal(whole.pred_probs(), joined.pred_probs())


@cases
@given(opinions())
def test_soft_labels_survive_the_table(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, pred_probs, _ = case
    soft = encode(case)
    table = soft.to_arrow("linear", np.zeros(len(soft), np.int16))
    assert table.schema.field("weights").type == pa.list_(pa.int16())
    back = SoftLabels.from_arrow(table, labels.astype(np.int32), pred_probs.shape[1])
    assert back.ids.tolist() == soft.ids.tolist()
    assert np.array_equal(back.pred_probs(), soft.pred_probs())


def test_an_empty_partition_joins_a_full_one() -> None:
    """A table without rows cannot say how long its lists are."""
    full = encode((np.array([0]), np.array([[0.9, 0.1]]), 2))
    nothing = SoftLabels.from_arrow(
        full.take(np.arange(0)).to_arrow("t", np.zeros(0, np.int16)), full.labels[:0], 2
    )
    assert nothing.pred_probs().shape == (0, 2)
    for parts in ([nothing, full], [full, nothing]):
        assert SoftLabels.concat(parts).pred_probs().tolist() == full.pred_probs().tolist()
    assert len(SoftLabels.concat([nothing, nothing])) == 0


def test_take_follows_an_index_or_a_mask_and_keeps_absent_fields_absent() -> None:
    examples = Examples(ids_of(3), np.arange(3, dtype=np.uint64), np.array([0, -1, 1], np.int32))
    assert examples.take(np.array([2, 0])).ids.tolist() == ["row2", "row0"]
    assert examples.take(examples.labels >= 0).labels.tolist() == [0, 1]
    assert examples.take(np.array([1])).images is None


def test_minus_one_becomes_null_in_tables_and_back() -> None:
    half, suggested = np.full(2, 0.5, np.float32), np.array([-1, 2], np.int32)
    issues = Issues(ids_of(2), half, np.array([True, False]), suggested, half)
    table = issues.to_arrow("d")
    assert table["suggested_label"].to_pylist() == [None, 2]
    assert Issues.from_arrow(table).suggested_label.tolist() == [-1, 2]
    assert Issues.from_arrow(table.slice(0, 0)).is_issue.shape == (0,)


def test_actions_are_spelled_out_in_the_table() -> None:
    n, text = len(ACTIONS), np.full(len(ACTIONS), "x", dtype=object)
    labels = np.full(n, -1, np.int32)
    decisions = Decisions(
        ids_of(n), labels, labels, np.arange(n, dtype=np.int8), np.ones(n, np.float32), text, text
    )
    assert decisions.to_arrow()["action"].to_pylist() == list(ACTIONS)
    assert decisions.take(np.arange(0)).to_arrow().num_rows == 0


@cases
@given(st.integers(0, 6), st.integers(1, 5))
def test_lists_and_arrays_are_one_another(n: int, k: int) -> None:
    values = np.arange(n * k, dtype=np.int16).reshape(n, k)
    column = pa.chunked_array([array_to_lists(values)])
    assert column.to_pylist() == values.tolist()
    if n > 1:
        assert lists_to_array(column.slice(1), n - 1, np.int16).tolist() == values[1:].tolist()


def test_keys_are_the_first_64_bits_of_the_hash() -> None:
    hashes = pa.array(["00000000000000ff" + "7" * 48, "8000000000000000" + "0" * 48])
    assert keys_of(hashes).tolist() == [255, 2**63]
    assert keys_of(hashes.slice(0, 0)).shape == (0,)


GIVEN = np.array([[1, 0, 1], [0, 0, 0], [-1, -1, -1]], np.int8)


def test_probabilities_of_a_set_are_each_their_own() -> None:
    probs = np.array([[0.5, 1.0, 0.25], [0.0, 0.0, 0.0], [1.0, 1.0, 0.5]])
    soft = SoftLabels.from_independent(ids_of(3), GIVEN, probs)
    assert soft.classes.tolist() == [[1, 0, 2], [0, 1, 2], [0, 1, 2]]
    assert soft.weights.tolist() == [[32767, 16384, 8192], [0, 0, 0], [32767, 32767, 16384]]
    assert soft.given_weight.tolist() == [8192, 0, 0]
    assert soft.labels.tolist() == [0, 0, -1]
    assert soft.tail.tolist() == [0, 0, 0]
    assert soft.pred_probs() == pytest.approx(probs, abs=HALF_A_UNIT)


@cases
@given(st.integers(0, 20), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_sets_and_their_soft_labels_survive_a_table(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    given_sets = random.integers(0, 2, (n, k)).astype(np.int8)
    given_sets[random.random(n) < 0.3] = -1
    column = pa.chunked_array([array_to_sets(given_sets)])
    assert np.array_equal(sets_to_array(column, k), given_sets)
    assert np.array_equal(sets_to_array(column.slice(n // 2), k), given_sets[n // 2 :])
    soft = SoftLabels.from_independent(ids_of(n), given_sets, random.random((n, k)))
    table = soft.to_arrow("t", np.zeros(n, np.int16))
    again = SoftLabels.from_arrow(table, soft.labels, k)
    assert again.values is None
    assert np.array_equal(again.pred_probs().reshape(-1), soft.pred_probs().reshape(-1))


def test_nobody_said_and_none_applies_are_two_things() -> None:
    column = pa.chunked_array([pa.array([[2, 0], [], None], pa.list_(pa.int32()))])
    assert np.array_equal(sets_to_array(column, 3), GIVEN)
    assert array_to_sets(GIVEN).to_pylist() == [[0, 2], [], None]


def test_values_survive_a_table_bit_for_bit() -> None:
    given_numbers, values = np.array([0.1, np.nan, 3.0]), np.array([0.1, 1e300, -0.0])
    soft = SoftLabels.from_values(ids_of(3), given_numbers, values)
    assert soft.labels.tolist() == [0, -1, 0]
    assert soft.n_classes == 0
    again = SoftLabels.from_arrow(soft.to_arrow("t", np.zeros(3, np.int16)), soft.labels, 0)
    assert again.values is not None
    assert again.values.tobytes() == values.tobytes()
    assert again.classes.shape == (3, 0)
    assert again.take(np.array([2, 0])).values.tolist() == [-0.0, 0.1]  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        SoftLabels.from_values(ids_of(1), np.array([1.0]), np.array([bad]))
