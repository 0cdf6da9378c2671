"""Answers are paid for once. Run: .venv/bin/python -m pytest tests/tasks/stages/test_paid.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from storage.store import Store
from tasks.config import Curation
from tasks.data import Examples, State
from tasks.teach import Start, Teacher
from tests.tasks.stages import harness

NIGHTS = {"2026-01-01": list("abcd") * 20, "2026-01-02": list("abcd") * 15}
CALLS: list[list[str]] = []
DIES_AFTER = [10**9]


class Costly(Teacher):
    """Says class 2 of everything, and counts."""

    kind: str = "tests.tasks.stages.test_paid:Costly"
    revision: ClassVar[int] = 1
    reads: ClassVar[Literal["images", "embedding", "annotations", "nothing"]] = "embedding"
    cross_fitted: ClassVar[bool] = False

    def names(self) -> tuple[str, ...]:
        return ("costly",)

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        raise AssertionError("is not trained")

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        assert examples.embedding is not None
        if len(CALLS) == DIES_AFTER[0]:
            raise KeyboardInterrupt
        CALLS.append(examples.ids.tolist())
        said = np.full((1, len(examples), n_classes), -9.0, np.float32)
        said[:, :, 2] = np.log1p(-3 * np.exp(-9.0))
        return said


@pytest.fixture(autouse=True)
def _let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_PLUGINS", "tests")
    CALLS.clear()
    DIES_AFTER[0] = 10**9


def curation(folder: Path, budget: int = 40, **changes: Any) -> Curation:
    teacher = {
        "kind": "budgeted",
        "cheap": {"kind": "linear"},
        "expensive": {"kind": "tests.tasks.stages.test_paid:Costly"},
        "budget": budget,
    }
    return harness.curation(folder, NIGHTS, teachers=[teacher], **changes)


def test_the_drawn_rows_are_the_expensive_teachers_and_the_others_the_cheap_ones(tmp_path: Path) -> None:
    made = curation(tmp_path)
    harness.bring_up_to_date(made, NIGHTS)
    store = Store(made.store, made.dataset)
    for night, rows in NIGHTS.items():
        ref = store.ref("soft_labels", night)
        assert ref is not None
        table = [row for row in store.read([ref]).to_pylist() if row["teacher"].startswith("budgeted:")]
        assert len(table) == len(rows)
        asked = [row for row in table if row["teacher"] == "budgeted:costly"]
        assert len(asked) == 40
        assert all(row["classes"][0] == 2 and row["fold"] == -1 for row in asked)
        assert {row["teacher"] for row in table} == {"budgeted:costly", "budgeted:linear"}
        assert {row["id"] for row in asked} <= {name for call in CALLS for name in call}
    assert sum(map(len, CALLS)) == 80


def test_a_killed_run_and_the_next_ones_ask_about_no_row_twice(tmp_path: Path) -> None:
    made = curation(tmp_path)
    DIES_AFTER[0] = 2
    with pytest.raises(KeyboardInterrupt):
        harness.bring_up_to_date(made, ["2026-01-01"])
    assert len(CALLS) == 2
    DIES_AFTER[0] = 10**9
    harness.bring_up_to_date(made, ["2026-01-01"])
    fitted = harness.bring_up_to_date(curation(tmp_path, budget=50), ["2026-01-01"])
    assert fitted == {"2026-01-01": ["models", "0-asked"]}
    again = [name for call in CALLS for name in call]
    assert len(again) == len(set(again))
    assert len(again) <= 40 + 50
    before = len(CALLS)
    harness.bring_up_to_date(made, ["2026-01-01"])
    assert len(CALLS) == before


def test_what_was_paid_before_changes_no_byte(tmp_path: Path) -> None:
    fresh, used = curation(tmp_path / "fresh"), curation(tmp_path / "used", budget=7)
    harness.bring_up_to_date(used, ["2026-01-01"])
    harness.bring_up_to_date(curation(tmp_path / "used"), ["2026-01-01"])
    harness.bring_up_to_date(fresh, ["2026-01-01"])
    assert harness.contents(fresh) == harness.contents(curation(tmp_path / "used"))
