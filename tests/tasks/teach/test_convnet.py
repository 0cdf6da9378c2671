"""The residual network. Run: .venv/bin/python -m pytest tests/tasks/teach/test_convnet.py"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load, save

from tasks import seeds
from tasks.data import Examples, State
from tasks.teach import BadTraining, Start
from tasks.teach.convnet import Convnet, _weights
from tasks.teach.dynamics import DYNAMICS, MARKS, NAMES, marks_of
from tasks.teach.resnet import ResNet, augment
from tasks.teach.training import best, over_classes, rate
from tests.tasks.teach.examples import digits, in_parts

QUICK = Convnet(epochs=2, min_steps=12, max_steps=12, width=8, batch_size=32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bits(state: State) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.arrays.items()}


def pictures(shape: tuple[int, ...], n: int = 40) -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    ids = np.array([f"row-{i}" for i in range(n)], dtype=object)
    return Examples(ids, np.arange(n, dtype=np.uint64), (np.arange(n) % 2).astype(np.int32), images=images)


def test_it_reads_digits_it_never_saw_although_labels_are_noisy() -> None:
    examples, truth = digits(noise=0.08)
    fold = seeds.folds_of(examples.keys, 4)
    state = Convnet().fit(examples.take(fold != 0), 10, 5, "cpu")
    log_probs = Convnet().predict(state, examples.take(fold == 0), 10, "cpu")
    assert (log_probs[0].argmax(axis=1) == truth[fold == 0]).mean() >= 0.97
    assert len(state.info["held_out_accuracy"]) == 16


def test_the_same_arguments_give_the_same_bits_also_beside_another_training() -> None:
    examples, _ = digits(300)
    alone = bits(QUICK.fit(examples, 10, 1, "cpu"))
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(lambda seed: bits(QUICK.fit(examples, 10, seed, "cpu")), [1, 2, 1, 2]))
    assert beside[0] == beside[2] == alone
    assert beside[1] == beside[3] != alone


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    examples, _ = digits(100)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = bits(QUICK.fit(examples, 10, 0, "cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert bits(QUICK.fit(examples, 10, 0, "cpu")) == first


def test_a_rows_answer_does_not_depend_on_the_others() -> None:
    examples, _ = digits(400)
    state = QUICK.fit(examples, 10, 0, "cpu")
    whole = QUICK.predict(state, examples, 10, "cpu")[0]
    for part in in_parts(400):
        assert QUICK.predict(state, examples.take(part), 10, "cpu")[0].tobytes() == whole[part].tobytes()


def test_rows_held_out_choose_but_do_not_teach() -> None:
    examples, _ = digits(300)
    held_out = seeds.uniform(examples.keys, 9) < 0.1
    assert 10 < held_out.sum() < 60
    teacher = QUICK.model_copy(update={"epochs": 1})  # one checkpoint: nothing to choose
    state = teacher.fit(examples, 10, 9, "cpu")
    assert state.info["held_out"] == held_out.sum()
    assert examples.images is not None
    for blank, same in [(held_out, True), (~held_out, False)]:
        images = np.where(blank[:, None, None, None], 0, examples.images).astype(np.uint8)
        other = teacher.fit(replace(examples, images=images), 10, 9, "cpu")
        assert (bits(other) == bits(state)) is same


def test_steps_follow_the_rows_between_their_bounds() -> None:
    teacher = Convnet(epochs=10, batch_size=64, min_steps=200, max_steps=2000)
    assert [teacher.steps(n) for n in (10, 6400, 6401, 10**6)] == [200, 1000, 1010, 2000]
    with pytest.raises(ValidationError, match="min_steps is 300, must be at most max_steps, 200"):
        Convnet(min_steps=300, max_steps=200)


def test_the_latest_checkpoint_within_one_standard_error_of_the_best_is_kept() -> None:
    accuracies = [0.5, 0.9, 0.8, 0.7]
    assert best(accuracies, 9) == 2  # one standard error of .9 on 9 rows is .1
    assert best(accuracies, 10_000) == 1
    assert best([0.0, 0.0], 0) == 1  # nothing held out: the last
    assert best([], 0) == -1


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    assert (rate(0.1), rate(0.2), rate(1.0)) == (0.5, 1.0, 0.0)
    assert rate(0.6) == pytest.approx(0.5)


def test_augmentation_shifts_by_a_pixel_over_zeros_and_mirrors_only_when_asked() -> None:
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    padded = np.pad(image[0, :, :, 0], 1)
    shifts = {padded[i : i + 3, j : j + 3].tobytes() for i in range(3) for j in range(3)}
    mirrored = {np.fliplr(np.frombuffer(s, np.uint8).reshape(3, 3)).tobytes() for s in shifts}
    for flip, expected in [(False, shifts), (True, shifts | mirrored)]:
        views = augment(image.repeat(500, axis=0), flip, torch.Generator().manual_seed(0))
        assert {view.numpy().tobytes() for view in views} == expected


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (20, 31, 3)])
def test_images_of_any_usual_shape_reach_the_blocks_at_8_to_16_positions_a_side(
    shape: tuple[int, int, int],
) -> None:
    stem = ResNet(shape, 4, 2).stem(torch.zeros(1, shape[2], *shape[:2]))
    assert 8 <= stem.shape[2] <= 20
    examples = pictures(shape)
    state = QUICK.fit(examples, 2, 0, "cpu")
    assert np.isfinite(QUICK.predict(state, examples, 2, "cpu")).all()


def test_an_absent_class_gets_a_millionth() -> None:
    examples = pictures((8, 8, 1))
    state = QUICK.fit(replace(examples, labels=examples.labels * 3), 5, 0, "cpu")
    probs = np.exp(QUICK.predict(state, examples, 5, "cpu")[0].astype(np.float64))
    np.testing.assert_allclose(probs[:, [1, 2, 4]], 1e-6, rtol=1e-4)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("n", [1, 5])
def test_one_class_few_rows_and_constant_images_are_legal(n: int) -> None:
    examples = pictures((8, 8, 1), n)
    constant = replace(examples, images=np.full((n, 8, 8, 1), 7, np.uint8), labels=np.full(n, 2, np.int32))
    probs = np.exp(QUICK.predict(QUICK.fit(constant, 3, 0, "cpu"), constant, 3, "cpu")[0])
    np.testing.assert_allclose(probs, np.tile([1e-6, 1e-6, 1], (n, 1)), rtol=1e-4)
    assert np.isfinite(QUICK.predict(QUICK.fit(examples, 3, 0, "cpu"), examples, 3, "cpu")).all()


def test_no_rows_are_judged_to_no_rows_and_teach_nothing() -> None:
    examples = pictures((8, 8, 1))
    none = examples.take(np.arange(0))
    assert QUICK.predict(QUICK.fit(examples, 2, 0, "cpu"), none, 2, "cpu").shape == (1, 0, 2)
    with pytest.raises(BadTraining, match="no labelled rows"):
        QUICK.fit(none, 2, 0, "cpu")


def test_missing_images_and_another_shape_are_named() -> None:
    examples = pictures((8, 8, 1))
    state = QUICK.fit(examples, 2, 0, "cpu")
    with pytest.raises(BadTraining, match="these rows have none"):
        QUICK.fit(replace(examples, images=None), 2, 0, "cpu")
    with pytest.raises(BadTraining, match=r"learned from images of \(8, 8, 1\) and is shown \(9, 9, 1\)"):
        QUICK.predict(state, pictures((9, 9, 1)), 2, "cpu")


def test_what_it_learned_survives_being_stored() -> None:
    examples, _ = digits(100)
    state = QUICK.fit(examples, 10, 0, "cpu")
    stored = State(load(save(state.arrays)), json.loads(json.dumps(state.info)))
    before, after = (QUICK.predict(s, examples, 10, "cpu") for s in (state, stored))
    assert before.tobytes() == after.tobytes()


def test_going_on_from_an_earlier_network_costs_a_twentieth_and_keeps_what_it_knew() -> None:
    examples, truth = digits(noise=0.08)
    fold = seeds.folds_of(examples.keys, 4)
    train, judged = examples.take(fold != 0), fold == 0
    teacher = Convnet()
    start = teacher.fit(train.take(np.arange(0, len(train) * 9 // 10)), 10, 5, "cpu")
    warm = teacher.fit(train, 10, 6, "cpu", Start(start, 0.01))
    assert warm.info["steps"] <= 0.06 * start.info["steps"]
    accuracies = [
        (teacher.predict(state, examples.take(judged), 10, "cpu")[0].argmax(axis=1) == truth[judged]).mean()
        for state in (start, warm)
    ]
    assert accuracies[1] >= accuracies[0] - 0.01
    assert bits(warm) != bits(start)
    assert bits(teacher.fit(train, 10, 6, "cpu", Start(start, 0.01))) == bits(warm)


def test_the_more_is_new_the_longer_a_network_goes_on() -> None:
    examples, _ = digits(100)
    teacher = Convnet(epochs=20, min_steps=100, max_steps=100, width=4, batch_size=16)
    start = teacher.fit(examples, 10, 0, "cpu")
    steps = [teacher.fit(examples, 10, 0, "cpu", Start(start, new)).info["steps"] for new in (0, 0.1, 0.5, 1)]
    assert steps == [5, 20, 100, 100]


def test_rows_that_chose_the_checkpoint_never_train_a_network_that_goes_on() -> None:
    examples, _ = digits(200)
    start = QUICK.fit(examples, 10, 3, "cpu")
    warm = QUICK.fit(examples, 10, 4, "cpu", Start(start, 0.01))
    assert warm.info["split"] == start.info["split"] == 3
    aside = seeds.uniform(examples.keys, 3) < 0.1
    assert warm.info["held_out"] == aside.sum() > 0
    assert examples.images is not None
    images = np.where(aside[:, None, None, None], 255 - examples.images, examples.images)
    other = QUICK.fit(replace(examples, images=images), 10, 4, "cpu", Start(start, 0.01))
    assert warm.info["kept"] == other.info["kept"] == 0  # one checkpoint, so it cannot be another
    assert bits(other) == bits(warm)


def test_a_class_that_is_new_to_an_earlier_network_is_learned_beside_those_it_knew() -> None:
    examples, _ = digits(600)
    few, all_ten = examples.take(examples.labels < 7), examples
    teacher = Convnet(epochs=8, min_steps=100, max_steps=100, width=8, batch_size=32)
    start = teacher.fit(few, 10, 0, "cpu")
    weights = over_classes(_weights(start), start.arrays["classes"], np.arange(2, 10))
    assert weights["head.weight"][:5].tobytes() == start.arrays["head.weight"][2:].tobytes()
    assert not weights["head.weight"][5:].any()
    assert not weights["head.bias"][5:].any()
    warm = teacher.fit(all_ten, 10, 0, "cpu", Start(start, 0.3))
    assert warm.arrays["classes"].tolist() == list(range(10))
    assert np.isfinite(teacher.predict(warm, all_ten, 12, "cpu")).all()


def test_a_network_of_one_class_is_nothing_to_go_on_from() -> None:
    examples = pictures((8, 8, 1))
    lone = QUICK.fit(replace(examples, labels=np.zeros(40, np.int32)), 2, 1, "cpu")
    assert (
        QUICK.fit(examples, 2, 1, "cpu", Start(lone, 0.5)).info["steps"]
        == QUICK.fit(examples, 2, 1, "cpu").info["steps"]
    )


def marks(examples: Examples) -> np.ndarray:
    return marks_of(examples.keys, examples.labels)


def test_how_each_row_was_learned_is_kept_of_those_that_trained_it() -> None:
    examples, _ = digits(300)
    state = QUICK.fit(examples, 10, 9, "cpu")
    held_out = seeds.uniform(examples.keys, 9) < 0.1
    assert not np.isin(state.arrays[MARKS], marks(examples.take(held_out))).any()
    assert np.isin(state.arrays[MARKS], marks(examples)).all()
    area, forgotten, shown = state.arrays[DYNAMICS].T
    assert shown.sum() == 12 * 32
    assert np.isfinite(area).all()
    assert (forgotten <= shown).all()


def test_the_first_margins_are_those_of_a_network_that_knows_nothing() -> None:
    """A head of zeros gives every class the same logit: no row is right, and each margin is 0."""
    examples, _ = digits(300)
    once = QUICK.model_copy(update={"min_steps": 1, "max_steps": 1, "epochs": 1})
    dynamics = once.fit(examples, 10, 9, "cpu").arrays[DYNAMICS]
    assert dynamics.tolist() == [[0, 1, 1]] * 32


def test_what_is_kept_beside_the_weights_is_no_weight() -> None:
    examples, _ = digits(100)
    state = QUICK.fit(examples, 10, 0, "cpu")
    weights = {name for name in state.arrays if name not in (*NAMES, "classes")}
    assert set(_weights(state)) == weights == set(ResNet((8, 8, 1), 8, 10).state_dict())
    bare = State({name: array for name, array in state.arrays.items() if name not in NAMES}, state.info)
    again, from_bare = (QUICK.fit(examples, 10, 1, "cpu", Start(start, 1.0)) for start in (state, bare))
    assert bits(State(_weights(again), {})) == bits(State(_weights(from_bare), {}))
    assert (
        QUICK.predict(state, examples, 10, "cpu").tobytes()
        == QUICK.predict(bare, examples, 10, "cpu").tobytes()
    )


def test_a_network_that_goes_on_counts_on_for_the_rows_it_still_has() -> None:
    examples, _ = digits(200)
    start = QUICK.fit(examples, 10, 3, "cpu")
    fewer = examples.take(np.arange(150))
    warm = QUICK.fit(fewer, 10, 4, "cpu", Start(start, 0.01))
    assert np.isin(warm.arrays[MARKS], marks(fewer)).all()
    both = np.isin(start.arrays[MARKS], marks(fewer))
    assert warm.arrays[MARKS].tolist() == start.arrays[MARKS][both].tolist()
    added = warm.arrays[DYNAMICS][:, 2] - start.arrays[DYNAMICS][both, 2]
    assert (added >= 0).all()
    assert added.sum() == warm.info["steps"] * QUICK.batch_size


def test_a_network_of_one_class_saw_nothing() -> None:
    examples = pictures((8, 8, 1))
    lone = QUICK.fit(replace(examples, labels=np.zeros(40, np.int32)), 2, 1, "cpu")
    assert lone.arrays[MARKS].shape == (0,)
    assert lone.arrays[DYNAMICS].shape == (0, 3)
