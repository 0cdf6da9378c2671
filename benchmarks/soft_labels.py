"""What int16 soft labels and winnow's detector cost against float32 and cleanlab, on real digits.

A fifth of the labels of scikit-learn's digits is moved to the next class; a linear teacher judges
rows that it never saw. The rows are repeated to make times measurable, and winnow and cleanlab run
in turn, so that the figures are ratios of medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from benchmarks.figures import Figure
from tasks.data import SoftLabels
from tasks.detect.confident_learning import ConfidentLearning

ROUNDS = 7
REPEATS = 40
NOISE = 0.2
MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)


def run(progress: Progress) -> list[Figure]:
    import cleanlab
    from cleanlab.filter import find_label_issues

    peer = f"cleanlab {cleanlab.__version__}"
    labels, wrong, pred_probs = judged_digits()
    soft = encode(labels, pred_probs)
    decoded = soft.pred_probs()
    same = 0
    for mode in progress.track(MODES, description="flags of every mode"):
        theirs = find_label_issues(labels, decoded, filter_by=mode, n_jobs=1)
        same += int(np.array_equal(flags(ConfidentLearning(filter_by=mode), soft), theirs))

    found = flags(ConfidentLearning(), soft)
    exact = find_label_issues(labels, pred_probs, n_jobs=1)
    many_labels, many_probs = np.tile(labels, REPEATS), np.tile(pred_probs, (REPEATS, 1))
    many = encode(many_labels, many_probs)
    ours, theirs_seconds = [], []
    for _ in progress.track(range(ROUNDS), description="winnow and cleanlab in turn"):
        ours.append(seconds(lambda: flags(ConfidentLearning(), many)))
        theirs_seconds.append(seconds(lambda: cleanlab_alone(many_labels, many_probs)))
    return [
        Figure("modes whose flags equal cleanlab's", same, f"of {len(MODES)}", f"= {len(MODES)}", peer),
        Figure(
            "flags shared with unrounded probabilities",
            float((found & exact).sum() / (found | exact).sum()),
            "",
            "≥ 0.98",
            peer,
        ),
        Figure("precision of the flags", float((found & wrong).sum() / found.sum()), "", "≥ 0.7"),
        Figure("recall of the flags", float((found & wrong).sum() / wrong.sum()), "", "≥ 0.8"),
        Figure(
            "bytes of stored soft labels, relative to float32",
            stored_bytes(soft) / stored_bytes(pred_probs),
            "",
            "< 1",
            "Parquet of dense float32, same compression",
        ),
        Figure(
            "seconds to decode, count, flag and score, relative to flagging and scoring",
            statistics.median(ours) / statistics.median(theirs_seconds),
            "",
            "≤ 2.5",
            peer,
        ),
    ]


def judged_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,) int64 with planted errors, which of them are wrong, and out-of-sample (n, 10) float32."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    images, truth = load_digits(return_X_y=True)
    wrong = np.random.Generator(np.random.PCG64(0)).random(len(truth)) < NOISE
    labels = np.where(wrong, (truth + 1) % 10, truth)
    teacher = LogisticRegression(C=0.05, max_iter=300)
    pred_probs = cross_val_predict(teacher, images / 16, labels, cv=4, method="predict_proba")
    return labels, wrong, pred_probs.astype(np.float32)


def encode(labels: np.ndarray, pred_probs: np.ndarray) -> SoftLabels:
    ids = np.arange(len(labels)).astype(str).astype(object)
    return SoftLabels.from_pred_probs(ids, labels, pred_probs, top_k=10)


def flags(detector: ConfidentLearning, soft: SoftLabels) -> np.ndarray:
    return detector.apply(soft, detector.fit([soft])).is_issue


def cleanlab_alone(labels: np.ndarray, pred_probs: np.ndarray) -> None:
    """What the detector asks of cleanlab, on probabilities that need no decoding."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    find_label_issues(labels, pred_probs, n_jobs=1)
    get_label_quality_scores(labels, pred_probs)


def stored_bytes(values: SoftLabels | np.ndarray) -> int:
    """Size as a zstd Parquet file, without ids."""
    if isinstance(values, SoftLabels):
        table = values.to_arrow("linear", np.zeros(len(values), np.int16)).drop_columns(["id"])
    else:
        table = pa.table({f"p{c}": values[:, c] for c in range(values.shape[1])})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return int(sink.getvalue().size)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
