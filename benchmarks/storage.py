"""Stored draws: bytes at 1,000 classes, draws encoded and decoded a second, what a student loses to k = 3.

Storage is that of Shen & Xing, "A Fast Knowledge Distillation Framework for Visual Recognition", ECCV 2022:
the k largest probabilities and the sum of the rest, here as 16-bit integers in the files that the store
writes. The 1,000 probabilities are generated: a softmax of normal logits, the true class ahead by a margin
that varies, so that confidence and tail are about those of an ImageNet teacher. Transforms are those that
the reinforcers draw for 224 x 224 images; Faghri et al. (ICCV 2023) store about 73 bytes a draw of ten
probabilities with RandAugment and erasing (their released files by their number of draws). Students are
the report's perceptron on Fashion-MNIST (from where WINNOW_DATA says), taught by logistic regression out of
sample, with the same seeds for every form of the labels, and judged on the test set.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from rich.progress import Progress

from benchmarks._data import fashion_mnist
from benchmarks.figures import Figure
from benchmarks.soft_label_bytes import label_bytes, read_back, written
from storage.tables import conform
from tasks.data import ONE, Examples, SoftLabels, array_to_lists
from tasks.reinforce import Reinforcer
from tasks.reinforce.crops import Crops
from tasks.reinforce.reinforce import DatasetReinforcement
from tasks.report.student import Student
from tasks.seeds import folds_of, mix
from tasks.stages.reinforce import as_struct
from tasks.teach.linear import Linear
from tasks.teach.rowwise import one_thread

CLASSES, TOP, ROWS, DRAWS = 1000, 5, 4000, 8
SPREAD, MARGIN, MARGIN_SPREAD = 2.5, 13.5, 4.0
"""Of the generated logits: between wrong classes, and how far the true one is ahead."""
ROUNDS, SEEDS, FOLDS = 5, 3, 4
STUDENT = Student(steps=1500)


def run(progress: Progress) -> list[Figure]:
    with one_thread():
        probs = generated()
        few = np.random.default_rng(1).dirichlet(np.full(10, 0.2), 200_000).astype(np.float32)
        return [
            *stored(probs),
            *rates("1,000 classes, k = 5", probs[:20_000], TOP),
            *rates("10 classes, k = 3", few, 3),
            *students(progress),
        ]


def generated() -> np.ndarray:
    """Probabilities of every draw, float32 (ROWS * DRAWS, CLASSES), the draws of a row about one class."""
    random = np.random.Generator(np.random.PCG64(0))
    truth = np.repeat(random.integers(0, CLASSES, ROWS), DRAWS)
    logits = SPREAD * random.standard_normal((len(truth), CLASSES), np.float32)
    ahead = MARGIN + MARGIN_SPREAD * random.standard_normal(len(truth), np.float32)
    logits[np.arange(len(truth)), truth] += ahead
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def encoded(probs: np.ndarray, k: int) -> SoftLabels:
    """As reinforce stores them: nothing is told of a given label."""
    nobody = np.full(len(probs), -1, np.int32)
    return SoftLabels.from_pred_probs(np.zeros(len(probs), object), nobody, probs, k)


def stored(probs: np.ndarray) -> list[Figure]:
    """Bytes a draw: of what says the target, and of the whole row by reinforcer."""
    soft = encoded(probs, TOP)
    named = "1,000 classes, k = 5"
    figures = [
        Figure(f"{named}: mean largest probability", float(probs.max(axis=1).mean())),
        Figure(f"{named}: mean tail", float(soft.tail.mean()) / ONE),
    ]
    whole = []
    for reinforcer in (
        Crops(flip=True),
        DatasetReinforcement(flip=True, mixup=0, cutmix=0),
        DatasetReinforcement(flip=True),
    ):
        file = written(conform(draws_of(reinforcer, soft), "reinforcements"))
        mixing = " with mixing" if reinforcer.mixes else ""
        whole.append(Figure(f"all of a draw of {reinforcer.kind}{mixing}", len(file) / len(soft), "bytes"))
    target = label_bytes(file) / len(soft)
    return [*figures, Figure(f"{named}: a draw's target", target, "bytes", "≤ 24"), *whole]


def draws_of(reinforcer: Reinforcer, soft: SoftLabels) -> pa.Table:
    """Rows of the table, for photographs."""
    random = np.random.Generator(np.random.PCG64(2))
    keys = mix(np.arange(ROWS, dtype=np.uint64), 1)
    names = [hashlib.sha256(str(key).encode()).hexdigest()[:32] for key in keys.tolist()]
    transforms = reinforcer.sample(keys, (224, 224, 3), 0)
    owners, partner = np.repeat(np.arange(ROWS), DRAWS), random.integers(0, ROWS, ROWS * DRAWS)
    alone = transforms["partner_draw"] < 0 if "partner_draw" in transforms else np.ones(len(owners), bool)
    ids = pa.array(names, pa.string())
    return pa.table(
        {
            "id": ids.take(pa.array(owners)),
            "draw": pa.array(np.tile(np.arange(DRAWS, dtype=np.int16), ROWS)),
            "transform": as_struct(transforms, len(owners)),
            "partner": ids.take(pa.array(partner, mask=alone)),
            "classes": array_to_lists(soft.classes),
            "weights": array_to_lists(soft.weights),
            "tail": pa.array(soft.tail),
        }
    )


def rates(name: str, probs: np.ndarray, k: int) -> list[Figure]:
    """Draws a second of one thread's processor time, from dense probabilities to what is stored and back."""
    soft = encoded(probs, k)
    both = {"encoded": lambda: encoded(probs, k), "decoded": soft.pred_probs}
    return [
        Figure(f"{name}: draws {word} a second", len(probs) / median_seconds(work), "draws", "≥ 500000")
        for word, work in both.items()
    ]


def median_seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def students(progress: Progress) -> list[Figure]:
    """What stored labels add to a student's accuracy on Fashion-MNIST, in points, seed by seed the same."""
    train, test = (pixels_of(split) for split in ("train", "test"))
    folds, teacher = folds_of(train.keys, FOLDS), Linear()
    dense = np.zeros((len(train), 10), np.float32)
    for fold in progress.track(range(FOLDS), description="teachers of Fashion-MNIST"):
        state = teacher.fit(train.take(folds != fold), 10, fold, "cpu")
        mine = folds == fold
        dense[mine] = np.exp(teacher.predict(state, train.take(mine), 10, "cpu")[0])
    nobody = Examples(train.ids, train.keys, np.full(len(train), -1, np.int32), embedding=train.embedding)
    targets = {"dense": dense} | {f"k = {k}": read_back(nobody, dense, k) for k in (1, 3)}
    accuracy: dict[str, list[float]] = {arm: [] for arm in targets}
    for seed in progress.track(range(SEEDS), description="students of Fashion-MNIST"):
        for arm, wanted in targets.items():
            found = STUDENT.accuracy(train, wanted, test, test.labels, 10, seed, "cpu")
            accuracy[arm].append(found)
    means = {arm: statistics.mean(found) for arm, found in accuracy.items()}
    return [
        Figure(f"Fashion-MNIST: student on dense labels, mean of {SEEDS} seeds", means["dense"]),
        *(
            Figure(
                f"Fashion-MNIST: student on {arm} of 10",
                round(100 * (means[arm] - means["dense"]), 6),
                "points",
                "≥ -0.2" if arm == "k = 3" else None,
            )
            for arm in list(means)[1:]
        ),
    ]


def pixels_of(split: str) -> Examples:
    """Fashion-MNIST's pixels as 0..1."""
    ids, images, labels = fashion_mnist(split)
    keys = mix(np.arange(len(ids), dtype=np.uint64), 1)
    return Examples(ids, keys, labels, embedding=(images.reshape(-1, 784) / 255).astype(np.float32))
