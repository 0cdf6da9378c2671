"""A real night in small: scikit-learn's digits with 8% of the labels flipped, judged out of fold.

Run what uses it: python -m pytest tests/tasks/report
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tasks.data import ACTIONS, ONE, Decisions, Examples, Issues, SoftLabels
from tasks.report import (
    Arrival,
    Exemplars,
    Figure,
    LabelChange,
    Rejection,
    ReportData,
    StageCost,
    StudentResult,
    Suspect,
    TeacherQuality,
    metrics,
)
from tasks.report.calibration import expected_calibration_error, reliability
from tasks.report.student import Student, held_out
from tasks.seeds import mix

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Night:
    examples: Examples  # labels are the given ones
    truth: np.ndarray
    opinions: dict[str, SoftLabels]
    issues: Issues
    decisions: Decisions


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def night() -> Night:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, truth = load_digits(return_X_y=True)
    features, truth = features.astype(np.float32), truth.astype(np.int32)
    n, rng = len(truth), np.random.Generator(np.random.PCG64(0))
    given = np.where(rng.random(n) < 0.08, (truth + rng.integers(1, 10, n)) % 10, truth).astype(np.int32)
    ids = np.array([f"digits-{i:04d}" for i in range(n)], dtype=object)
    keys = mix(np.arange(n, dtype=np.uint64), 1)
    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=300)),
        "neighbours": KNeighborsClassifier(15),
    }
    probs = {
        name: cross_val_predict(m, features, given, cv=4, method="predict_proba")
        for name, m in models.items()
    }
    opinions = {name: SoftLabels.from_pred_probs(ids, given, p, top_k=10) for name, p in probs.items()}
    mean = np.mean(list(probs.values()), axis=0)
    suggested = mean.argmax(axis=1).astype(np.int32)
    right = mean[np.arange(n), given].astype(np.float32)
    flagged = (suggested != given) & (mean.max(axis=1) > 0.4)
    issues = Issues(ids, right, flagged, suggested, (1 - right) * flagged)
    action = np.zeros(n, np.int8)
    action[flagged] = ACTIONS.index("review")
    action[flagged & (issues.p_error > 0.85)] = ACTIONS.index("drop")
    action[flagged & (mean.max(axis=1) > 0.7)] = ACTIONS.index("fix")
    label = np.where(action == ACTIONS.index("fix"), suggested, given)
    label = np.where(action == ACTIONS.index("drop"), -1, label).astype(np.int32)
    reason = np.array(["the teachers agree with the given label"] * n, dtype=object)
    reason[flagged] = "the teachers are confident of another class"
    decided_by = np.array(["threshold"] * n, dtype=object)
    decisions = Decisions(ids, given, label, action, mean.max(axis=1).astype(np.float32), reason, decided_by)
    examples = Examples(ids, keys, given, images=(features * 15).astype(np.uint8).reshape(n, 8, 8, 1))
    return Night(examples, truth, opinions, issues, decisions)


@pytest.fixture(scope="session")
def accuracies(night: Night) -> dict[str, tuple[float, ...]]:
    """The default student's accuracy against the truth, one a seed, by the labels it learned from."""
    test, student = held_out(night.examples.keys), Student()
    found = {}
    for arm, labels in (
        ("given", night.decisions.given),
        ("curated", night.decisions.label),
        ("truth", night.truth),
    ):
        rows = ~test & (labels >= 0)
        train, judged = night.examples.take(rows), night.examples.take(test)
        targets = np.eye(10, dtype=np.float32)[labels[rows]]
        found[arm] = tuple(
            student.accuracy(train, targets, judged, night.truth[test], 10, seed, "cpu")
            for seed in range(student.seeds)
        )
    return found


@pytest.fixture(scope="session")
def report_data(night: Night, accuracies: dict[str, tuple[float, ...]]) -> ReportData:
    examples, decisions, issues = night.examples, night.decisions, night.issues
    assert examples.images is not None
    accuracies = {arm: accuracies[arm] for arm in ("given", "curated")}
    figures = [
        *metrics.ingest(len(examples), 17),
        *metrics.teach(night.opinions, night.truth),
        *metrics.detect({"confident_learning": issues}, decisions.given, night.truth, ["confident_learning"]),
        *metrics.relabel(decisions, night.truth),
        *metrics.student(accuracies, int(held_out(examples.keys).sum())),
        Figure("report", "class_shift", 0.125, "effect"),
        Figure("report", "label_agreement", 0.91, "share"),
    ]
    return ReportData(
        dataset="digits",
        partition="2026-01-02",
        class_names=NAMES,
        arrival=Arrival(
            len(examples),
            (
                Rejection("duplicate", 14, ("same content as digits-0031", "same content as digits-0712")),
                Rejection("undecodable_image", 3, ("cannot identify image file: 00 00 00 0d 49 48 44 52",)),
            ),
        ),
        notes=("Fixes would have touched 16.2% of the rows, over the cap of 15%: the rest went to review.",),
        labels=LabelChange(
            np.bincount(decisions.given, minlength=10),
            np.bincount(decisions.label[decisions.label >= 0], minlength=10),
            confusion(decisions),
            {a: int(c) for a, c in zip(ACTIONS, np.bincount(decisions.action, minlength=6), strict=True)},
        ),
        suspects=tuple(suspect(night, i) for i in np.argsort(-issues.p_error, kind="stable")[:24]),
        teachers=tuple(quality(name, soft, night.truth) for name, soft in night.opinions.items()),
        student=StudentResult(accuracies, "truth", int(held_out(examples.keys).sum())),
        distilled=tuple(
            Exemplars(c, tuple(png(examples.images[i]) for i in np.flatnonzero(night.truth == c)[:10]))
            for c in range(10)
        ),
        stages=(
            StageCost("ingest", ("sklearn_digits", "exact_duplicates", "pixels"), 0.42, 214_000),
            StageCost("teach", ("linear", "neighbours"), 6.71, 61_200),
            StageCost("detect", ("confident_learning",), 0.31, 21_000),
            StageCost("relabel", ("threshold",), 0.2, 18_512),
            StageCost("distill", ("herding",), 0.63, 9_120),
            StageCost("report", ("student",), 3.2),
        ),
        earlier=("2025-12-31", "2026-01-01"),
        figures=tuple(figures),
    )


def confusion(decisions: Decisions) -> np.ndarray:
    both = (decisions.given >= 0) & (decisions.label >= 0)
    cells = decisions.given[both] * 10 + decisions.label[both]
    return np.bincount(cells, minlength=100).reshape(10, 10)


def suspect(night: Night, i: int) -> Suspect:
    assert night.examples.images is not None
    return Suspect(
        night.examples.ids[i],
        int(night.decisions.given[i]),
        int(night.issues.suggested_label[i]),
        float(night.issues.p_error[i]),
        ACTIONS[night.decisions.action[i]],
        night.decisions.reason[i],
        png(night.examples.images[i]),
    )


def quality(name: str, soft: SoftLabels, truth: np.ndarray) -> TeacherQuality:
    confidence = soft.weights[:, 0] / ONE
    right_given, right_truth = soft.classes[:, 0] == soft.labels, soft.classes[:, 0] == truth
    return TeacherQuality(
        name,
        reliability(confidence, right_given),
        float(right_given.mean()),
        expected_calibration_error(confidence, right_given),
        float(right_truth.mean()),
        expected_calibration_error(confidence, right_truth),
    )


def png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "png")
    return file.getvalue()
