"""Run: .venv/bin/python -m pytest tests/tasks/stages/test_distill_together.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field, ValidationError

from storage.store import Store
from storage.vacuum import vacuum
from tasks.config import Curation
from tasks.data import ONE, Examples, State
from tasks.distill import Distilled, Joint, Random, Read
from tasks.stages.distill import projector_of
from tests.tasks.stages.harness import bring_up_to_date, contents, curation, run
from tests.tasks.stages.test_distill import KEEP_ALL, UP_TO_RELABEL, digits, distilled

NIGHTS = {
    "2026-01-01": [*"aaaabbbbcccc" * 3],
    "2026-01-02": [*"aaaaaaaa" * 2],
    "2026-01-03": [*"bc" * 4],
}


class Corners(Joint):
    """The mean of every class, which is also how it judges: by the nearest."""

    kind: Literal["corners"] = "corners"
    reads: ClassVar[frozenset[Read]] = frozenset({"features"})
    per_class: int = Field(1, ge=1)
    seen: ClassVar[list[Examples]] = []

    def fit(self, examples: Examples, seed: int, device: str) -> State:
        assert examples.features is not None
        self.seen.append(examples)
        classes = np.unique(examples.labels)
        means = np.stack([examples.features[examples.labels == label].mean(axis=0) for label in classes])
        first = np.array([np.flatnonzero(examples.labels == label)[0] for label in classes])
        return State({"classes": classes, "means": means, "first": first}, {})

    def cut(self, state: State, label: int) -> Distilled:
        [at] = np.flatnonzero(state.arrays["classes"] == label)
        made = state.arrays["means"][[at, at]]
        return Distilled([[int(state.arrays["first"][at])], []], features=made)

    def opinion(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        assert examples.features is not None
        means = np.full((n_classes, examples.features.shape[1]), 99, np.float32)
        means[state.arrays["classes"]] = state.arrays["means"]
        score = -np.square(examples.features[:, None] - means).sum(axis=2)
        said: np.ndarray = (score - np.logaddexp.reduce(score, axis=1, keepdims=True)).astype(np.float32)
        return said


def corners(tmp_path: Path, **parameters: Any) -> Curation:
    changes = {"relabel": KEEP_ALL}
    return curation(tmp_path, NIGHTS, **changes).model_copy(update={"distill": Corners(**parameters)})


def test_one_fit_sees_every_trusted_row_by_class_and_each_class_is_cut_out_of_it(tmp_path: Path) -> None:
    made, night = corners(tmp_path), min(NIGHTS)
    Corners.seen.clear()
    bring_up_to_date(made, [night], UP_TO_RELABEL)
    assert run(made, night, "distill") == ["together", "class0", "class1", "class2"]
    [seen] = Corners.seen
    assert np.bincount(seen.labels).tolist() == [12, 12, 12]
    rows = {row["id"]: row for row in Store(made.store, made.dataset).read(ref(made, "rows")).to_pylist()}
    found = distilled(made, night)
    assert [row["label"] for row in found] == [0, 0, 1, 1, 2, 2]
    for row in found[::2]:
        [origin] = row["origins"]
        assert rows[origin]["label"] == row["label"]
    assert [row["origins"] for row in found[1::2]] == [[], [], []]
    means = [seen.features[seen.labels == label].mean(axis=0) for label in range(3)]  # type: ignore[index]
    assert np.allclose([row["features"] for row in found[::2]], means)


def ref(made: Curation, table: str) -> Any:
    return Store(made.store, made.dataset).refs(table)


def test_static_labels_are_what_the_networks_of_the_fit_say(tmp_path: Path) -> None:
    made, night = corners(tmp_path), min(NIGHTS)
    bring_up_to_date(made, [night])
    for row in distilled(made, night):
        assert row["classes"][0] == row["label"]
        assert ONE * 0.9 < row["weights"][0] <= ONE
    hard = corners(tmp_path / "hard", labels="hard")
    bring_up_to_date(hard, [night])
    assert [row["weights"] for row in distilled(hard, night)] == [[ONE]] * 6


def test_soft_labels_are_the_teachers_also_of_an_example_that_is_of_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Corners, "opinion")
    made, night = corners(tmp_path, labels="soft"), min(NIGHTS)
    bring_up_to_date(made, [night])
    found = distilled(made, night)
    assert [row["classes"][0] for row in found] == [row["label"] for row in found]


def test_any_changed_row_makes_all_classes_anew_and_an_unchanged_window_makes_none(tmp_path: Path) -> None:
    made = corners(tmp_path)
    first, second, third = sorted(NIGHTS)
    bring_up_to_date(made, sorted(NIGHTS), UP_TO_RELABEL)
    for night in (first, second, third):
        assert run(made, night, "distill") == ["together", "class0", "class1", "class2"]
        assert run(made, night, "distill") == []
    again = corners(tmp_path / "again")
    bring_up_to_date(again, sorted(NIGHTS), UP_TO_RELABEL)
    for night in (third, first, second):
        run(again, night, "distill")
    assert contents(again) == contents(made)


def test_at_most_so_many_rows_are_learned_from_an_equal_share_of_each_class(tmp_path: Path) -> None:
    made, night = corners(tmp_path, rows=17), min(NIGHTS)
    Corners.seen.clear()
    bring_up_to_date(made, [night])
    assert np.bincount(Corners.seen[0].labels).tolist() == [5, 5, 5]


def test_rows_that_are_not_among_those_learned_from_leave_the_fit_as_it_was(tmp_path: Path) -> None:
    made = corners(tmp_path, rows=3)
    bring_up_to_date(made, sorted(NIGHTS), UP_TO_RELABEL)
    fits = {night: "together" in run(made, night, "distill") for night in sorted(NIGHTS)}
    assert not all(fits.values())


def test_vacuum_keeps_the_fit_that_the_next_night_takes_over(tmp_path: Path) -> None:
    made, night = corners(tmp_path), min(NIGHTS)
    bring_up_to_date(made, [night])
    vacuum(Store(made.store, made.dataset), dry_run=False)
    kept = list(Path(made.store, made.dataset, "_states").rglob("distill-*.safetensors"))
    assert len(kept) == 4
    assert run(made, night, "distill") == []


def test_a_distiller_that_trains_no_network_has_no_static_labels() -> None:
    with pytest.raises(ValidationError, match="random trains no networks"):
        Random(labels="static")


TINY = {"kind": "convnet", "width": 4, "epochs": 1, "min_steps": 2, "max_steps": 2, "batch_size": 8}


@pytest.mark.parametrize(
    ("parameters", "rows", "origins"),
    [
        ({"kind": "statistics", "network": TINY, "steps": 2, "per_class": 2}, 20, 0),
        ({"kind": "compensator", "networks": [TINY, TINY], "steps": 2, "per_class": 2}, 30, 1),
    ],
)
def test_the_methods_of_the_papers_go_through_with_a_trial(
    tmp_path: Path, parameters: dict[str, Any], rows: int, origins: int
) -> None:
    trial = {"seeds": 2, "steps": 2, "width": 4, "test_rows": 50}
    made = digits(tmp_path, distill=parameters, trial=trial)
    night = made.source.partitions()[0]
    bring_up_to_date(made, [night], (*UP_TO_RELABEL, "distill", "report"))
    found = distilled(made, night)
    assert len(found) == rows
    assert {len(row["origins"]) for row in found} == {origins}
    assert {row["tiles"] for row in found} == {1}
    assert all(len(row["classes"]) == 10 for row in found)


SPEAKER = {"rank": 2, "width": 4, "steps": 3}


def test_a_projector_is_kept_with_the_set_and_vacuum_leaves_it(tmp_path: Path) -> None:
    made = digits(tmp_path, distill={"kind": "random", "per_class": 2, "projector": SPEAKER})
    night, store = made.source.partitions()[0], Store(made.store, made.dataset)
    bring_up_to_date(made, [night], UP_TO_RELABEL)
    assert run(made, night, "distill") == ["projector", *(f"class{label}" for label in range(10))]
    assert run(made, night, "distill") == []
    kept = list(Path(made.store, made.dataset, "_states").rglob("projector-*.safetensors"))
    assert len(kept) == 1
    vacuum(store, dry_run=False)
    assert kept[0].exists()
    said = projector_of(store, night)
    assert said is not None
    assert np.allclose(np.exp(said(np.zeros((5, 8, 8, 1), np.uint8))).sum(axis=1), 1, atol=1e-5)


def test_without_a_projector_there_is_none_to_ask(tmp_path: Path) -> None:
    made = digits(tmp_path)
    night, store = made.source.partitions()[0], Store(made.store, made.dataset)
    assert projector_of(store, night) is None
    bring_up_to_date(made, [night])
    assert projector_of(store, night) is None


def test_another_projector_leaves_the_classes_as_they_were(tmp_path: Path) -> None:
    random = {"kind": "random", "per_class": 2}
    night = digits(tmp_path).source.partitions()[0]
    bring_up_to_date(digits(tmp_path, distill=random), [night])
    for steps in (3, 4):
        made = digits(tmp_path, distill={**random, "projector": {**SPEAKER, "steps": steps}})
        assert run(made, night, "distill") == ["projector"]


def test_a_projector_needs_pictures_and_teachers_that_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"distill\.projector reads images"):
        curation(tmp_path, NIGHTS, distill={"kind": "random", "projector": {}})
