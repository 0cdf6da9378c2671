"""What a task cannot do is refused before anything runs. Run: pytest tests/tasks/test_impossible.py"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config import Curation

PARQUET = {"kind": "parquet", "path": "/tmp/{partition}.parquet", "features": ["x"]}
SOURCES: dict[str, dict[str, Any]] = {
    "single_label": {"label": "y"},
    "multi_label": {"labels": "y"},
    "regression": {"target": "y"},
}
OTHERS = ("multi_label", "regression")


def curation(task: str, **keys: Any) -> Curation:
    source = keys.pop("source", PARQUET | SOURCES[task])
    return Curation.model_validate({"dataset": "d", "store": "s", "task": task, "source": source, **keys})


@pytest.mark.parametrize("task", SOURCES)
def test_every_task_takes_in_rows(task: str) -> None:
    assert curation(task).source.task == task


def test_a_curation_that_says_nothing_is_of_single_label() -> None:
    assert (
        Curation.model_validate({"dataset": "d", "store": "s", "source": PARQUET | {"label": "y"}}).task
        == "single_label"
    )


@pytest.mark.parametrize("task", SOURCES)
@pytest.mark.parametrize("given", SOURCES)
def test_a_source_must_give_what_the_task_is_about(task: str, given: str) -> None:
    if task == given:
        return
    role = next(iter(SOURCES[task]))
    why = f"source parquet gives rows of {given}, and the task is {task}; give a source that maps {role}"
    with pytest.raises(ValidationError, match=why):
        curation(task, source=PARQUET | SOURCES[given])


@pytest.mark.parametrize("task", OTHERS)
def test_a_source_of_one_class_a_row_is_refused(task: str) -> None:
    with pytest.raises(ValidationError, match="source sklearn_digits gives rows of single_label"):
        curation(task, source={"kind": "sklearn_digits"})


@pytest.mark.parametrize("task", OTHERS)
@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"teach": {"teachers": [{"kind": "convnet"}]}}, r"teach\.teachers\[0\] convnet"),
        ({"teach": {"teachers": [{"kind": "annotators"}]}}, r"teach\.teachers\[0\] annotators"),
        ({"detect": [{"kind": "disagreement"}]}, r"detect\[0\] disagreement"),
        ({"detect": [{"kind": "neighbours"}]}, r"detect\[0\] neighbours"),
        ({"detect": [{"kind": "combined"}]}, r"detect\[0\] combined"),
        ({"reinforce": {"kind": "jitter"}}, "reinforce jitter"),
        ({"distill": {"kind": "random", "per_class": 1}}, "distill random"),
        ({"audit": {"kind": "planted_flips"}}, "audit planted_flips"),
    ],
)
def test_a_method_for_one_class_a_row_is_refused(task: str, keys: dict[str, Any], place: str) -> None:
    wanted = f"{place} is for single_label, and the task is {task}; leave it out"
    with pytest.raises(ValidationError, match=wanted):
        curation(task, **keys)


@pytest.mark.parametrize("key", ["classes", "rename", "retired"])
def test_regression_has_no_classes(key: str) -> None:
    value: Any = {"a": "b"} if key == "rename" else ["a"]
    with pytest.raises(ValidationError, match=f"{key}: regression has no classes; leave it out"):
        curation("regression", **{key: value})


def test_multi_label_takes_a_thousand_classes() -> None:
    names = [str(i) for i in range(1001)]
    assert curation("multi_label", classes=names[:1000]).classes
    with pytest.raises(ValidationError, match="at most 1,000 classes"):
        curation("multi_label", classes=names)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("kind", ["residual", "outre"])
def test_a_detector_of_numbers_is_refused_elsewhere(task: str, kind: str) -> None:
    why = f"detect\\[0\\] {kind} is for regression, and the task is {task}; leave it out"
    with pytest.raises(ValidationError, match=why):
        curation(task, detect=[{"kind": kind}])


def test_stacked_and_warm_starts_are_refused_for_numbers() -> None:
    linear: dict[str, Any] = {"teachers": [{"kind": "linear"}]}
    with pytest.raises(ValidationError, match=r"teach\.ensemble stacked is for single_label and multi_label"):
        curation("regression", teach={**linear, "ensemble": "stacked"})
    with pytest.raises(ValidationError, match="start: warm is for single_label"):
        curation("regression", teach={**linear, "refit": {"start": "warm"}})
