"""The fixed student feels wrong labels. Run: python -m pytest tests/tasks/report/test_student.py"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasks.data import Examples
from tasks.report.perceptron import CLIP, column_statistics, fit, predict
from tasks.report.student import Student, held_out, vectors
from tasks.seeds import mix

QUICK = Student(steps=60, width=16, batch=32, learning_rate=0.01)


def blobs(n: int) -> tuple[Examples, np.ndarray]:
    """Three classes that lie apart, in columns of very different scale."""
    rng = np.random.Generator(np.random.PCG64(n))
    labels = np.arange(n) % 3
    features = (rng.normal(size=(n, 4)) * 0.3 + np.eye(3, 4)[labels] * 3) * [1, 1e4, 1e-4, 1]
    keys = np.arange(n, dtype=np.uint64)
    ids = np.array([str(i) for i in range(n)], dtype=object)
    return Examples(ids, keys, labels.astype(np.int32), features=features.astype(np.float32)), labels


def accuracy(student: Student, train: int = 90, test: int = 60, seed: int = 0) -> float:
    (a, a_labels), (b, b_labels) = blobs(train), blobs(test)
    return student.accuracy(a, np.eye(3, dtype=np.float32)[a_labels], b, b_labels, 3, seed, "cpu")


def test_wrong_labels_cost_the_default_student_at_least_two_points_on_digits(
    accuracies: dict[str, tuple[float, ...]],
) -> None:
    given, truth = np.mean(accuracies["given"]), np.mean(accuracies["truth"])
    assert len(accuracies["given"]) == 3
    assert truth > 0.97
    assert truth - given >= 0.02


def test_it_learns_classes_that_lie_apart_whatever_the_scale_of_the_columns() -> None:
    assert accuracy(QUICK) > 0.95


def test_the_same_arguments_give_the_same_student_and_another_seed_another() -> None:
    assert accuracy(QUICK, seed=1) == accuracy(QUICK, seed=1)
    features = blobs(90)[0].features
    assert features is not None
    targets = np.full((90, 3), 1 / 3, np.float32)
    settings = {"steps": 1, "width": 4, "batch": 8, "learning_rate": 0.001, "device": "cpu"}
    one, same, other = (fit(features, targets, seed=s, **settings) for s in (1, 1, 2))  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(one.weights, same.weights, strict=True))
    assert not torch.equal(one.weights[0], other.weights[0])


def test_training_leaves_the_global_random_numbers_alone() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"]
    accuracy(QUICK)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state(legacy=False)["state"]["key"])


def test_soft_targets_are_learned_as_distributions() -> None:
    inputs = np.zeros((50, 2), np.float32)
    targets = np.tile(np.array([0.7, 0.3], np.float32), (50, 1))
    model = fit(inputs, targets, steps=500, width=4, batch=16, learning_rate=0.02, seed=0, device="cpu")
    probabilities = torch.softmax(model.logits(torch.zeros(1, 2)), dim=1)
    np.testing.assert_allclose(probabilities.detach().numpy(), [[0.7, 0.3]], atol=0.01)


def test_column_statistics_agree_with_numpy_over_several_chunks() -> None:
    inputs = np.random.Generator(np.random.PCG64(0)).normal(3, 2, (9000, 3)).astype(np.float32)
    inputs[:, 2] = 5
    mean, scale = column_statistics(inputs)
    np.testing.assert_allclose(mean, inputs.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(scale, [*inputs[:, :2].std(axis=0, dtype=np.float64), 1], rtol=1e-6)


def test_a_column_that_varies_in_one_training_row_cannot_blow_up_a_test_row() -> None:
    train = np.zeros((200, 2), np.float32)
    train[0, 0], train[:, 1] = 1e-3, np.arange(200) % 2
    targets = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    model = fit(train, targets, steps=200, width=8, batch=32, learning_rate=0.01, seed=0, device="cpu")
    far = torch.tensor([[1e6, 0.0], [1e6, 1.0]])
    edge = torch.stack([model.mean[0] + CLIP * model.scale[0], torch.tensor(0.0)])[None]
    torch.testing.assert_close(model.logits(far[:1]), model.logits(edge), rtol=1e-4, atol=1e-4)
    assert predict(model, np.array([[0, 0], [0, 1]], np.float32)).tolist() == [0, 1]


def test_a_missing_value_counts_as_its_columns_mean() -> None:
    features = blobs(90)[0].features
    assert features is not None
    targets = np.eye(3, dtype=np.float32)[np.arange(90) % 3]
    model = fit(features, targets, steps=5, width=4, batch=8, learning_rate=0.01, seed=0, device="cpu")
    row, filled = torch.tensor(features[:1]), torch.tensor(features[:1])
    row[0, 1], filled[0, 1] = torch.nan, model.mean[1]
    torch.testing.assert_close(model.logits(row), model.logits(filled))


def test_embeddings_come_before_features_and_features_before_pixels() -> None:
    n = 2
    ids, keys, labels = np.array(["a", "b"], object), np.zeros(n, np.uint64), np.zeros(n, np.int32)
    images, features, embedding = np.zeros((n, 3, 4, 1), np.uint8), np.zeros((n, 5)), np.zeros((n, 6))
    assert vectors(Examples(ids, keys, labels, images, features, embedding)) is embedding
    assert vectors(Examples(ids, keys, labels, images, features)) is features
    flat = vectors(Examples(ids, keys, labels, images))
    assert flat is not None
    assert flat.shape == (n, 12)
    assert vectors(Examples(ids, keys, labels)) is None


def test_rows_without_vectors_are_refused_with_the_way_out() -> None:
    bare = Examples(np.array(["a"], object), np.zeros(1, np.uint64), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="give the curation an encoder"):
        QUICK.accuracy(bare, np.ones((1, 1), np.float32), bare, np.zeros(1), 1, 0, "cpu")


def test_nothing_to_train_on_or_to_judge_by_gives_nan() -> None:
    some, labels = blobs(9)
    none = some.take(np.zeros(0, int))
    targets = np.eye(3, dtype=np.float32)[labels]
    assert np.isnan(QUICK.accuracy(none, targets[:0], some, labels, 3, 0, "cpu"))
    assert np.isnan(QUICK.accuracy(some, targets, none, labels[:0], 3, 0, "cpu"))
    assert np.isnan(QUICK.accuracy(some, targets, some, np.full(9, -1), 3, 0, "cpu"))


def test_one_row_one_class_and_an_absent_class_are_legal() -> None:
    some, _ = blobs(1)
    targets = np.eye(4, dtype=np.float32)[[2]]
    assert QUICK.accuracy(some, targets, some, np.array([2]), 4, 0, "cpu") == 1
    assert QUICK.accuracy(some, np.ones((1, 1), np.float32), some, np.array([0]), 1, 0, "cpu") == 1


def test_unlabelled_test_rows_do_not_count() -> None:
    (train, labels), (test, truth) = blobs(90), blobs(60)
    targets = np.eye(3, dtype=np.float32)[labels]
    half = np.where(np.arange(60) < 30, truth, -1)
    judged = QUICK.accuracy(train, targets, test.take(np.arange(30)), truth[:30], 3, 0, "cpu")
    assert QUICK.accuracy(train, targets, test, half, 3, 0, "cpu") == judged


def test_one_row_in_five_is_held_out_by_its_content_alone() -> None:
    keys = mix(np.arange(20_000, dtype=np.uint64), 3)
    mask = held_out(keys)
    assert mask.mean() == pytest.approx(0.2, abs=0.01)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(keys))
    np.testing.assert_array_equal(held_out(keys[order]), mask[order])
    assert held_out(keys[:0]).shape == (0,)


def test_steps_must_be_positive() -> None:
    with pytest.raises(ValidationError):
        Student(steps=0)


def test_sets_are_learned_class_by_class_and_judged_by_macro_f1() -> None:
    """The three classes of the blobs, and a fourth that goes with the first two of them."""
    (a, a_labels), (b, b_labels) = blobs(90), blobs(60)

    def sets(labels: np.ndarray) -> np.ndarray:
        return np.column_stack([np.eye(3)[labels], labels < 2]).astype(np.int8)

    unknown = np.full((60, 4), -1, np.int8)
    score = QUICK.f1(a, sets(a_labels).astype(np.float32), b, sets(b_labels), 0, "cpu")
    assert score > 0.95
    wrong = QUICK.f1(a, 1 - sets(a_labels).astype(np.float32), b, sets(b_labels), 0, "cpu")
    assert wrong < 0.5
    assert np.isnan(QUICK.f1(a, sets(a_labels).astype(np.float32), b, unknown, 0, "cpu"))
