"""Several teachers of one kind. Run: .venv/bin/python -m pytest tests/tasks/teach/test_named.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from storage.store import Store
from tasks.config import Curation
from tasks.teach.convnet import Convnet
from tasks.teach.linear import Linear
from tasks.teach.sklearn import Sklearn
from tests.tasks.stages.harness import bring_up_to_date, curation

NIGHT = "2026-01-01"


def taught(folder: Path, *teachers: dict[str, object]) -> dict[str, list[list[int]]]:
    """The weights that each teacher of the night gave."""
    made: Curation = curation(folder, {NIGHT: [*"aabbccdd" * 8]}, teachers=list(teachers))
    bring_up_to_date(made, [NIGHT], ("ingest", "teach"))
    table = Store(made.store, made.dataset).read(Store(made.store, made.dataset).refs("soft_labels"))
    names = np.array(table["teacher"].to_pylist())
    weights = np.array(table["weights"].to_pylist())
    return {name: weights[names == name].tolist() for name in dict.fromkeys(names.tolist())}


def test_without_a_name_a_teacher_is_called_what_it_is_and_decides_what_it_decided_before() -> None:
    assert Linear().names() == ("linear",)
    assert "name" not in Linear().identity()
    assert Linear(name="strict", c=0.1).names() == ("strict",)
    assert Linear(name="strict").identity() == {**Linear().identity(), "name": "strict"}
    assert Sklearn(estimator="sklearn.dummy.DummyClassifier").names() == ("DummyClassifier",)
    assert Sklearn(estimator="sklearn.dummy.DummyClassifier", name="blind").names() == ("blind",)
    assert Convnet(name="wide").names() == ("wide",)


@pytest.mark.parametrize("name", ["", "Wide", "a b", "1st", "a:b", "x" * 61])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        Linear(name=name)


def test_teachers_of_one_kind_each_have_their_say(tmp_path: Path) -> None:
    strict = {"kind": "linear", "name": "strict", "c": 1e-4}
    found = taught(tmp_path / "both", {"kind": "linear"}, strict)
    assert list(found) == ["linear", "strict", "mean"]
    assert found["linear"] != found["strict"]
    alone = taught(tmp_path / "alone", {"kind": "linear"})
    assert found["linear"] == alone["linear"]
