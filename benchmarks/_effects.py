"""What the benchmark of the papers' effects works on: pictures, labels made wrong, and teachers.

Everything is in memory. Teachers are cross-fitted and calibrated as the stage teach does it, by content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from benchmarks._chain import CURATIONS
from benchmarks._cifar10n import TEACHERS
from benchmarks._data import existing, fashion_mnist
from tasks.config import load
from tasks.data import Examples, Labelled, SoftLabels, State, keys_of
from tasks.ingest.parquet import Parquet
from tasks.ingest.pixels import Pixels
from tasks.seeds import folds_of, seed_of
from tasks.stages.hashing import hashed
from tasks.teach import Teacher
from tasks.teach.convnet import Convnet
from tasks.teach.dynamics import DYNAMICS, MARKS, marks_of
from tasks.teach.linear import Linear
from tasks.teach.precomputed import Precomputed
from tasks.teach.stacked import Stacked
from tasks.teach.temperature import best_temperature, nll_grid, scale

CLASSES, FOLDS, SHARE = 10, 4, 0.2
"""SHARE of the labels is made wrong."""

NOISES = ("uniform", "asymmetric", "instance-dependent")
FASHION_ROWS = 6_000
LINEAR = Linear(c=0.1)


@dataclass(frozen=True)
class Pictures:
    """rows: with their true labels. mistaken_for: (k,) the class that each is mistaken for where errors are
    asymmetric. convnet: the teacher that reads the pictures; `LINEAR` reads their pixels."""

    name: str
    rows: Examples
    mistaken_for: np.ndarray
    convnet: Convnet


def digits() -> Pictures:
    """scikit-learn's digits; each class is mistaken for the next."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    return Pictures("digits", examples(images, found.target), np.roll(np.arange(CLASSES), -1), Convnet())


def fashion() -> Pictures:
    """The FASHION_ROWS pictures of Fashion-MNIST's training file whose content comes first; each class is
    mistaken for the one that `curations/fashion_mnist.yaml` says it resembles."""
    _, images, labels = fashion_mnist("train")
    rows = examples(images, labels)
    source = load(CURATIONS / "fashion_mnist.yaml").source
    assert isinstance(source, Parquet)
    assert source.planted_noise
    resembles = np.array([int(source.planted_noise.to[str(label)]) for label in range(CLASSES)])
    first = np.sort(np.argsort(rows.keys, kind="stable")[:FASHION_ROWS])
    return Pictures("fashion", rows.take(first), resembles, Convnet(epochs=8, flip=True))


def examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Pictures uint8 (n, height, width, 1) that go by their content, embedded as their pixels."""
    n = len(images)
    content = pa.table({"body": pa.array([image.tobytes() for image in images], pa.binary())})
    keys = keys_of(hashed(content, "sha256(body)"))
    ids = np.arange(n).astype(str).astype(object)
    rows = Examples(ids, keys, labels.astype(np.int32), images=images)
    return replace(rows, embedding=Pixels().encode(rows))


def corrupted(pictures: Pictures, noise: str, seed: int) -> np.ndarray:
    """The labels with a SHARE of them wrong, int32 (n,).

    uniform: rows at random, any other class. asymmetric: rows at random, the class that theirs is
    mistaken for. instance-dependent: the rows whose true class `second_look` finds least likely, the class
    that it finds likeliest instead.
    """
    truth, random = pictures.rows.labels, np.random.default_rng(seed)
    n, count = len(truth), round(SHARE * len(truth))
    if noise == "instance-dependent":
        probability, other = second_look(pictures.rows, seed)
        chosen = np.argsort(probability, kind="stable")[:count]
    else:
        chosen = random.choice(n, count, replace=False)
        uniform = (truth + random.integers(1, CLASSES, n)) % CLASSES
        other = uniform if noise == "uniform" else pictures.mistaken_for[truth]
    labels = truth.copy()
    labels[chosen] = other[chosen]
    return labels


def second_look(rows: Examples, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a model that is none of the teachers makes of the true labels, out of sample: the probability of
    each row's class (n,) and its likeliest other class (n,). A forest of shallow trees, weak on purpose."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    forest = RandomForestClassifier(n_estimators=50, max_depth=6, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    said = cross_val_predict(forest, rows.embedding, rows.labels, cv=folds, method="predict_proba")
    own = np.arange(len(rows)), rows.labels
    probability = said[own]
    said[own] = -1.0
    return probability, said.argmax(axis=1)


@dataclass(frozen=True)
class Lesson:
    """A cross-fitted teacher. log_probs: (n, k) float32, out of sample and calibrated. states: one a fold.
    temperature: for rows that none of the folds has."""

    log_probs: np.ndarray
    states: list[State]
    temperature: float


def cross_fitted(teacher: Teacher, rows: Examples, seed: int) -> Lesson:
    """Fold by fold; its temperature is that of the other folds, so that no row's label judges it."""
    folds = folds_of(rows.keys, FOLDS)
    said, grids, states = np.zeros((len(rows), CLASSES), np.float32), [], []
    for fold in range(FOLDS):
        mine = folds == fold
        states.append(teacher.fit(rows.take(~mine), CLASSES, seed_of(teacher.kind, seed, fold), "cpu"))
        said[mine] = teacher.predict(states[fold], rows.take(mine), CLASSES, "cpu")[0]
        grids.append(nll_grid(said[mine], rows.labels[mine]))
    whole = np.sum(grids, axis=0)
    for fold in range(FOLDS):
        said[folds == fold] = scale(said[folds == fold], best_temperature(whole - grids[fold]))
    return Lesson(said, states, best_temperature(whole))


def taught(pictures: Pictures, labels: np.ndarray, seed: int) -> Labelled:
    """The pictures with those labels as detectors see them, once both teachers have learned from them."""
    rows = replace(pictures.rows, labels=labels)
    linear, convnet = (cross_fitted(teacher, rows, seed) for teacher in (LINEAR, pictures.convnet))
    judged = stacked(rows, ("linear", "convnet"), np.stack([linear.log_probs, convnet.log_probs]))
    return replace(judged, embedding=rows.embedding, dynamics=learned(rows, convnet.states))


def stacked(rows: Examples, names: Sequence[str], log_probs: np.ndarray) -> Labelled:
    """Rows, each teacher's opinion (m, n, k) and the ensemble's."""
    ensemble = Stacked()
    together = ensemble.apply(names, log_probs, ensemble.fit(names, log_probs, rows.labels))
    soft, *opinions = (
        SoftLabels.from_pred_probs(rows.ids, rows.labels, probs, CLASSES)
        for probs in (together, *np.exp(log_probs))
    )
    return Labelled(rows.ids, rows.keys, np.ones(len(rows), dtype=bool), soft, tuple(opinions))


def learned(rows: Examples, states: Sequence[State]) -> np.ndarray:
    """How the networks that trained on each row learned it, the mean over them: (n, 2) float32."""
    wanted = marks_of(rows.keys, rows.labels)
    sums, counts = np.zeros((len(rows), 2)), np.zeros((len(rows), 1))
    for arrays in (state.arrays for state in states):
        at = np.minimum(np.searchsorted(arrays[MARKS], wanted), len(arrays[MARKS]) - 1)
        known = arrays[MARKS][at] == wanted
        sums[known] += arrays[DYNAMICS][at[known], :2]
        counts[known] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def cifar10n() -> tuple[Labelled, np.ndarray]:
    """CIFAR-10N: people's labels and five networks' opinions, and the true labels int32 (n,)."""
    import pyarrow.parquet as pq

    path = existing("cifar10n/teachers.parquet")
    table = pq.read_table(path, columns=["id", "label", "true_label"])
    ids = table["id"].to_numpy()
    keys = keys_of(hashed(table.select(["id"]), "sha256(id)"))
    rows = Examples(ids, keys, table["label"].to_numpy())
    log_probs = Precomputed(path=str(path), teachers=TEACHERS).predict(State({}, {}), rows, CLASSES, "cpu")
    return stacked(rows, TEACHERS, log_probs), table["true_label"].to_numpy()
