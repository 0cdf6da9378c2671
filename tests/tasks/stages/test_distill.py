"""Distill, class by class. Run: .venv/bin/python -m pytest tests/tasks/stages/test_distill.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from storage.store import Store
from storage.vacuum import vacuum
from tasks.config import Curation
from tasks.data import ONE, Examples, keys_of, lists_to_array
from tasks.distill import Ask, Distilled, Distiller, Read
from tasks.report.student import held_out
from tasks.stages import trusted as trusted_rows
from tests.tasks.stages.harness import bring_up_to_date, contents, curation, run

NIGHTS = {
    "2026-01-01": [*"aaaabbbbcccc" * 3],
    "2026-01-02": [*"aaaaaaaa" * 2],
    "2026-01-03": [*"bc" * 4],
}
UP_TO_RELABEL = ("ingest", "teach", "detect", "relabel")


def distilled(made: Curation, partition: str) -> list[dict[str, Any]]:
    store = Store(made.store, made.dataset)
    ref = store.ref("distilled", partition)
    assert ref is not None
    found: list[dict[str, Any]] = store.read(ref).to_pylist()
    return found


def test_a_night_distils_the_classes_that_it_changed_and_gives_what_doing_all_again_gives(
    tmp_path: Path,
) -> None:
    made = curation(tmp_path, NIGHTS, distill={"kind": "herding", "per_class": 3})
    bring_up_to_date(made, NIGHTS, UP_TO_RELABEL)
    assert run(made, "2026-01-01", "distill") == ["class0", "class1", "class2"]
    assert run(made, "2026-01-02", "distill") == ["class0"]
    assert run(made, "2026-01-03", "distill") == ["class1", "class2"]

    again = curation(tmp_path / "again", NIGHTS, distill={"kind": "herding", "per_class": 3})
    bring_up_to_date(again, NIGHTS, UP_TO_RELABEL)
    for night in NIGHTS:
        forget_distilled(again)
        assert len(run(again, night, "distill")) == 3
    assert contents(again) == contents(made)


def forget_distilled(made: Curation) -> None:
    for path in Path(made.store, made.dataset, "_states").rglob("distill-*.safetensors"):
        path.unlink()


def test_nights_in_any_order_arrive_at_the_same_and_share_what_they_did(tmp_path: Path) -> None:
    one, other = (curation(tmp_path / name, NIGHTS) for name in ("one", "other"))
    for made, order in ((one, sorted(NIGHTS)), (other, sorted(NIGHTS, reverse=True))):
        bring_up_to_date(made, sorted(NIGHTS), UP_TO_RELABEL)
        done = {night: run(made, night, "distill") for night in order}
        assert sum(map(len, done.values())) == 6
    assert contents(one) == contents(other)


def test_vacuum_leaves_what_the_next_night_takes_over(tmp_path: Path) -> None:
    made = curation(tmp_path, NIGHTS)
    first, second, _ = sorted(NIGHTS)
    bring_up_to_date(made, [first])
    vacuum(Store(made.store, made.dataset), dry_run=False)
    bring_up_to_date(made, [second], UP_TO_RELABEL)
    assert run(made, second, "distill") == ["class0"]
    vacuum(Store(made.store, made.dataset), dry_run=False)
    assert len(list(Path(made.store, made.dataset, "_states").rglob("distill-*.safetensors"))) == 4


def test_other_parameters_do_every_class_again(tmp_path: Path) -> None:
    bring_up_to_date(curation(tmp_path, NIGHTS), ["2026-01-01"])
    more = curation(tmp_path, NIGHTS, distill={"kind": "random", "per_class": 3})
    assert len(run(more, "2026-01-01", "distill")) == 3


def test_a_class_with_fewer_rows_than_asked_gives_all_and_origins_name_the_rows(tmp_path: Path) -> None:
    nights = {"2026-01-01": [*"aaaaaabbbbbbbbb"]}
    made = curation(tmp_path, nights, distill={"kind": "random", "per_class": 8}, relabel=KEEP_ALL)
    bring_up_to_date(made, nights)
    found = distilled(made, "2026-01-01")
    store = Store(made.store, made.dataset)
    rows = {row["id"]: row for row in store.read(store.refs("rows")).to_pylist()}
    assert [row["label"] for row in found] == [0] * 6 + [1] * 8
    for row in found:
        [origin] = row["origins"]
        assert rows[origin]["label"] == row["label"]
        assert rows[origin]["features"] == row["features"]
        assert (row["classes"], row["weights"]) == ([row["label"]], [ONE])
        assert row["tiles"] is None  # no picture
    assert len({row["origins"][0] for row in found}) == 14


KEEP_ALL = {"kind": "threshold", "fix_at": 1.0, "review_at": 1.0, "drop_at": 1.0}


def soft(made: Curation, partition: str) -> np.ndarray:
    found = distilled(made, partition)
    dense = np.zeros((len(found), len(made.classes or ())))
    for row, target in zip(found, dense, strict=True):
        target[row["classes"]] = row["weights"]
    return dense


def test_soft_labels_of_selected_rows_are_what_the_teachers_said_of_them_out_of_fold(tmp_path: Path) -> None:
    nights = {"2026-01-01": [*"aabbccdd" * 12]}
    made = curation(tmp_path, nights, distill={"kind": "random", "per_class": 4, "labels": "soft"})
    bring_up_to_date(made, nights)
    store = Store(made.store, made.dataset)
    table = store.read(store.refs("soft_labels")).filter(
        store.read(store.refs("soft_labels"))["teacher"].to_numpy() == "mean"
    )
    said = dict(zip(table["id"].to_pylist(), table.select(["classes", "weights"]).to_pylist(), strict=True))
    found = distilled(made, "2026-01-01")
    for row in found:
        before = said[row["origins"][0]]
        assert row["classes"] == before["classes"]
        assert np.abs(np.subtract(row["weights"], before["weights"])).max() <= 1
    assert soft(made, "2026-01-01").max(axis=1).min() < ONE  # and are no one-hot labels


def test_soft_classes_are_done_again_when_the_teachers_changed_and_hard_ones_are_not(tmp_path: Path) -> None:
    first, second, third = sorted(NIGHTS)
    kept_on = {"refit": {"growth": 0.6}}
    for labels, expected in (("hard", [3, 1, 2]), ("soft", [3, 1, 3])):
        distiller = {"kind": "random", "per_class": 2, "labels": labels}
        made = curation(tmp_path / labels, NIGHTS, distill=distiller, **kept_on)
        fitted = bring_up_to_date(made, sorted(NIGHTS), UP_TO_RELABEL)
        assert [len(fitted[night]) > 2 for night in sorted(NIGHTS)] == [True, False, True]
        assert [len(run(made, night, "distill")) for night in (first, second, third)] == expected


class Means(Distiller):
    """The mean of a class, as a new vector, and what the teachers say of it."""

    kind: Literal["means"] = "means"
    reads: ClassVar[frozenset[Read]] = frozenset({"features"})
    asks: ClassVar[bool] = True
    per_class: int = Field(1, ge=1)
    heard: ClassVar[list[np.ndarray]] = []

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        assert examples.features is not None
        mean = examples.features.mean(axis=0, keepdims=True)
        made = Examples(examples.ids[:1], examples.keys[:1], examples.labels[:1], features=mean)
        self.heard.append(ask(made))
        return Distilled([list(range(len(examples)))], features=mean)


def test_what_is_made_is_encoded_and_judged_by_teachers_of_its_first_origins_fold(tmp_path: Path) -> None:
    nights = {"2026-01-01": [*"aabbccdd" * 12]}
    Means.heard.clear()
    made = curation(tmp_path, nights).model_copy(update={"distill": Means(labels="soft")})
    bring_up_to_date(made, nights)
    found = distilled(made, "2026-01-01")
    assert [len(row["origins"]) for row in found] == [24] * 4
    assert np.allclose(soft(made, "2026-01-01") / ONE, np.exp(np.concatenate(Means.heard)), atol=1e-4)
    assert soft(made, "2026-01-01").argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert run(made, "2026-01-01", "distill") == []


class Quarters(Distiller):
    """Four pictures of a class in one."""

    kind: Literal["quarters"] = "quarters"
    reads: ClassVar[frozenset[Read]] = frozenset({"images"})
    per_class: int = Field(1, ge=1)

    def distill(self, examples: Examples, ask: Ask, seed: int, device: str) -> Distilled:
        from tasks.distill.mosaic import encode

        assert examples.images is not None
        return Distilled([[0, 1, 2, 3]], images=encode(examples.images[:4], 2), tiles=2)


def digits(tmp_path: Path, **changes: Any) -> Curation:
    teach = {"teachers": [{"kind": "linear"}], "folds": 2}
    return Curation.model_validate(
        {
            "dataset": "digits",
            "store": str(tmp_path / "store"),
            "source": {"kind": "sklearn_digits", "days": 2},
            "ingest": {"encoder": {"kind": "pixels"}},
            "teach": teach,
            "detect": [{"kind": "confident_learning"}],
            "relabel": {"kind": "threshold"},
            "distill": {"kind": "random", "per_class": 2},
            "report": {"seeds": 1, "steps": 1},
            **changes,
        }
    )


def test_the_soft_label_of_a_mosaic_is_the_mean_over_its_tiles(tmp_path: Path) -> None:
    made = digits(tmp_path).model_copy(update={"distill": Quarters(labels="soft")})
    night = made.source.partitions()[0]
    bring_up_to_date(made, [night])
    found = distilled(made, night)
    assert [row["tiles"] for row in found] == [2] * 10
    weights = lists_to_array(Store(made.store, made.dataset).read(made_ref(made))["weights"], 10, np.int16)
    assert np.abs(weights.sum(axis=1, dtype=np.int64) - ONE).max() <= 5  # rounding, of ten classes


def made_ref(made: Curation) -> Any:
    return Store(made.store, made.dataset).refs("distilled")[0]


def test_rows_are_read_block_by_block_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curation(tmp_path / "whole", NIGHTS, distill={"kind": "herding", "per_class": 3})
    bring_up_to_date(whole, NIGHTS)
    monkeypatch.setattr(trusted_rows, "BLOCK_VALUES", 1)
    each = curation(tmp_path / "each", NIGHTS, distill={"kind": "herding", "per_class": 3})
    bring_up_to_date(each, NIGHTS)
    assert contents(each) == contents(whole)


def test_with_a_trial_no_row_that_it_judges_by_is_distilled(tmp_path: Path) -> None:
    nights = {"2026-01-01": [*"ab" * 40]}
    changes: dict[str, Any] = {"distill": {"kind": "random", "per_class": 1000}, "relabel": KEEP_ALL}
    alone = curation(tmp_path / "alone", nights, **changes)
    tried = curation(tmp_path / "tried", nights, trial={}, **changes)
    kept = []
    for made in (alone, tried):
        bring_up_to_date(made, nights)
        kept.append({row["origins"][0] for row in distilled(made, "2026-01-01")})
    store = Store(alone.store, alone.dataset)
    rows = store.read(store.refs("rows"))
    aside = set(rows["id"].filter(held_out(keys_of(rows["content_hash"]))).to_pylist())
    assert len(kept[0]) == 80
    assert kept[1] == kept[0] - aside
    assert 0 < len(aside) < 40
