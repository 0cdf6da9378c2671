"""Sets of classes and numbers on their way in. Run: python -m pytest tests/tasks/stages/test_given.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.classes import vocabulary
from storage.errors import StoreError
from storage.store import Store
from storage.task import task_of
from tasks.config import Curation
from tasks.errors import BadInput
from tasks.plan import Planner
from tasks.stages import STAGES
from tasks.stages.reading import examples
from tests.tasks.stages.harness import run

P = "2026-01-01"

Lines = list[dict[str, Any]]


def data_set(folder: Path, lines: Lines, **keys: Any) -> tuple[Curation, Store]:
    """A curation that only takes in these lines, and its store."""
    (folder / f"{P}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = {"kind": "jsonl", "path": str(folder / "{partition}.jsonl"), **keys.pop("source")}
    made = Curation.model_validate(
        {"dataset": "d", "store": str(folder / "store"), "source": source, "window": "all", **keys}
    )
    return made, Store(made.store, made.dataset).open(create=True)


def stored(store: Store, table: str, *columns: str) -> list[tuple[Any, ...]]:
    ref = store.ref(table, P)
    assert ref is not None
    return [tuple(row.values()) for row in store.read([ref], list(columns)).to_pylist()]


SETS = {"labels": "tags", "truths": "right", "text": "t"}


def test_sets_are_stored_as_sorted_indices_of_all_names_that_occur(tmp_path: Path) -> None:
    lines: Lines = [
        {"t": "a", "tags": ["dog", "cat", "dog"], "right": ["owl"]},
        {"t": "b", "tags": []},
        {"t": "c", "tags": None, "right": []},
    ]
    made, store = data_set(tmp_path, lines, task="multi_label", source=SETS)
    run(made, P, "ingest")
    assert vocabulary(store) == ("cat", "dog", "owl")
    assert task_of(store) == "multi_label"
    assert stored(store, "rows", "label", "labels", "truths") == [
        (None, [0, 1], [2]),
        (None, [], None),
        (None, None, []),
    ]


def test_a_row_with_one_label_that_cannot_be_is_a_reject(tmp_path: Path) -> None:
    lines: Lines = [
        {"t": t, "tags": tags} for t, tags in (("a", ["cat"]), ("b", ["cat", "yak"]), ("c", ["old"]))
    ]
    made, store = data_set(
        tmp_path,
        lines,
        task="multi_label",
        classes=["cat", "dog", "old"],
        retired=["old"],
        source={"labels": "tags", "text": "t"},
    )
    run(made, P, "ingest")
    assert stored(store, "rejects", "reason", "detail") == [
        ("unknown_label", "yak is not one of the classes"),
        ("retired_class", "old is retired"),
    ]


def test_a_class_in_a_set_is_known_by_its_new_name(tmp_path: Path) -> None:
    lines: Lines = [{"t": "a", "tags": ["tom", "dog"]}]
    source = {"labels": "tags", "text": "t"}
    made, store = data_set(tmp_path, lines, task="multi_label", rename={"tom": "cat"}, source=source)
    run(made, P, "ingest")
    assert vocabulary(store) == ("cat", "dog")
    assert stored(store, "rows", "labels") == [([0, 1],)]


def test_more_classes_than_windows_can_hold_are_refused(tmp_path: Path) -> None:
    lines: Lines = [{"t": "a", "tags": [f"c{i}" for i in range(1001)]}]
    made, _ = data_set(tmp_path, lines, task="multi_label", source={"labels": "tags", "text": "t"})
    with pytest.raises(BadInput, match=r"d has 1,001 classes, and multi_label takes 1,000; leave rare"):
        run(made, P, "ingest")


def test_numbers_are_stored_as_they_are_and_bring_no_classes(tmp_path: Path) -> None:
    lines: Lines = [{"t": "a", "y": 0.1, "z": 2}, {"t": "b", "y": None}, {"t": "c", "y": "tall"}]
    source = {"target": "y", "target_truth": "z", "text": "t"}
    made, store = data_set(tmp_path, lines, task="regression", source=source)
    run(made, P, "ingest")
    assert vocabulary(store) == ()
    assert stored(store, "rows", "label", "target", "target_truth") == [(None, 0.1, 2.0), (None, None, None)]
    assert stored(store, "rejects", "reason") == [("wrong_type",)]


def test_a_data_set_keeps_its_task(tmp_path: Path) -> None:
    lines: Lines = [{"t": "a", "y": 1}]
    first, _ = data_set(tmp_path, lines, source={"label": "y", "text": "t"})
    run(first, P, "ingest")
    second, _ = data_set(tmp_path, lines, task="regression", source={"target": "y", "text": "t"})
    with pytest.raises(StoreError, match="is a data set of single_label, and keeps that task"):
        run(second, P, "ingest")


@pytest.mark.parametrize(
    ("task", "source", "labels", "given"),
    [
        ("multi_label", {"labels": "tags", "text": "t"}, [0, 0, -1], [[1, 1], [0, 0], [-1, -1]]),
        ("regression", {"target": "y", "text": "t"}, [0, -1, 0], [0.5, np.nan, 2.0]),
    ],
)
def test_what_is_given_reaches_those_who_learn(
    tmp_path: Path, task: str, source: dict[str, str], labels: list[int], given: list[Any]
) -> None:
    lines: Lines = [
        {"t": "a", "tags": ["cat", "dog"], "y": 0.5},
        {"t": "b", "tags": [], "y": None},
        {"t": "c", "tags": None, "y": 2},
    ]
    made, store = data_set(tmp_path, lines, task=task, source=source)
    run(made, P, "ingest")
    planner = Planner(made, store)
    job = planner.job(planner.stage(STAGES["report"], P))
    assert job is not None
    rows = examples(job, job.inputs["rows"], ())
    assert rows.labels.tolist() == labels
    assert rows.given is not None
    np.testing.assert_array_equal(rows.given, np.array(given))
