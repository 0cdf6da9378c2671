"""From file to findings. Run: .venv/bin/python -m pytest tests/tasks/stages/test_annotations.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.store import Store
from tasks.config import Curation
from tests.tasks.stages.harness import bring_up_to_date

NIGHTS = ("2026-01-01", "2026-01-02")


def curation(folder: Path, lines: dict[str, list[dict[str, Any]]], **changes: Any) -> Curation:
    """Points whose labels are what people said, one file a night."""
    (folder / "in").mkdir(exist_ok=True)
    for night, rows in lines.items():
        (folder / "in" / f"{night}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Curation.model_validate(
        {
            "dataset": "points",
            "store": str(folder / "store"),
            "source": {
                "kind": "jsonl",
                "path": str(folder / "in" / "{partition}.jsonl"),
                "id": "id",
                "features": "x",
                "feature_length": 2,
                "annotations": "said",
                "label": "label",
            },
            "classes": ["a", "b"],
            "ingest": {"encoder": {"kind": "features"}},
            **changes,
        }
    )


def line(name: str, x: list[float], label: str | None = None, **said: str) -> dict[str, Any]:
    return {
        "id": name,
        "x": x,
        "label": label,
        "said": [{"annotator": who, "label": what} for who, what in said.items()],
    }


def table(made: Curation, name: str, night: str) -> list[dict[str, Any]]:
    store = Store(made.store, made.dataset)
    ref = store.ref(name, night)
    assert ref is not None
    return list(store.read([ref]).to_pylist())


def test_the_given_label_stays_and_a_missing_one_is_the_majority(tmp_path: Path) -> None:
    made = curation(
        tmp_path,
        {
            NIGHTS[0]: [
                line("own", [0, 0], "a", ann="b", bob="b"),
                line("most", [0, 1], None, ann="b", bob="a", cem="b"),
                line("tie", [1, 0], None, bob="b", ann="a"),
                line("none", [1, 1]),
            ]
        },
    )
    bring_up_to_date(made, NIGHTS[:1], ["ingest"])
    found = {row["id"]: row for row in table(made, "rows", NIGHTS[0])}
    assert [found[name]["label"] for name in ("own", "most", "tie", "none")] == [0, 1, 1, None]
    assert found["most"]["annotations"] == [
        {"annotator": "ann", "label": 1},
        {"annotator": "bob", "label": 0},
        {"annotator": "cem", "label": 1},
    ]
    assert found["none"]["annotations"] is None


def test_an_unknown_or_retired_class_of_anyone_rejects_the_row_and_a_renamed_one_is_todays(
    tmp_path: Path,
) -> None:
    rows = [
        line("strange", [0, 0], "a", ann="a", bob="yak"),
        line("gone", [0, 1], "a", ann="b"),
        line("old", [1, 0], None, ann="alpha", bob="a", cem="b"),
    ]
    made = curation(
        tmp_path, {NIGHTS[0]: rows}, rename={"alpha": "a"}, classes=["a", "c", "b"], retired=["b"]
    )
    bring_up_to_date(made, NIGHTS[:1], ["ingest"])
    assert table(made, "rows", NIGHTS[0]) == []
    reasons = {row["id"]: (row["reason"], row["detail"]) for row in table(made, "rejects", NIGHTS[0])}
    assert reasons["strange"] == ("unknown_label", "yak, as somebody said, is not one of the classes")
    assert reasons["gone"] == ("retired_class", "b, as somebody said, is retired")
    again = curation(tmp_path, {NIGHTS[0]: rows}, rename={"alpha": "a"}, classes=["a", "c", "b"])
    bring_up_to_date(again, NIGHTS[:1], ["ingest"])
    (old,) = [row for row in table(again, "rows", NIGHTS[0]) if row["id"] == "old"]
    assert (old["label"], [vote["label"] for vote in old["annotations"]]) == (0, [0, 0, 2])


def test_classes_that_only_annotators_name_are_learned(tmp_path: Path) -> None:
    made = curation(tmp_path, {NIGHTS[0]: [line("x", [0, 0], "a", ann="a", bob="c")]}, classes=None)
    bring_up_to_date(made, NIGHTS[:1], ["ingest"])
    assert table(made, "rows", NIGHTS[0])[0]["annotations"][1] == {"annotator": "bob", "label": 1}


def test_what_people_say_is_no_part_of_a_rows_content(tmp_path: Path) -> None:
    rows = [line("x", [0, 0], None, ann="a"), line("y", [0, 0], None, ann="b", bob="b")]
    made = curation(tmp_path, {NIGHTS[0]: rows})
    bring_up_to_date(made, NIGHTS[:1], ["ingest"])
    first, second = table(made, "rows", NIGHTS[0])
    assert first["content_hash"] == second["content_hash"]
    assert (first["label"], second["label"]) == (0, 1)


def crowd(night: int, n: int = 120) -> list[dict[str, Any]]:
    """Points about two corners, and what three people say of them: right 95%, 70% and 65% of the time."""
    random = np.random.default_rng(night)
    truth = random.integers(0, 2, n)
    points = random.normal(size=(n, 2)) + truth[:, None] * 3
    wrong = random.random((n, 3)) > (0.95, 0.7, 0.65)
    names = np.array(["a", "b"])[np.where(wrong, 1 - truth[:, None], truth[:, None])]
    return [
        line(
            f"{night}-{i}-{truth[i]}",
            points[i].tolist(),
            None,
            **dict(zip(("ann", "bob", "cem"), names[i], strict=True)),
        )
        for i in range(n)
    ]


def test_annotators_teach_what_most_of_them_got_wrong(tmp_path: Path) -> None:
    nights = {night: crowd(number) for number, night in enumerate(NIGHTS)}
    made = curation(tmp_path, nights, teach={"teachers": [{"kind": "annotators"}], "folds": 3})
    bring_up_to_date(made, NIGHTS, ["ingest", "teach"])
    truth, given = truths(made, NIGHTS[1])
    said = [row for row in table(made, "soft_labels", NIGHTS[1]) if row["teacher"] == "annotators"]
    likeliest = np.array([row["classes"][0] for row in said])
    assert (likeliest == truth).mean() > (given == truth).mean() + 0.02


def test_crowdlab_finds_the_labels_that_most_people_got_wrong(tmp_path: Path) -> None:
    nights = {night: crowd(number) for number, night in enumerate(NIGHTS)}
    made = curation(
        tmp_path, nights, teach={"teachers": [{"kind": "linear"}], "folds": 3}, detect=[{"kind": "crowdlab"}]
    )
    bring_up_to_date(made, NIGHTS, ["ingest", "teach", "detect"])
    for night in NIGHTS:
        truth, given = truths(made, night)
        issues = table(made, "issues", night)
        flagged = np.array([row["is_issue"] for row in issues])
        assert (given != truth)[flagged].mean() > 0.6
        assert flagged[given != truth].mean() > 0.6
        assert all(row["p_error"] is None for row in issues)


def truths(made: Curation, night: str) -> tuple[np.ndarray, np.ndarray]:
    """The true classes, which end the ids, and the given labels."""
    rows = table(made, "rows", night)
    return np.array([int(row["id"][-1]) for row in rows]), np.array([row["label"] for row in rows])


@pytest.mark.parametrize(
    ("teacher", "detector"), [("annotators", "confident_learning"), ("linear", "crowdlab")]
)
def test_nobodys_opinion_depends_on_how_rows_were_dealt_into_shards(
    tmp_path: Path, teacher: str, detector: str
) -> None:
    def soft(name: str, shard_rows: int) -> Any:
        (tmp_path / name).mkdir()
        made = curation(
            tmp_path / name,
            {NIGHTS[0]: crowd(0)},
            teach={"teachers": [{"kind": teacher}], "folds": 2},
            detect=[{"kind": detector}],
            runner={"shard_rows": shard_rows},
        )
        bring_up_to_date(made, NIGHTS[:1], ["ingest", "teach", "detect"])
        store = Store(made.store, made.dataset)
        return [store.read([store.refs(name)[0]]) for name in ("rows", "soft_labels", "issues")]

    for one, other in zip(soft("one", 4096), soft("seven", 7), strict=True):
        assert one.num_rows >= 120
        assert one.equals(other)
