"""Where dynamics come from. Run: .venv/bin/python -m pytest tests/tasks/stages/test_dynamics.py"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from storage.store import Store
from tasks.config import Curation
from tasks.errors import StageFailed
from tasks.plan import Planner
from tasks.stages import STAGES
from tasks.stages.base import Job
from tasks.stages.dynamics import recorded
from tasks.stages.reading import labelled
from tasks.stages.trusted import rows_of, trusted
from tasks.teach.dynamics import DYNAMICS, ERRORS, MARKS, marks_of
from tests.tasks.stages.harness import bring_up_to_date, forget_states

NIGHTS = ["2026-01-01", "2026-01-02"]
LENIENT = {"kind": "threshold", "drop_at": 0.1, "review_at": 0.2, "fix_at": 0.4, "max_fixed": 0.5}
CONVNET = {"kind": "convnet", "epochs": 2, "min_steps": 6, "max_steps": 6, "width": 4, "batch_size": 32}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digits(
    folder: Path,
    teachers: Sequence[dict[str, Any]] = ({"kind": "linear"}, CONVNET),
    detectors: Sequence[str] = ("training_dynamics",),
    relabel: dict[str, Any] | None = None,
    distill: dict[str, Any] | None = None,
    **teach: Any,
) -> Curation:
    """Some 45 digits a night."""
    return Curation.model_validate(
        {
            "dataset": "digits",
            "store": str(folder / "store"),
            "source": {"kind": "sklearn_digits", "days": 40, "start": "2026-01-01", "planted_noise": 0.1},
            "ingest": {"encoder": {"kind": "pixels"}},
            "teach": {"teachers": list(teachers), "folds": 3, **teach},
            "detect": [{"kind": kind} for kind in detectors],
            "relabel": relabel,
            "distill": distill,
        }
    )


def detecting(made: Curation, partition: str) -> Job:
    """A night that is about to be judged."""
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["detect"], partition))
    assert job is not None
    return job


def by_hand(job: Job, night: str) -> dict[int, np.ndarray]:
    """The mean over the folds that trained on a mark, from the states below a night's partition."""
    found: dict[int, list[np.ndarray]] = {}
    names = [name for name in job.store.states(f"{night}/teach-") if "-fold" in name]
    for name in sorted(names, key=lambda name: name[-5:]):
        state = job.store.load_state(*name.split("/"))
        assert state is not None
        arrays, _ = state
        known = [arrays.get(name, []) for name in (MARKS, DYNAMICS, ERRORS)]
        for mark, values, error in zip(*known, strict=True):
            found.setdefault(int(mark), []).append(np.array([*values[:2], error], np.float64))
    return {mark: np.mean(values, axis=0) for mark, values in found.items()}


def test_a_rows_dynamics_are_the_mean_over_the_folds_that_trained_on_it(tmp_path: Path) -> None:
    made = digits(tmp_path)
    bring_up_to_date(made, NIGHTS, ["ingest", "teach"])
    job = detecting(made, NIGHTS[1])
    means = by_hand(job, NIGHTS[1])
    for number, ref in enumerate(job.inputs["rows"]):
        rows = labelled(job, number, {"dynamics"}, (0, ref.rows))
        assert rows.dynamics is not None
        marks = marks_of(rows.keys, rows.labels)
        nothing = np.full(3, np.nan)
        expected = np.array([means.get(int(mark), nothing) for mark in marks], np.float32)
        np.testing.assert_allclose(rows.dynamics, expected, rtol=1e-6)
        assert not np.isnan(rows.dynamics[rows.trains & (rows.labels >= 0)]).all()
        few = labelled(job, number, {"dynamics"}, (3, 9))
        assert few.dynamics is not None
        assert few.dynamics.tobytes() == rows.dynamics[3:9].tobytes()
    assert labelled(job, 0, (), (0, 3)).dynamics is None


def test_what_another_label_would_have_been_is_not_known(tmp_path: Path) -> None:
    made = digits(tmp_path)
    bring_up_to_date(made, NIGHTS[:1], ["ingest", "teach"])
    job = detecting(made, NIGHTS[0])
    rows = labelled(job, 0, (), (0, 20))
    marks, _ = recorded(job.store.root, job.store.dataset, job.own("soft_labels"), (1,), 3)
    assert np.isin(marks_of(rows.keys, rows.labels), marks).any()
    assert not np.isin(marks_of(rows.keys, (rows.labels + 1) % 10), marks).any()


def test_a_night_that_came_after_its_teachers_is_not_known_to_them(tmp_path: Path) -> None:
    made = digits(tmp_path, refit={"growth": 5.0})
    bring_up_to_date(made, NIGHTS, ["ingest", "teach"])
    job = detecting(made, NIGHTS[1])
    before, own = (labelled(job, n, {"dynamics"}, (0, 30)).dynamics for n in (0, 1))
    assert before is not None
    assert own is not None
    assert not np.isnan(before).all()
    assert np.isnan(own).all()


def test_nights_are_judged_by_them_and_findings_do_not_depend_on_the_shards(tmp_path: Path) -> None:
    made = digits(
        tmp_path, detectors=("training_dynamics", "confident_learning", "disagreement", "influence")
    )
    bring_up_to_date(made, NIGHTS, ["ingest", "teach", "detect"])
    store = Store(made.store, made.dataset)
    ref = store.ref("issues", NIGHTS[1])
    assert ref is not None
    table = store.read(ref)
    job = detecting(made, NIGHTS[1])
    n = job.own("rows").rows
    parts = [STAGES["detect"].apply(job, *span)["issues"] for span in ((0, 1), (1, 20), (20, n))]
    assert [row for part in parts for row in part.to_pylist()] == table.select(
        parts[0].column_names
    ).to_pylist()
    assert len(set(table["score"].to_pylist()[::4])) > 2


def test_states_that_are_gone_are_named(tmp_path: Path) -> None:
    made = digits(tmp_path)
    bring_up_to_date(made, NIGHTS[:1], ["ingest", "teach"])
    forget_states(made)
    recorded.cache_clear()
    with pytest.raises(StageFailed, match=r"the state teach-\w+-models of 2026-01-01 is missing"):
        labelled(detecting(made, NIGHTS[0]), 0, {"dynamics"}, (0, 3))


def test_a_curation_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValidationError, match=r"detect\[0\] training_dynamics reads .* needs a convnet teacher"
    ):
        digits(tmp_path, teachers=[{"kind": "linear"}])


def test_a_detector_on_embeddings_needs_an_encoder(tmp_path: Path) -> None:
    made = digits(tmp_path, detectors=["influence"]).model_dump(exclude={"ingest"}) | {"store": str(tmp_path)}
    made["teach"]["teachers"] = [CONVNET]
    with pytest.raises(ValidationError, match=r"detect\[0\] influence reads embeddings, so ingest needs"):
        Curation.model_validate(made)


def test_a_distiller_sees_the_dynamics_of_the_labels_that_were_decided_on(tmp_path: Path) -> None:
    """Networks learned another label of a row that was relabelled, and what they say of it does not count."""
    made = digits(tmp_path, relabel=LENIENT, distill={"kind": "hardness"})
    bring_up_to_date(made, NIGHTS[:1], ["ingest", "teach", "detect", "relabel", "distill"])
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["distill"], NIGHTS[0]))
    assert job is not None
    known = trusted(job)
    fixed = learned = 0
    for label in known.classes:
        rows, places = rows_of(job, label, (), {"dynamics"}), known.places(label)
        assert rows.dynamics is not None
        assert (rows.labels == label).all()
        changed = known.rows.labels[places] != label
        assert np.isnan(rows.dynamics[changed]).all()
        fixed += int(changed.sum())
        learned += int((~np.isnan(rows.dynamics[~changed])).all(axis=1).sum())
    assert fixed
    assert learned
    ref = job.store.ref("distilled", NIGHTS[0])
    assert ref is not None
    assert set(job.store.read(ref)["label"].to_pylist()) == set(known.classes)
