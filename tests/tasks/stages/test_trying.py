"""The trial in the report stage. Run: .venv/bin/python -m pytest tests/tasks/stages/test_trying.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.store import Store
from tasks.config import Curation
from tasks.plan import Planner
from tasks.stages import STAGES, trying
from tasks.stages.base import Job
from tasks.stages.report import FIGURES_REVISION, TRIAL, trial_parts, yardstick
from tests.tasks.stages.harness import bring_up_to_date, curation, run
from tests.tasks.stages.test_distill import KEEP_ALL, Quarters, digits

NIGHTS = {"2026-01-01": [*"aabbcc" * 20], "2026-01-02": [*"abc" * 10]}
LAST = "2026-01-02"
QUICK = {"seeds": 3, "steps": 30, "width": 16, "test_rows": 20}


def tried(folder: Path, **changes: Any) -> Curation:
    changes = {"trial": QUICK, "relabel": KEEP_ALL, "report": {"seeds": 1, "steps": 1}} | changes
    return curation(folder, NIGHTS, **changes)


def job_of(made: Curation, partition: str = LAST) -> Job:
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["report"], partition))
    assert job is not None
    return job


def figures(made: Curation, partition: str = LAST) -> dict[str, float]:
    store = Store(made.store, made.dataset)
    ref = store.ref("metrics", partition)
    assert ref is not None
    table = store.read(ref)
    return dict(zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True))


def test_the_report_has_both_accuracies_and_the_margin_between_them(tmp_path: Path) -> None:
    made = tried(tmp_path)
    bring_up_to_date(made, NIGHTS)
    assert [part for part in run(made, LAST, "report") if part.startswith(TRIAL)] == [
        "trial-seed0",
        "trial-seed1",
        "trial-seed2",
    ]
    found = figures(made)
    margin = found["distilled_accuracy"] - found["random_accuracy"]
    assert found["distilled_margin"] == pytest.approx(margin)
    assert found["distilled_margin_low"] <= margin <= found["distilled_margin_high"]
    page = Store(made.store, made.dataset).report_path(LAST)
    assert page is not None
    text = Path(page).read_text()
    assert "random rows, of either hard labels" in text
    assert "over 3 seeds" in text


def test_the_random_set_has_as_many_rows_of_each_class_none_of_them_tested_on(tmp_path: Path) -> None:
    made = tried(tmp_path, distill={"kind": "random", "per_class": 4})
    bring_up_to_date(made, NIGHTS)
    job = job_of(made)
    table = job.store.read([job.inputs["distilled"][0]])
    ours, first, second = (trying.stored(job, table), *(trying.drawn(job, table, seed) for seed in (1, 2)))
    assert ours.targets.sum(axis=0).tolist() == first.targets.sum(axis=0).tolist() == [4, 4, 4, 0]
    assert not np.array_equal(first.inputs, second.inputs)  # each seed draws anew
    places = trying.tested_on(job, yardstick(job))
    assert len(places) == QUICK["test_rows"]
    tested = {row.tobytes() for row in trying.inputs_of(job, places, ())[0]}
    for lesson in (ours, first, second):
        assert not tested & {row.tobytes() for row in lesson.inputs}


def test_without_a_trial_distill_and_report_are_decided_by_what_decided_them_before(tmp_path: Path) -> None:
    plain, on_trial = (
        tried(tmp_path / str(number), trial=trial) for number, trial in enumerate((None, QUICK))
    )
    report, distill = STAGES["report"], STAGES["distill"]
    assert report.identity(plain) == [plain.report.identity(), FIGURES_REVISION, plain.device]
    assert plain.distill is not None
    assert distill.identity(plain) == [plain.distill.identity(), plain.device]
    for stage in STAGES.values():
        changed = stage.identity(plain) != stage.identity(on_trial)
        assert changed == (stage in (report, distill)), stage.name


def test_a_random_set_on_trial_against_itself_ties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tried(tmp_path)
    bring_up_to_date(made, NIGHTS)
    monkeypatch.setattr(trying, "drawn", lambda job, table, seed: trying.stored(job, table))
    run(made, LAST, "report")
    found = figures(made)
    assert found["distilled_margin"] == found["distilled_margin_low"] == 0


def test_under_soft_labels_both_sets_have_labels_of_the_same_teachers(tmp_path: Path) -> None:
    made = tried(tmp_path, distill={"kind": "random", "per_class": 4, "labels": "soft"})
    bring_up_to_date(made, NIGHTS)
    job = job_of(made)
    table = job.store.read([job.inputs["distilled"][0]])
    for lesson in (trying.stored(job, table), trying.drawn(job, table, 1)):
        assert np.allclose(lesson.targets.sum(axis=1), 1)
        assert ((lesson.targets > 0) & (lesson.targets < 1)).any()
    mine = trying.stored(job, table)
    theirs: dict[bytes, np.ndarray] = {}
    for seed in range(30):
        other = trying.drawn(job, table, seed)
        theirs |= {row.tobytes(): target for row, target in zip(other.inputs, other.targets, strict=True)}
    shared = [(t, theirs[row.tobytes()]) for row, t in zip(*mine, strict=True) if row.tobytes() in theirs]
    assert shared  # a row that both sets have has one and the same label
    for ours, same in shared:
        assert np.array_equal(ours, same)


def test_pictures_are_learned_as_pictures_and_mosaics_as_their_tiles(tmp_path: Path) -> None:
    made = digits(tmp_path, trial={"steps": 2, "width": 4, "test_rows": 50, "seeds": 2})
    made = made.model_copy(update={"distill": Quarters()})
    night = made.source.partitions()[0]
    bring_up_to_date(made, [night])
    job = job_of(made, night)
    table = job.store.read([job.inputs["distilled"][0]])
    ours, random = trying.stored(job, table), trying.drawn(job, table, 0)
    assert (ours.inputs.shape, random.inputs.shape) == ((40, 8, 8, 1), (10, 8, 8, 1))
    assert ours.targets.argmax(axis=1).tolist() == np.repeat(np.arange(10), 4).tolist()
    run(made, night, "report")
    assert 0 <= figures(made, night)["distilled_accuracy"] <= 1


def test_without_a_distilled_row_or_a_row_to_test_on_there_is_no_trial(tmp_path: Path) -> None:
    made = tried(tmp_path)
    bring_up_to_date(made, NIGHTS)
    job = job_of(made)
    assert len(trial_parts(job)) == 3
    rows = {**job.inputs, "distilled": ()}
    without = {name: refs for name, refs in rows.items() if refs}
    assert trial_parts(Job(made, LAST, "report", "f", job.classes, without)) == []
