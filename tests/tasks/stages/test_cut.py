"""What top-k costs, in the report. Run: .venv/bin/python -m pytest tests/tasks/stages/test_cut.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.store import Store
from tasks.config import Curation
from tasks.data import ONE
from tasks.seeds import folds_of
from tasks.stages.asking import judged, looked_at
from tasks.stages.reading import examples, opinion
from tasks.stages.report import CUT
from tests.tasks.stages.harness import bring_up_to_date, curation, run
from tests.tasks.stages.test_trying import figures, job_of

NIGHT = "2026-01-02"
NIGHTS = {"2026-01-01": [*"abcd" * 15], NIGHT: [*"abcd" * 15]}
NAMES = ["accuracy_stored_soft_labels", "accuracy_dense_soft_labels"]
KEEP_ALL = {"kind": "threshold", "fix_at": 1, "review_at": 1, "drop_at": 0}


def cut(folder: Path, top_k: int, **changes: Any) -> Curation:
    teach = {"teachers": [{"kind": "linear"}], "folds": 3, "top_k": top_k}
    fixed = {"teach": teach, "relabel": KEEP_ALL, "report": {"seeds": 2, "steps": 60}}
    return curation(folder, NIGHTS, **fixed | changes)


def test_students_on_stored_and_on_dense_soft_labels_are_told_apart(tmp_path: Path) -> None:
    made = cut(tmp_path, top_k=1)
    bring_up_to_date(made, NIGHTS)
    assert [part for part in run(made, NIGHT, "report") if part.startswith(CUT)] == ["cut-seed0", "cut-seed1"]
    found = figures(made, NIGHT)
    assert 0.5 < found[NAMES[0]] <= 1
    assert 0.5 < found[NAMES[1]] <= 1
    assert found["soft_label_mass_cut"] > 0


def test_dense_labels_are_those_that_the_stored_ones_were_cut_from(tmp_path: Path) -> None:
    made = cut(tmp_path, top_k=2)
    bring_up_to_date(made, NIGHTS)
    job = job_of(made, NIGHT)
    rows = examples(job, [job.own("rows")], [*looked_at(job)])
    dense = np.exp(judged(job, rows).astype(np.float64))
    kept = opinion(job, job.own("soft_labels"), job.own("rows"))
    assert len(np.unique(folds_of(rows.keys, 3))) == 3
    listed = np.take_along_axis(dense, kept.classes.astype(np.int64), axis=1)
    np.testing.assert_allclose(kept.weights / ONE, listed, atol=1 / ONE)


@pytest.mark.parametrize(
    "changes",
    [
        {"top_k": 4},
        {"top_k": 1, "relabel": None, "reinforce": None, "distill": None},
    ],
)
def test_nothing_is_asked_again_where_nothing_is_cut_or_no_student_learns(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    made = cut(tmp_path, **changes)
    bring_up_to_date(made, NIGHTS)
    assert not [part for part in run(made, NIGHT, "report") if part.startswith(CUT)]
    assert not set(NAMES) & figures(made, NIGHT).keys()
    assert Store(made.store, made.dataset).ref("metrics", NIGHT)
