"""Soft labels as the k largest probabilities and the rest's sum: bytes a label, and what a student loses.

Storage is that of Shen & Xing, "A Fast Knowledge Distillation Framework for Visual Recognition", ECCV 2022
(their marginal smoothing: the remaining mass is spread evenly over the classes that are not listed), with
the given label's probability beside it. Bytes are those of the file that the store writes: five teachers
of CIFAR-10N (from where WINNOW_DATA says), and a made set of 1,000 classes. Students are the report's
perceptron, trained on what is read back, dense or as the argmax alone: on scikit-learn's digits with 8%
wrong labels, taught by logistic regression out of sample, where ten classes leave little to lose; and on
the made set, six rows a class and taught by the true posterior, which is flat on purpose: there the tail
says what the labels of so few rows cannot. They are judged by true labels on rows that nobody trained on.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from benchmarks._data import existing
from benchmarks.figures import Figure
from storage import parquet
from storage.tables import conform
from tasks.data import ONE, Examples, SoftLabels
from tasks.report.student import Student, held_out
from tasks.seeds import folds_of, mix, uniform
from tasks.stages.base import by_row
from tasks.teach.rowwise import one_thread

TOP = (1, 2, 5, 10)
LABEL_COLUMNS = ("classes", "weights", "given_weight", "tail")
SEEDS = 3
ROWS, CLASSES, DIMENSIONS, SPREAD = 6000, 1000, 64, 2.0
"""The made set: rows about the corners of 1,000 classes, so wide that even who knows the corners errs."""


def run(progress: Progress) -> list[Figure]:
    with one_thread():
        teachers, labels = cifar10n()
        digits, made = taught_digits(), made_set()
        noisy = np.where(flips(made[0].keys), (made[2] + 1) % CLASSES, made[2]).astype(np.int32)
        return [
            *stored("CIFAR-10N", teachers, labels, TOP),
            *stored("1,000 classes", {"posterior": made[1]}, noisy, (*TOP, CLASSES)),
            *students("digits", *digits, Student(), "≥ -0.3", progress),
            *students("1,000 classes", *made, Student(steps=600), None, progress),
        ]


def stored(
    name: str, opinions: dict[str, np.ndarray], labels: np.ndarray, top: tuple[int, ...]
) -> list[Figure]:
    """Bytes a soft label at each k: what says the label, and with ids, names and folds all of the file."""
    n, k = next(iter(opinions.values())).shape
    dense = sum(len(written(floats(probs))) for probs in opinions.values()) / (n * len(opinions))
    figures = [Figure(f"{name}: all {k} as float32", dense, "bytes")]
    ids = np.array([f"row-{i:06}" for i in range(n)], object)
    for kept in top:
        soft = [SoftLabels.from_pred_probs(ids, labels, probs, kept) for probs in opinions.values()]
        folds = np.full(n, -1, np.int16)
        table = by_row([s.to_arrow(teacher, folds) for teacher, s in zip(opinions, soft, strict=True)])
        file = written(conform(table, "soft_labels"))
        figures += [
            Figure(
                f"{name}: top {kept}, the label", label_bytes(file) / len(table), "bytes", f"≤ {6 * kept + 4}"
            ),
            Figure(f"{name}: top {kept}, all columns", len(file) / len(table), "bytes"),
            Figure(f"{name}: top {kept}, mean tail", float(np.mean([s.tail.mean() for s in soft])) / ONE),
        ]
    return figures


def floats(probs: np.ndarray) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(probs, np.float32).reshape(-1))
    return pa.table(
        {"p": pa.FixedSizeListArray.from_arrays(flat, probs.shape[1]).cast(pa.list_(pa.float32()))}
    )


def written(table: pa.Table) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    parquet.write(table, stream)
    return stream.getvalue()


def label_bytes(file: pa.Buffer) -> int:
    """Compressed bytes of the columns that hold probabilities."""
    footer = pq.ParquetFile(pa.BufferReader(file)).metadata
    columns = [
        footer.row_group(g).column(c) for g in range(footer.num_row_groups) for c in range(footer.num_columns)
    ]
    return sum(
        c.total_compressed_size for c in columns if c.path_in_schema.partition(".")[0] in LABEL_COLUMNS
    )


def students(
    name: str,
    rows: Examples,
    probs: np.ndarray,
    truth: np.ndarray,
    student: Student,
    goal: str | None,
    progress: Progress,
) -> list[Figure]:
    """Accuracy with dense labels, and what stored ones and the argmax alone add to it, in points. The
    goal is for the top 5: the published loss on ImageNet is less."""
    aside, k = held_out(rows.keys), probs.shape[1]
    targets = {"dense": probs, "argmax alone": np.eye(k, dtype=np.float32)[probs.argmax(axis=1)]}
    targets |= {f"top {kept}": read_back(rows, probs, kept) for kept in TOP}
    train, test = rows.take(~aside), rows.take(aside)
    accuracy = {}
    for arm, wanted in progress.track(targets.items(), description=f"students of {name}"):
        learned = wanted[~aside]
        runs = [student.accuracy(train, learned, test, truth[aside], k, seed, "cpu") for seed in range(SEEDS)]
        accuracy[arm] = float(np.mean(runs))
    dense = accuracy.pop("dense")
    gains = {arm: round(100 * (mean - dense), 6) for arm, mean in accuracy.items()}
    return [
        Figure(f"{name}: student on dense labels, mean of {SEEDS} seeds", dense),
        *(
            Figure(f"{name}: student on {arm}", gain, "points", goal if arm == "top 5" else None)
            for arm, gain in gains.items()
        ),
    ]


def read_back(rows: Examples, probs: np.ndarray, kept: int) -> np.ndarray:
    """The probabilities as they come out of storage, each row's sum brought to 1 as the report does it."""
    decoded = SoftLabels.from_pred_probs(rows.ids, rows.labels, probs, kept).pred_probs()
    return np.asarray(decoded / decoded.sum(axis=1, keepdims=True))


def cifar10n() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each teacher's probabilities, (50000, 10) float32, and the given labels."""
    table = pq.read_table(existing("cifar10n/teachers.parquet"))
    names = [name for name in table.column_names if pa.types.is_list(table[name].type)]
    probs = {name: table[name].combine_chunks().flatten().to_numpy().reshape(-1, 10) for name in names}
    return probs, table["label"].to_numpy()


def taught_digits() -> tuple[Examples, np.ndarray, np.ndarray]:
    """Digits under given labels, logistic regression's probabilities of each out of sample, the truth."""
    from sklearn.datasets import load_digits

    from tasks.teach.linear import Linear

    images, truth = load_digits(return_X_y=True)
    rows = examples(images.astype(np.float32) / 16, truth)
    given = np.where(flips(rows.keys, 0.08), (truth + 1) % 10, truth).astype(np.int32)
    rows = Examples(rows.ids, rows.keys, given, embedding=rows.embedding)
    folds, teacher = folds_of(rows.keys, 4), Linear(c=0.1)
    probs = np.zeros((len(rows), 10), np.float32)
    for fold in range(4):
        state = teacher.fit(rows.take(folds != fold), 10, fold, "cpu")
        probs[folds == fold] = np.exp(teacher.predict(state, rows.take(folds == fold), 10, "cpu")[0])
    return rows, probs, truth


def made_set() -> tuple[Examples, np.ndarray, np.ndarray]:
    """Normal rows about 1,000 corners, the true probabilities of every class, the class they come from."""
    random = np.random.Generator(np.random.PCG64(0))
    corners = random.standard_normal((CLASSES, DIMENSIONS))
    truth = random.integers(0, CLASSES, ROWS)
    points = corners[truth] + SPREAD * random.standard_normal((ROWS, DIMENSIONS))
    logits = (points @ corners.T - (corners**2).sum(axis=1) / 2) / SPREAD**2
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (
        examples(points.astype(np.float32), truth),
        (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
        truth,
    )


def examples(points: np.ndarray, labels: np.ndarray) -> Examples:
    n = len(points)
    keys = mix(np.arange(n, dtype=np.uint64), 1)
    ids = np.array([str(i) for i in range(n)], object)
    return Examples(ids, keys, labels.astype(np.int32), embedding=points)


def flips(keys: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Which labels are made wrong, (n,) bool."""
    return uniform(keys, 2) < share
