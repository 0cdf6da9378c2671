"""The ensemble that learns, the detector that weighs, and the audit, stage by stage in a real store.

Run: .venv/bin/python -m pytest tests/tasks/stages/test_depth.py
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from storage.store import Store
from storage.tables import conform
from tasks.config import Curation
from tasks.plan import Planner
from tasks.relabel.reviews import REVIEWS
from tasks.stages import STAGES
from tests.tasks.stages.harness import UP_TO_REINFORCE, bring_up_to_date, contents, curation, run

FOREST = {
    "kind": "sklearn",
    "estimator": "sklearn.dummy.DummyClassifier",
    "params": {"strategy": "stratified"},
}
NIGHTS = {f"2026-01-{day:02d}": list("abcd") * (30 if day == 1 else 4) for day in range(1, 4)}
DEEP: dict[str, Any] = {
    "ensemble": "stacked",
    "detect": [{"kind": "confident_learning"}, {"kind": "combined", "least_reviews": 20}],
}


def state_of(made: Curation, partition: str, stage: str, part: str) -> Any:
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES[stage], partition))
    assert job is not None
    return job.store.load_state(*STAGES[stage].place(job, part))


def decide(made: Curation, partition: str, rows: int) -> None:
    """A person finds that each second of the first rows is of class a."""
    store = Store(made.store, made.dataset)
    ref = store.ref("rows", partition)
    assert ref
    read = store.read([ref], ["id", "label"]).slice(0, rows)
    labels = np.where(np.arange(rows) % 2, 0, read["label"].to_numpy()).astype(np.int32)
    people = pa.table(
        {
            "id": read["id"],
            "label": pa.array(labels, pa.int32()),
            "reviewer": pa.array(["ann"] * rows),
            "decided_at": pa.array([datetime(2026, 2, 1, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
            "note": pa.nulls(rows, pa.string()),
        }
    ).cast(REVIEWS)
    store.write_shard("reviews", partition, "0" * 32, 0, rows, conform(people, "reviews"))
    store.commit("reviews", partition, "0" * 32, [(0, rows)], [], {}, store.version("reviews"))


def test_the_stacked_ensemble_is_written_beside_its_teachers_and_asked_for_views(tmp_path: Path) -> None:
    made = curation(tmp_path, NIGHTS, teachers=[{"kind": "linear"}, FOREST], **DEEP)
    bring_up_to_date(made, NIGHTS, UP_TO_REINFORCE)
    store = Store(made.store, made.dataset)
    soft = store.read(store.refs("soft_labels"))
    assert set(soft["teacher"].to_pylist()) == {"linear", "DummyClassifier", "stacked"}
    arrays, info = state_of(made, "2026-01-03", "teach", "ensemble")
    assert info["names"] == ["linear", "DummyClassifier"]
    assert arrays["weights"][0] > 0.9, "a teacher that guesses has no say"
    assert len(store.read(store.refs("reinforcements"))) == sum(map(len, NIGHTS.values()))


def test_nights_in_any_order_weigh_the_same(tmp_path: Path) -> None:
    changes = {**DEEP, "teachers": [{"kind": "linear"}, FOREST], "refit": {"growth": 0.25}}
    one, two = (curation(tmp_path / name, NIGHTS, **changes) for name in ("one", "two"))
    bring_up_to_date(one, NIGHTS)
    bring_up_to_date(two, NIGHTS, ("ingest",))
    bring_up_to_date(two, reversed(NIGHTS))
    bring_up_to_date(two, NIGHTS)
    assert contents(one) == contents(two)


def test_teachers_that_are_used_again_keep_their_weights(tmp_path: Path) -> None:
    made = curation(tmp_path, NIGHTS, teachers=[{"kind": "linear"}, FOREST], refit={"growth": 9}, **DEEP)
    fitted = bring_up_to_date(made, NIGHTS)
    assert "ensemble" in fitted["2026-01-01"]
    assert fitted["2026-01-02"] == ["models"]


def test_without_people_the_probability_says_that_nobody_checked_it(tmp_path: Path) -> None:
    made = curation(tmp_path, NIGHTS, **DEEP)
    bring_up_to_date(made, NIGHTS)
    _, info = state_of(made, "2026-01-02", "detect", "detector1")
    assert info["reviews"] == 0
    assert "not calibrated by people" in info["notes"][0]
    store = Store(made.store, made.dataset)
    issues = store.read(store.refs("issues"))
    combined = issues.filter(pc.equal(issues["detector"], "combined"))
    assert len(combined) == sum(map(len, NIGHTS.values()))
    assert combined["p_error"].null_count == 0


def test_decisions_on_one_night_calibrate_the_nights_after_it_and_none_before(tmp_path: Path) -> None:
    made = curation(tmp_path, NIGHTS, **DEEP)
    bring_up_to_date(made, NIGHTS)
    before = contents(made)
    decide(made, "2026-01-02", 16)
    decide(made, "2026-01-03", 16)
    planner = Planner(made, Store(made.store, made.dataset))
    verdicts = {night: planner.stage(STAGES["detect"], night) for night in NIGHTS}
    assert verdicts["2026-01-01"].verdict == "up to date"
    assert verdicts["2026-01-02"].reason == "reviews changed"
    run(made, "2026-01-03", "detect")
    _, info = state_of(made, "2026-01-03", "detect", "detector1")
    assert info["reviews"] == 32
    after = contents(made)
    assert after["issues 2026-01-02"] == before["issues 2026-01-02"]
    assert after["issues 2026-01-03"] != before["issues 2026-01-03"]


def test_labels_are_judged_by_the_detector_that_weighs_the_others(tmp_path: Path) -> None:
    """Every label of the first rows is wrong by the first detector's rule, and right by the second's."""
    nights = {"2026-01-01": ["b"] * 6 + list("abcd") * 30}
    flags = {"kind": "confident_learning", "filter_by": "predicted_neq_given"}
    alone = curation(tmp_path / "alone", nights, detect=[flags])
    weighed = curation(tmp_path / "weighed", nights, detect=[flags, {"kind": "combined"}])
    for made in (alone, weighed):
        bring_up_to_date(made, nights, UP_TO_REINFORCE)
        store = Store(made.store, made.dataset)
        issues, labels = (store.read(store.refs(table)) for table in ("issues", "labels"))
        kind = "combined" if made is weighed else "confident_learning"
        heard = issues.filter(pc.equal(issues["detector"], kind))
        acted = pc.not_equal(labels["action"], "keep")
        assert acted.to_pylist() == heard["is_issue"].to_pylist()


@pytest.mark.parametrize("noise", ["uniform", "confusion"])
def test_the_audit_tells_how_many_planted_labels_detection_finds(tmp_path: Path, noise: str) -> None:
    audit = {"kind": "planted_flips", "share": 0.2, "noise": [noise]}
    made = curation(tmp_path, NIGHTS, audit=audit, report={"steps": 10, "seeds": 1})
    bring_up_to_date(made, NIGHTS, [*UP_TO_REINFORCE, "report"])
    store = Store(made.store, made.dataset)
    ref = store.ref("metrics", "2026-01-01")
    assert ref
    measured = store.read([ref])
    values = dict(zip(measured["name"].to_pylist(), measured["value"].to_pylist(), strict=True))
    assert values[f"audit_{noise}_planted"] == pytest.approx(24, abs=14)
    assert 0.5 < values[f"audit_{noise}_recall"] <= 1
    labels = store.read(store.refs("rows"), ["label"])["label"].to_pylist()
    assert labels == [list("abcd").index(c) for night in NIGHTS.values() for c in night]
