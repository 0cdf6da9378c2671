"""confident_learning beside cleanlab: the same flags and scores on the same stored probabilities.

Every mode, on the six opinions of CIFAR-10N (WINNOW_DATA says where), on digits and on 1,000 random small
inputs: absent, single-row and never-predicted classes, zeros, one-hot rows, ties. cleanlab reads what
the soft labels decode to. Rows that are equal at a cut are counted, not left out; so are inputs that
cleanlab refuses, with what winnow does there, and the one score that differs on purpose: a teacher that is
certain of the given label gives 1, where cleanlab's entropy score is 0.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from rich.progress import Progress

from benchmarks._data import existing
from benchmarks.figures import Figure
from tasks.data import Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.confident_learning import ConfidentLearning
from tasks.detect.cuts import PRUNING
from tasks.detect.quality import quality

MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)
SCORES = get_args(ConfidentLearning.model_fields["score"].annotation)
SHARD_ROWS = 8192
INPUTS = 1000


def run(progress: Progress) -> list[Figure]:
    import cleanlab

    peer = f"cleanlab {cleanlab.__version__}"
    sets = {"CIFAR-10N": cifar10n(), "digits": digits(), "random inputs": random_inputs()}
    totals = {"CIFAR-10N": 6, "digits": 1, "random inputs": INPUTS}
    figures = []
    for name, inputs in sets.items():
        tally = Tally()
        for number, soft in enumerate(progress.track(inputs, totals[name], description=name)):
            options = {"min_examples_per_class": (1, 0, 5)[number % 3]} if name == "random inputs" else {}
            compare(soft, options, (1.0, 0.5)[number % 2] if options else 1.0, tally)
        figures += tally.figures(name, peer)
    return figures


@dataclass
class Tally:
    """What came of a set of inputs."""

    same: int = 0
    compared: int = 0
    at_a_cut: int = 0
    flagged: int = 0
    largest: float = 0.0
    certain: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    raised: int = 0

    def figures(self, name: str, peer: str) -> list[Figure]:
        refused = [
            Figure(
                f"{name}: cleanlab raises, winnow flags nothing and says why: {why}",
                count,
                "inputs and modes",
            )
            for why, count in sorted(self.refused.items())
        ]
        return [
            Figure(
                f"{name}: the same index set", self.same, f"of {self.compared}", f"= {self.compared}", peer
            ),
            Figure(f"{name}: largest difference of a score", self.largest, "", "≤ 0.000001", peer),
            Figure(f"{name}: exceptions", self.raised, "", "= 0"),
            Figure(f"{name}: rows flagged, all modes", self.flagged, "rows"),
            Figure(f"{name}: inputs and modes with a flagged row equal to others at a cut", self.at_a_cut),
            Figure(f"{name}: rows whose teacher is certain of the label (score 1)", self.certain, "rows"),
            *refused,
        ]


def compare(soft: SoftLabels, options: dict[str, int], share: float, tally: Tally) -> None:
    """One input in every mode and with every score."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    pred_probs, window = soft.pred_probs(), window_of(soft)
    for mode in MODES:
        chosen = {"filter_by": mode, **options} | ({"frac_noise": share} if mode in PRUNING else {})
        try:
            ours, tied, notes = flagged(ConfidentLearning(**chosen), window)
        except Exception as error:  # counted: the goal is that there is none
            tally.raised += 1
            warnings.warn(f"{mode}: {error}", stacklevel=1)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with few rows, which are wanted here
            try:
                theirs = find_label_issues(soft.labels, pred_probs, n_jobs=1, **chosen)
            except ValueError as error:
                sensible = not ours.any() and bool(notes)
                tally.refused[str(error) if sensible else f"not so: {error}"] += 1
                continue
        tally.compared += 1
        tally.same += np.array_equal(ours, theirs)
        tally.flagged += int(ours.sum())
        tally.at_a_cut += tied
    certain = pred_probs[np.arange(len(soft)), soft.labels] >= 1
    tally.certain += int(certain.sum())
    for score in SCORES:
        theirs = np.clip(get_label_quality_scores(soft.labels, pred_probs, method=score), 0, 1)
        apart = np.abs(quality(soft.labels, pred_probs, score) - theirs)[~certain]
        tally.largest = max(tally.largest, float(apart.max(initial=0.0)))


def window_of(soft: SoftLabels) -> Window:
    """As several shards."""
    starts = range(0, len(soft), min(SHARD_ROWS, max(1, len(soft) // 2)))
    step = starts.step
    return Window.of(
        *(
            Labelled(part.ids, np.arange(len(part), dtype=np.uint64), np.ones(len(part), dtype=bool), part)
            for part in (soft.take(np.arange(start, min(start + step, len(soft)))) for start in starts)
        )
    )


def flagged(detector: ConfidentLearning, window: Window) -> tuple[np.ndarray, bool, list[str]]:
    """The flags of all rows, whether some were equal to others at a cut, and the notes."""
    state = detector.fit(window)
    found = [detector.apply(shard, state, window).is_issue for shard in window]
    return np.concatenate(found), any(state.info["tied"].values()), state.info["notes"]


def stored(labels: np.ndarray, pred_probs: np.ndarray, top_k: int = 10) -> SoftLabels:
    ids = np.array([f"row{i}" for i in range(len(labels))], dtype=object)
    return SoftLabels.from_pred_probs(ids, labels, pred_probs, top_k)


def cifar10n() -> Iterator[SoftLabels]:
    """Five teachers and their mean: 50,000 rows, ten classes."""
    import pyarrow.parquet as pq

    table = pq.read_table(existing("cifar10n/teachers.parquet"))
    labels = table["label"].to_numpy()
    names = [name for name in table.column_names if name not in ("id", "label", "true_label")]
    opinions = []
    for name in names:
        flat = table[name].combine_chunks().flatten().to_numpy()
        opinions.append(flat.reshape(len(labels), -1))
        yield stored(labels, opinions[-1])
    yield stored(labels, np.mean(opinions, axis=0))


def digits() -> Iterator[SoftLabels]:
    """1,797 rows, 8% of the labels moved to another class, judged by a cross-fitted linear model."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(len(truth)) < 0.08, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
    model = LogisticRegression(C=0.05, max_iter=300)
    yield stored(labels, cross_val_predict(model, x / 16, labels, cv=4, method="predict_proba"))


def random_inputs() -> Iterator[SoftLabels]:
    for seed in range(INPUTS):
        rng = np.random.default_rng(seed)
        k, n = int(rng.integers(2, 12)), int(rng.integers(2, 200))
        present = rng.choice(k, size=int(rng.integers(1, k + 1)), replace=False)
        labels = rng.choice(present, size=n)
        labels[0] = rng.integers(k)  # often the only row of its class
        pred_probs = rng.dirichlet(np.full(k, rng.choice([0.05, 0.3, 1.0])), n)
        pred_probs[np.arange(n), labels] += rng.choice([0.0, 0.5, 2.0])
        if rng.random() < 0.5:
            pred_probs[:, rng.integers(k)] = 0.0  # a class that is never predicted
        pred_probs += 1e-300
        pred_probs /= pred_probs.sum(axis=1, keepdims=True)
        if seed % 2:  # so coarse that many are equal
            steps = rng.choice([4, 10, 100])
            pred_probs = np.round(pred_probs * steps) / steps
        yield stored(labels, pred_probs, top_k=int(rng.integers(1, k + 2)))
