"""Teachers that learn again, from decided labels, before they are asked about views.
Run: python -m pytest tests/tasks/stages/test_relearned.py"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from storage.store import Store
from tasks.config import Curation
from tasks.data import lists_to_array
from tasks.seeds import folds_of
from tasks.stages.asking import NLL_GRID
from tasks.stages.base import load_state
from tasks.stages.teach import NothingToLearn
from tests.tasks.stages.harness import bring_up_to_date, contents, curation, forget_states, run
from tests.tasks.stages.test_views import pictures

FIRST, SECOND, ROWS, FOLDS = "2026-01-01", "2026-01-02", 80, 3
BEFORE = ("ingest", "teach", "detect", "relabel")
TRUTH = [*"aabb"] * (ROWS // 4)
WRONG = [*"babb"] * (ROWS // 4)
"""Half of what looks like an `a` is called a `b`."""


def made(folder: Path, nights: Mapping[str, list[str]], **changes: Any) -> Curation:
    """Nights whose points lie where TRUTH has them, under labels that are WRONG."""
    known = curation(folder, nights, classes=list("ab"), reinforce={"kind": "jitter", "draws": 2}, **changes)
    for night, labels in nights.items():
        path = folder / "in" / f"{night}.npz"
        points = np.load(path)["x"]
        np.savez(path, x=points, y=np.array(WRONG[: len(labels)]))
    return known


def relearning(folder: Path, nights: Mapping[str, list[str]], relearn: bool = True) -> Curation:
    known = made(folder, nights)
    assert known.teach
    return known.model_copy(update={"teach": known.teach.model_copy(update={"relearn": relearn})})


def stored(known: Curation, table: str, night: str = FIRST) -> pa.Table:
    store = Store(known.store, known.dataset)
    ref = store.ref(table, night)
    assert ref
    return store.read(ref)


def decide(known: Curation, changes: Mapping[int, dict[str, Any]], night: str = FIRST) -> None:
    """Other decisions on some of the night's rows, as people would have made them."""
    rows = stored(known, "labels", night).to_pylist()
    for place, change in changes.items():
        rows[place].update(change)
    store = Store(known.store, known.dataset)
    number = len(store.history("labels"))
    data = pa.Table.from_pylist(rows, stored(known, "labels", night).schema)
    store.write_shard("labels", night, f"decided{number}", 0, len(rows), data)
    store.commit("labels", night, f"decided{number}", [(0, len(rows))], [], {}, store.version("labels"))


def people_say(known: Curation, night: str = FIRST) -> None:
    """Somebody decided every label, and rightly."""
    truth = {place: {"label": "ab".index(name), "action": "human"} for place, name in enumerate(TRUTH)}
    decide(known, truth, night)


def trust_in_truth(known: Curation, night: str = FIRST) -> float:
    """The mean probability of what the points show, over the night's views."""
    views, rows = stored(known, "reinforcements", night), stored(known, "rows", night)
    n = views.num_rows
    classes, weights = (lists_to_array(views[name], n, np.int32) for name in ("classes", "weights"))
    dense = np.zeros((n, 2))
    np.put_along_axis(dense, classes, weights / 32767, axis=1)
    truth = dict(zip(rows["id"].to_pylist(), map("ab".index, TRUTH), strict=True))
    return float(dense[np.arange(n), [truth[name] for name in views["id"].to_pylist()]].mean())


def folds(known: Curation, night: str = FIRST) -> dict[str, int]:
    rows = stored(known, "rows", night)
    keys = np.array([int(text[:16], 16) for text in rows["content_hash"].to_pylist()], np.uint64)
    return dict(zip(rows["id"].to_pylist(), folds_of(keys, FOLDS).tolist(), strict=True))


def test_views_are_judged_by_what_was_decided_and_not_by_what_was_given(tmp_path: Path) -> None:
    trust = {}
    for relearn in (False, True):
        known = relearning(tmp_path / str(relearn), {FIRST: TRUTH}, relearn)
        bring_up_to_date(known, [FIRST], BEFORE)
        people_say(known)
        run(known, FIRST, "reinforce")
        trust[relearn] = trust_in_truth(known)
    assert trust[False] < 0.8
    assert trust[True] > 0.9


def models(known: Curation) -> list[dict[str, np.ndarray]]:
    """What the teachers of each fold know that are asked about the night's views."""
    store = Store(known.store, known.dataset)
    ref = store.ref("reinforcements", FIRST)
    assert ref
    places = load_state(store, FIRST, f"teach-{ref.fingerprint}-models").info
    partition, key = places["0"]
    states = [load_state(store, partition, f"teach-{key}-fold{fold}").arrays for fold in range(FOLDS)]
    return [{name: each for name, each in state.items() if name != NLL_GRID} for state in states]


def test_nobody_is_asked_about_a_row_whose_label_taught_them(tmp_path: Path) -> None:
    known = relearning(tmp_path, {FIRST: TRUTH})
    bring_up_to_date(known, [FIRST], BEFORE)
    people_say(known)
    run(known, FIRST, "reinforce")
    before = models(known)
    decide(known, {0: {"label": 1}})
    run(known, FIRST, "reinforce")
    fold = folds(known)[stored(known, "labels")["id"][0].as_py()]
    same = [
        all(np.array_equal(old[name], new[name]) for name in old)
        for old, new in zip(before, models(known), strict=True)
    ]
    assert same == [number == fold for number in range(FOLDS)]


def test_they_learn_again_only_where_a_label_that_they_learn_changed(tmp_path: Path) -> None:
    known = relearning(tmp_path, {FIRST: TRUTH})
    bring_up_to_date(known, [FIRST], BEFORE)
    people_say(known)
    decide(known, {5: {"action": "review"}})
    every = [f"0-fold{fold}" for fold in range(FOLDS)]
    assert run(known, FIRST, "reinforce") == [*every, "models", "drawn"]
    decide(known, {5: {"reason": "a second look"}})
    assert run(known, FIRST, "reinforce") == ["models", "drawn"]
    decide(known, {5: {"action": "human"}})
    assert run(known, FIRST, "reinforce") == [*every, "models", "drawn"]


def test_they_learn_again_where_rows_are_encoded_otherwise(tmp_path: Path) -> None:
    every = [f"0-fold{fold}" for fold in range(FOLDS)]
    teach = {"teachers": [{"kind": "linear"}], "folds": FOLDS, "relearn": True}
    for encoder in ({"kind": "pixels"}, {"kind": "convnet_embedding"}):
        known = pictures(tmp_path, "crops", teach=teach, ingest={"encoder": encoder})
        bring_up_to_date(known, [FIRST], BEFORE)
        assert run(known, FIRST, "reinforce") == [*every, "models", "drawn"]


def test_without_a_label_to_rely_on_it_says_what_to_leave_out(tmp_path: Path) -> None:
    known = relearning(tmp_path, {FIRST: TRUTH})
    bring_up_to_date(known, [FIRST], BEFORE)
    decide(known, {place: {"action": "review"} for place in range(ROWS)})
    with pytest.raises(NothingToLearn, match=r"reinforce of 2026-01-01: .* leave out teach\.relearn"):
        run(known, FIRST, "reinforce")


def test_a_later_night_learns_from_its_window(tmp_path: Path) -> None:
    nights = {FIRST: TRUTH, SECOND: TRUTH}
    trust = {}
    for told in (False, True):
        known = relearning(tmp_path / str(told), nights)
        bring_up_to_date(known, nights, BEFORE)
        if told:
            people_say(known)
        run(known, SECOND, "reinforce")
        trust[told] = trust_in_truth(known, SECOND)
    assert trust[True] > trust[False] + 0.05


def test_nights_in_turn_a_rerun_and_lost_states_give_the_same_bytes(tmp_path: Path) -> None:
    nights = {FIRST: TRUTH, SECOND: TRUTH}
    known, other = (relearning(tmp_path / name, nights) for name in ("one", "other"))
    bring_up_to_date(known, nights)
    for stage in (*BEFORE, "reinforce", "distill"):
        bring_up_to_date(other, reversed(list(nights)) if stage == "reinforce" else nights, (stage,))
    found = contents(known)
    assert found == contents(other)
    forget_states(known)
    bring_up_to_date(known, nights)
    assert contents(known) == found


def test_views_are_the_same_whoever_judges_them(tmp_path: Path) -> None:
    found = []
    for relearn in (False, True):
        known = relearning(tmp_path / str(relearn), {FIRST: TRUTH}, relearn)
        bring_up_to_date(known, [FIRST], (*BEFORE, "reinforce"))
        found.append(stored(known, "reinforcements").select(["id", "draw", "transform"]))
    assert found[0].equals(found[1])


def test_a_commit_names_the_states_that_it_needs(tmp_path: Path) -> None:
    known = relearning(tmp_path, {FIRST: TRUTH})
    bring_up_to_date(known, [FIRST], (*BEFORE, "reinforce"))
    store = Store(known.store, known.dataset)
    ref = store.ref("reinforcements", FIRST)
    assert ref
    from tasks.plan import Planner
    from tasks.stages import STAGES

    planner = Planner(known, store)
    job = planner.job(planner.stage(STAGES["reinforce"], FIRST))
    assert job
    used = STAGES["reinforce"].states_used(job)
    assert len(used) == len(set(used)) == FOLDS + 2
    assert all(store.has_state(*state.split("/", 1)) for state in used)


def test_it_is_refused_where_nobody_draws_views(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="add reinforce or leave out relearn"):
        curation(
            tmp_path,
            {FIRST: TRUTH},
            teach={"teachers": [{"kind": "linear"}], "relearn": True},
            reinforce=None,
        )
