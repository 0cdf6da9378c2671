"""A data set of numbers through every stage: pytest tests/tasks/stages/test_regression.py"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from storage import query
from storage.store import Store
from storage.tables import conform
from tasks.config import Curation, load
from tasks.gates import Evidence, Measured, judge
from tasks.gates.standard import expanded
from tasks.plan import Planner, enabled
from tests.tasks.stages.harness import contents, run

FILE = Path(__file__).parents[3] / "curations" / "diabetes.yaml"
NIGHTS = ("2026-01-01", "2026-01-02")


def curated(folder: Path, **changes: Any) -> tuple[Curation, Store]:
    made = load(FILE, store=str(folder / "store"), **changes)
    for night in NIGHTS:
        for stage in enabled(made):
            run(made, night, stage.name)
    return made, Store(made.store, made.dataset)


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Curation, Store]:
    return curated(tmp_path_factory.mktemp("diabetes"))


def asked(store: Store, sql: str) -> list[dict[str, Any]]:
    with query.connect(store, "live") as connection:
        found: list[dict[str, Any]] = query.select(connection, sql).to_pylist()
        return found


def figures(store: Store, night: str) -> dict[str, float]:
    sql = f"SELECT name, value FROM metrics WHERE partition = '{night}'"
    return {row["name"]: row["value"] for row in asked(store, sql)}


def test_every_stage_is_done_and_stays_done(diabetes: tuple[Curation, Store]) -> None:
    made, store = diabetes
    plans = [plan for night in NIGHTS for plan in Planner(made, store).partition(night)]
    assert {plan.stage for plan in plans} == {"ingest", "teach", "detect", "relabel", "report"}
    assert {plan.verdict for plan in plans} == {"up to date"}


def test_every_number_has_an_out_of_sample_opinion_and_a_finding_of_each_detector(
    diabetes: tuple[Curation, Store],
) -> None:
    _, store = diabetes
    [row] = asked(
        store,
        "SELECT count(*) AS n, count(value) AS known, max(len(classes)) AS classes, min(fold) AS fold "
        "FROM soft_labels WHERE teacher = 'mean'",
    )
    assert row == {"n": 442, "known": 442, "classes": 0, "fold": 0}
    kinds = asked(store, "SELECT detector, count(*) AS n FROM issues GROUP BY detector ORDER BY detector")
    assert kinds == [{"detector": "outre", "n": 442}, {"detector": "residual", "n": 442}]


def test_teachers_explain_about_half_of_the_true_numbers(diabetes: tuple[Curation, Store]) -> None:
    """Ordinary least squares explains .49 of this data out of sample; wrong numbers cost a little."""
    _, store = diabetes
    assert all(figures(store, night)["teacher_mean_r2_truth"] > 0.42 for night in NIGHTS)


def test_wrong_numbers_are_found_and_none_is_replaced(diabetes: tuple[Curation, Store]) -> None:
    _, store = diabetes
    first, second = (figures(store, night) for night in NIGHTS)
    assert first["detection_average_precision"] > 0.9
    assert second["detection_average_precision"] > 0.5
    assert first["label_mae_curated"] < first["label_mae_given"]
    changed = asked(store, "SELECT id FROM labels WHERE target IS NOT NULL AND target <> given_target")
    assert changed == []
    actions = asked(store, "SELECT DISTINCT action FROM labels ORDER BY action")
    assert [row["action"] for row in actions] == ["drop", "keep", "review"]


def test_the_story_of_a_number_is_told(diabetes: tuple[Curation, Store]) -> None:
    _, store = diabetes
    sql = "SELECT given_target, target, action, target_truth, detectors, given FROM story WHERE id = "
    assert asked(store, sql + "'patient-110'") == [
        {
            "given_target": 804.0,
            "target": None,
            "action": "drop",
            "target_truth": 104.0,
            "detectors": ["outre", "residual"],
            "given": None,
        }
    ]


def test_the_page_names_numbers_and_no_classes(diabetes: tuple[Curation, Store]) -> None:
    _, store = diabetes
    path = store.report_path(NIGHTS[0])
    assert path is not None
    page = Path(path).read_text(encoding="utf-8")
    assert "<s>778</s>" in page
    assert "quality 0.000" in page
    assert "Classes before and after" not in page


def test_the_standard_gates_bound_only_what_is_measured(diabetes: tuple[Curation, Store]) -> None:
    made, store = diabetes
    measured = {name: Measured(value, "ratio") for name, value in figures(store, NIGHTS[1]).items()}
    outcomes = judge(expanded(made), Evidence(measured), datetime.now(UTC).date())
    assert [o.metric for o in outcomes if not o.passed] == []
    assert "teacher_mean_mae_given" in {o.metric for o in outcomes}


def test_two_runs_and_other_shards_hold_the_same(diabetes: tuple[Curation, Store], tmp_path: Path) -> None:
    made, _ = diabetes
    again, _ = curated(tmp_path, runner={"kind": "threads", "shard_rows": 50})
    assert contents(again) == contents(made)


def test_a_person_decides_on_a_number(tmp_path: Path) -> None:
    made, store = curated(tmp_path)
    decided = pa.table(
        {
            "id": ["patient-190", "patient-291"],
            "target": pa.array([292.0, None], pa.float64()),
            "reviewer": ["ada", "ada"],
            "decided_at": pa.array([datetime(2026, 1, 3, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
        }
    )
    store.write_shard("reviews", NIGHTS[0], "f", 0, 2, conform(decided, "reviews"))
    store.commit("reviews", NIGHTS[0], "f", [(0, 2)], [], {}, None)
    run(made, NIGHTS[0], "relabel")
    rows = asked(
        store,
        "SELECT id, given_target, target, action, reason FROM labels "
        "WHERE id IN ('patient-190', 'patient-291') ORDER BY id",
    )
    assert [(r["given_target"], r["target"], r["action"], r["reason"]) for r in rows] == [
        (492.0, 292.0, "human", "decided by ada"),
        (428.0, None, "human", "decided by ada"),
    ]
    run(made, NIGHTS[0], "report")
    assert figures(store, NIGHTS[0])["share_changed"] == pytest.approx(1 / 221)


def test_rows_without_a_number_get_an_opinion_and_teach_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)).astype(np.float32)
    y = x @ [3.0, -2.0] + 1
    given = ["" if i % 3 == 0 else str(number) for i, number in enumerate(y)]
    lines = ["a,b,y", *(f"{a},{b},{c}" for (a, b), c in zip(x, given, strict=True))]
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    made = Curation.model_validate(
        {
            "dataset": "line",
            "store": str(tmp_path / "store"),
            "task": "regression",
            "source": {
                "kind": "csv",
                "path": str(tmp_path / "{partition}.csv"),
                "target": "y",
                "features": ["a", "b"],
            },
            "ingest": {"encoder": {"kind": "features"}},
            "teach": {"teachers": [{"kind": "linear", "c": 1e6}]},
            "detect": [{"kind": "residual"}],
            "relabel": {"kind": "threshold"},
        }
    )
    for stage in enabled(made):
        run(made, "p", stage.name)
    store = Store(made.store, made.dataset)
    ref = store.ref("soft_labels", "p")
    assert ref is not None
    values = store.read([ref], ["value", "teacher"]).to_pandas()
    np.testing.assert_allclose(values["value"][values["teacher"] == "mean"], y, atol=1e-3)
    assert figures(store, "p")["share_unlabelled"] == pytest.approx(1 / 3)
    assert figures(store, "p")["share_review"] == pytest.approx(1 / 3)


def test_numbers_of_a_file_and_of_a_teacher_are_averaged(tmp_path: Path) -> None:
    ids = pl.read_csv(FILE.parent / "data" / "diabetes.csv")["patient"]
    outside = pl.DataFrame({"id": ids, "net": np.linspace(50, 300, len(ids))})
    outside.write_parquet(tmp_path / "outside.parquet")
    precomputed = {"kind": "precomputed", "path": str(tmp_path / "outside.parquet"), "teachers": ["net"]}
    made = load(FILE, store=str(tmp_path / "store"), teach={"teachers": [{"kind": "linear"}, precomputed]})
    for name in ("ingest", "teach"):
        run(made, NIGHTS[0], name)
    store = Store(made.store, made.dataset)
    said = asked(
        store,
        "SELECT max(value) FILTER (teacher = 'mean') AS mean, "
        "max(value) FILTER (teacher = 'linear') AS linear, "
        "max(value) FILTER (teacher = 'net') AS net, max(fold) FILTER (teacher = 'net') AS fold "
        "FROM soft_labels GROUP BY id",
    )
    assert len(said) == 221
    assert all(row["mean"] == (row["linear"] + row["net"]) / 2 and row["fold"] == -1 for row in said)


def test_teachers_are_kept_until_the_data_set_has_grown(tmp_path: Path) -> None:
    teach = {"teachers": [{"kind": "linear"}], "refit": {"growth": 2.0}}
    made = load(FILE, store=str(tmp_path / "store"), teach=teach)
    fitted = []
    for night in NIGHTS:
        run(made, night, "ingest")
        fitted.append([part for part in run(made, night, "teach") if "fold" in part])
    assert [len(parts) for parts in fitted] == [4, 0]
