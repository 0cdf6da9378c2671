"""Nobody is asked about a view twice, and the bytes are as if they were.
Run: python -m pytest tests/tasks/stages/test_views.py"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from storage.store import Store
from tasks.config import Curation
from tasks.data import Examples
from tasks.plan import Planner
from tasks.reinforce import REGIONS
from tasks.seeds import folds_of
from tasks.stages import STAGES, asking, reinforce
from tests.tasks.stages.harness import bring_up_to_date, run

NIGHT, ROWS, DRAWS = "2026-01-01", 36, 3
STAGES_BEFORE = ("ingest", "teach", "detect", "relabel")
KINDS: dict[str, dict[str, Any]] = {
    "crops": {"kind": "crops"},
    "reinforce": {"kind": "reinforce", "scale": [0.5, 1.0]},
    "ferkd": {"kind": "ferkd", "lower": 0.8, "upper": 0.97},
}


def pictures(folder: Path, kind: str, **changes: Any) -> Curation:
    """A night of pictures of four classes, each with a bright corner of its own."""
    random = np.random.default_rng(0)
    labels = np.arange(ROWS) % 4
    images = random.integers(0, 160, (ROWS, 8, 8, 1), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 90
    (folder / "in").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "in" / f"{NIGHT}.npz", x=images, y=np.array(list("abcd"))[labels])
    return Curation.model_validate(
        {
            "dataset": "pictures",
            "store": str(folder / "store"),
            "source": {
                "kind": "numpy",
                "path": str(folder / "in" / "{partition}.npz"),
                "image": "x",
                "image_shape": [8, 8, 1],
                "label": "y",
            },
            "classes": list("abcd"),
            "ingest": {"encoder": {"kind": "pixels"}},
            "teach": {"teachers": [{"kind": "linear"}], "folds": 3},
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            "reinforce": {**KINDS[kind], "draws": DRAWS},
            "runner": {"shard_rows": 10},
            **changes,
        }
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the rows of every view that teachers are asked about."""
    ids: list[str] = []

    def noting(job: Any, views: Examples, *rest: Any) -> Any:
        ids.extend(views.ids)
        return ask(job, views, *rest)

    ask = asking.ask
    monkeypatch.setattr(reinforce, "ask", noting)
    return ids


def stored(made: Curation, table: str = "reinforcements") -> pa.Table:
    store = Store(made.store, made.dataset)
    ref = store.ref(table, NIGHT)
    assert ref
    return store.read(ref)


def decide(made: Curation, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Other decisions on the night's labels, as a policy or people would have made them."""
    rows = stored(made, "labels").to_pylist()
    change(rows)
    store = Store(made.store, made.dataset)
    number = len(store.history("labels"))
    data = pa.Table.from_pylist(rows, stored(made, "labels").schema)
    store.write_shard("labels", NIGHT, f"decided{number}", 0, ROWS, data)
    store.commit("labels", NIGHT, f"decided{number}", [(0, ROWS)], [], {}, store.version("labels"))


def from_scratch(made: Curation) -> Curation:
    """The same in a copy of the store that remembers nothing of who was asked."""
    version = Store(made.store, made.dataset).version("labels")
    copy = made.model_copy(update={"store": f"{made.store}-copy{version}"})
    shutil.copytree(made.store, copy.store)
    for state in Path(copy.store).rglob("reinforce-*-drawn.safetensors"):
        state.unlink()
    return copy


def files(made: Curation) -> list[bytes]:
    """What the night's files hold, in the order of their rows."""
    uris = Store(made.store, made.dataset).file_uris("reinforcements", partitions=[NIGHT])
    return [Path(uri.removeprefix("file://")).read_bytes() for uri in uris]


def again(made: Curation, asked: list[str], change: Callable[[list[dict[str, Any]]], None]) -> list[str]:
    """Who is asked about after other decisions; the bytes must be those of asking about everything."""
    decide(made, change)
    copy = from_scratch(made)
    asked.clear()
    run(made, NIGHT, "reinforce")
    found = list(asked)
    asked.clear()
    run(copy, NIGHT, "reinforce")
    assert len(asked) == DRAWS * sum(row["action"] != "drop" for row in stored(made, "labels").to_pylist())
    assert files(made) == files(copy)
    return found


def partnered(made: Curation, row: int) -> set[str]:
    """The rows that have drawn the row's number as a partner, whether or not that view is mixed."""
    store = Store(made.store, made.dataset)
    ref = store.ref("reinforcements", NIGHT)
    assert ref
    state = store.load_state(NIGHT, f"reinforce-{ref.fingerprint}-drawn")
    assert state
    partners = state[0].get("partners", np.zeros(0, np.int64)).reshape(-1, DRAWS)
    ids = stored(made, "labels")["id"].to_numpy()
    return set(ids[np.flatnonzero((partners == row).any(axis=1))])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_dropped_or_returns_is_all_that_is_asked_about(
    kind: str, tmp_path: Path, asked: list[str]
) -> None:
    made = pictures(tmp_path, kind)
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    assert len(asked) == ROWS * DRAWS
    before = stored(made)
    gone = before["id"][0].as_py()
    drawn_with_it = partnered(made, 0)
    assert bool(drawn_with_it) == (kind == "reinforce")

    found = again(made, asked, lambda rows: rows[0].update(action="drop", label=None))
    assert sorted(found) == sorted([*drawn_with_it] * DRAWS)
    after = stored(made)
    assert gone not in set(after["id"].to_pylist()) | set(after["partner"].to_pylist())

    found = again(made, asked, lambda rows: rows[0].update(action="keep", label=rows[0]["given"]))
    assert sorted(found) == sorted([gone, *drawn_with_it] * DRAWS)
    assert stored(made).equals(before)


@pytest.mark.parametrize(("kind", "times"), [("crops", 0), ("reinforce", 0), ("ferkd", DRAWS)])
def test_another_label_matters_to_those_who_adapt_to_it(
    kind: str, times: int, tmp_path: Path, asked: list[str]
) -> None:
    made = pictures(tmp_path, kind)
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    row = stored(made, "labels")["id"][20].as_py()
    assert again(made, asked, lambda rows: rows[20].update(label=3, action="human")) == [row] * times
    assert again(made, asked, lambda rows: rows[20].update(action="review")) == [row] * times


def test_other_teachers_are_asked_about_everything(tmp_path: Path, asked: list[str]) -> None:
    made = pictures(tmp_path, "crops")
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    others = pictures(tmp_path, "crops", teach={"teachers": [{"kind": "linear", "c": 0.01}], "folds": 3})
    asked.clear()
    bring_up_to_date(others, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    assert len(asked) == ROWS * DRAWS


def test_a_run_that_was_forced_asks_about_everything(tmp_path: Path, asked: list[str]) -> None:
    made = pictures(tmp_path, "crops")
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["reinforce"], NIGHT))
    assert job
    asked.clear()
    STAGES["reinforce"].apply(job, 0, ROWS)
    assert len(asked) == ROWS * DRAWS


def test_views_that_cannot_be_read_any_more_are_asked_about_again(tmp_path: Path, asked: list[str]) -> None:
    made = pictures(tmp_path, "crops")
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    for uri in Store(made.store, made.dataset).file_uris("reinforcements"):
        Path(uri.removeprefix("file://")).write_bytes(b"not a Parquet file")
    decide(made, lambda rows: rows[0].update(action="drop", label=None))
    asked.clear()
    run(made, NIGHT, "reinforce")
    assert len(asked) == (ROWS - 1) * DRAWS


def test_a_partner_has_been_seen_by_none_of_the_teachers_that_are_asked(tmp_path: Path) -> None:
    """Else they would know the partner's label, right or wrong, by heart."""
    made = pictures(tmp_path, "reinforce")
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    rows = stored(made, "rows")
    keys = np.array([int(text[:16], 16) for text in rows["content_hash"].to_pylist()], np.uint64)
    fold = dict(zip(rows["id"].to_pylist(), folds_of(keys, 3).tolist(), strict=True))
    pairs = [(row["id"], row["partner"]) for row in stored(made).to_pylist() if row["partner"]]
    assert len(pairs) > ROWS
    assert all(fold[own] == fold[other] and own != other for own, other in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_teachers_were_asked_about_is_what_a_training_run_redraws(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stages.reading import from_rows
    from tests.tasks.reinforce.redrawing import redrawn

    seen: list[Examples] = []

    def noting(job: Any, views: Examples, *rest: Any) -> Any:
        seen.append(views)
        return asking.ask(job, views, *rest)

    monkeypatch.setattr(reinforce, "ask", noting)
    made = pictures(
        tmp_path,
        kind,
        reinforce={**KINDS[kind], "draws": DRAWS, **({"self_mix": 0} if kind == "ferkd" else {})},
    )
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    table, rows = stored(made), from_rows(stored(made, "rows"), (8, 8, 1), 10)
    assert made.reinforce is not None
    views, places = redrawn(made.reinforce, rows, table)
    assert len(places) == len(table)
    told = Examples.concat(seen)
    numbers = np.tile(np.arange(DRAWS), ROWS)
    where = {(i, int(d)): n for n, (i, d) in enumerate(zip(told.ids, numbers, strict=True))}
    order = [where[i, d] for i, d in zip(table["id"].to_pylist(), table["draw"].to_pylist(), strict=True)]
    assert told.images is not None
    assert np.array_equal(views, told.images[order])


def test_the_shares_of_graded_views_are_metrics(tmp_path: Path) -> None:
    from tasks.stages.figures import reinforced

    made = pictures(tmp_path, "ferkd")
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    decide(made, lambda rows: rows[0].update(action="drop", label=None))
    run(made, NIGHT, "reinforce")
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["report"], NIGHT))
    assert job
    found = {figure.name: figure.value for figure in reinforced(job)}
    regions = stored(made)["region"].to_pylist()
    drawn = (ROWS - 1) * DRAWS
    assert found["views_confident"] == regions.count("confident") / drawn > 0
    assert found["views_uncertain"] == regions.count("uncertain") / drawn > 0
    assert found["views_hard"] > 0
    assert sum(found[f"views_{region}"] for region in REGIONS) == pytest.approx(1)
    assert found["views_dropped_worst_class"] >= (drawn - len(regions)) / drawn


@pytest.mark.parametrize("kind", KINDS)
def test_how_often_teachers_judge_a_view_as_its_row_was_decided_is_a_metric(
    kind: str, tmp_path: Path
) -> None:
    from tasks.stages.figures import reinforced

    made = pictures(tmp_path, kind)
    bring_up_to_date(made, [NIGHT], (*STAGES_BEFORE, "reinforce"))
    decide(made, lambda rows: rows[0].update(action="review"))
    decide(made, lambda rows: rows[1].update(action="human", label=(rows[1]["label"] + 1) % 4))
    run(made, NIGHT, "reinforce")
    labels = {row["id"]: row for row in stored(made, "labels").to_pylist()}
    agree = [
        view["classes"][0] == labels[view["id"]]["label"]
        for view in stored(made).to_pylist()
        if labels[view["id"]]["action"] in ("keep", "fix", "human")
        and view["partner"] is None
        and view["region"] in (None, "confident")
    ]
    planner = Planner(made, Store(made.store, made.dataset))
    job = planner.job(planner.stage(STAGES["report"], NIGHT))
    assert job
    found = {figure.name: figure.value for figure in reinforced(job)}
    assert found["views_agree"] == pytest.approx(sum(agree) / len(agree))
    assert 0 < found["views_agree"] < 1
