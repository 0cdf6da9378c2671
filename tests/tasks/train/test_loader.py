"""Training from a release. Run with: python -m pytest tests/tasks/train/test_loader.py"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from storage.classes import extend
from storage.store import Store
from storage.tables import conform
from tasks.config import load
from tasks.data import Examples, keys_of
from tasks.errors import BadInput
from tasks.ingest.images import decode
from tasks.reinforce import Reinforcer
from tasks.reinforce.crops import Crops
from tasks.reinforce.ferkd import FerKD
from tasks.reinforce.reinforce import DatasetReinforcement
from tasks.train import Batch, ReleaseLoader
from tasks.train.order import draw_of
from tests.tasks.reinforce.redrawing import redrawn
from tests.tasks.release.releases import ACTIONS, DRAWS, GONE, NIGHTS, ROWS, TEST, commit, released, tables_of

KEPT = [
    f"{row:04d}"
    for row in range(len(NIGHTS) * ROWS)
    if ACTIONS[row % 8] != "drop" and row % ROWS not in (TEST, GONE)
]
TRUSTED = [name for name in KEPT if ACTIONS[int(name) % 8] in ("keep", "fix", "human")]


@pytest.fixture(scope="module")
def curation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("digits"))


def ids_of(batches: Iterable[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


def same(left: Iterable[Batch], right: Iterable[Batch]) -> bool:
    """Whether two runs of batches are the same, bit for bit."""
    return all(
        a.ids == b.ids and torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)
        for a, b in zip(left, right, strict=True)
    )


# What it gives


def test_every_row_that_was_not_dropped_comes_once_an_epoch(curation: Path) -> None:
    loader = ReleaseLoader(curation, 16)
    first, second = ids_of(loader), ids_of(loader)
    assert sorted(first) == sorted(second) == KEPT
    assert first != second
    assert len(loader) == 11


def test_hard_targets_are_the_labels_that_may_be_relied_on(curation: Path) -> None:
    found = {
        name: int(label)
        for batch in ReleaseLoader(curation, 16, targets="hard")
        for name, label in zip(batch.ids, batch.targets, strict=True)
    }
    truth = np.concatenate([tables_of(night)["rows"]["truth"].to_numpy() for night in range(3)])
    assert found == {name: truth[int(name)] for name in TRUSTED}


def test_soft_targets_are_the_ensembles_and_a_persons_word_outranks_them(curation: Path) -> None:
    truth = np.concatenate([tables_of(night)["rows"]["truth"].to_numpy() for night in range(3)])
    for targets in ("soft", "views"):
        found = {
            name: row.numpy()
            for batch in ReleaseLoader(curation, 16, targets=targets)
            for name, row in zip(batch.ids, batch.targets, strict=True)
        }
        assert sorted(found) == KEPT
        for name, target in found.items():
            true, next_class = truth[int(name)], (truth[int(name)] + 1) % 10
            assert abs(target.sum() - 1) < 1e-6
            if ACTIONS[int(name) % 8] == "human":
                assert target[true] == 1
            else:
                assert target[[true, next_class]] == pytest.approx([0.7, 0.2], abs=1e-4)


def test_a_view_is_the_one_that_was_stored_bit_for_bit(curation: Path) -> None:
    tables = tables_of(0)
    rows, views = tables["rows"], tables["reinforcements"]
    places = {name: place for place, name in enumerate(rows["id"].to_pylist())}
    keys = keys_of(rows["content_hash"])
    stored = {(view["id"], view["draw"]): view["transform"] for view in views.to_pylist()}
    images, *_ = decode(rows["image"].combine_chunks(), (8, 8, 1))
    loader = ReleaseLoader(curation, 16, release=1, seed=4)
    for epoch in range(2):
        for batch in loader:
            for name, shown in zip(batch.ids, batch.inputs.numpy(), strict=True):
                place = places[name]
                draw = int(draw_of(keys[place : place + 1], np.array([DRAWS]), 4, epoch)[0])
                numbers = {k: np.array([v]) for k, v in stored[name, draw].items() if v is not None}
                expected = Crops(draws=DRAWS).replay(images[place : place + 1], numbers)
                assert (shown == expected[0].transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    "method",
    [DatasetReinforcement(draws=4, scale=(0.5, 1)), FerKD(draws=4, scale=(0.5, 1))],
    ids=lambda m: m.kind,
)
@pytest.mark.parametrize("workers", [0, 2])
def test_mixed_views_come_with_their_partners_wherever_those_stand(
    tmp_path: Path, method: Reinforcer, workers: int
) -> None:
    """What `redrawn` makes of the same draws; a night is four files, and partners are of any of them."""
    path = released(tmp_path, method=method)
    loader = ReleaseLoader(path, 16, seed=2, num_workers=workers, buffer_rows=20)
    batches = list(loader)
    shown = {
        name: view for batch in batches for name, view in zip(batch.ids, batch.inputs.numpy(), strict=True)
    }
    sure = {
        name: p.max().item() for batch in batches for name, p in zip(batch.ids, batch.targets, strict=True)
    }
    assert sorted(shown) == KEPT
    for night in range(len(NIGHTS)):
        tables = tables_of(night, method=method)
        rows, draws = tables["rows"], conform(tables["reinforcements"], "reinforcements")
        keys, ids = keys_of(rows["content_hash"]), rows["id"].to_numpy()
        images, *_ = decode(rows["image"].combine_chunks(), (8, 8, 1))
        examples = Examples(ids, keys, np.zeros(len(ids), np.int32), images=images)
        number = dict(zip(ids, draw_of(keys, np.full(len(ids), 4), 2, 0), strict=True))
        wanted = [
            place
            for place, (name, draw) in enumerate(
                zip(draws["id"].to_pylist(), draws["draw"].to_pylist(), strict=True)
            )
            if name in shown and draw == number[name]
        ]
        views, places = redrawn(method, examples, draws, np.array(wanted))
        assert places.tolist() == wanted
        mixed = [draws["partner"][place].is_valid for place in wanted]
        assert 0.3 < np.mean(mixed) < 1
        for place, view in zip(wanted, views, strict=True):
            name, partner = (draws[column][place].as_py() for column in ("id", "partner"))
            by_person = ACTIONS[int(name) % 8] == "human" and partner in (None, name)
            assert sure[name] == pytest.approx(1.0 if by_person else 0.7, abs=1e-4)
            assert (shown[draws["id"][place].as_py()] == view.transpose(2, 0, 1)).all()


def test_rows_may_have_different_numbers_of_views(tmp_path: Path) -> None:
    path = released(tmp_path, nights=())
    store = Store(load(path).store, "digits").open(create=True)
    extend(store, [str(digit) for digit in range(10)])
    tables = tables_of(0)
    draws = tables["reinforcements"]
    fewer = pc.and_(pc.equal(draws["draw"], 2), pc.not_equal(draws["id"], "0002"))
    commit(store, "2026-01-01", tables | {"reinforcements": draws.filter(pc.invert(fewer))})
    loader = ReleaseLoader(path, 64)
    shown: dict[str, list[bytes]] = {}
    for _ in range(6):
        for batch in loader:
            for name, view in zip(batch.ids, batch.inputs, strict=True):
                shown.setdefault(name, []).append(view.numpy().tobytes())
    assert {name: len(set(views)) for name, views in shown.items()} == {
        name: 3 if name == "0002" else 2 for name in KEPT if int(name) < ROWS
    }


def test_every_stored_view_is_shown_before_one_is_repeated(curation: Path) -> None:
    loader = ReleaseLoader(curation, 64)
    shown: dict[str, set[bytes]] = {}
    for _ in range(DRAWS):
        for batch in loader:
            for name, view in zip(batch.ids, batch.inputs, strict=True):
                shown.setdefault(name, set()).add(view.numpy().tobytes())
    assert {len(views) for views in shown.values()} == {DRAWS}


def test_a_held_out_split_is_read_in_its_order(curation: Path) -> None:
    loader = ReleaseLoader(curation, 2, targets="hard", split="test", shuffle=False)
    assert ids_of(loader) == [f"{night * ROWS + TEST:04d}" for night in range(3)]


def test_an_older_release_has_the_rows_of_then(curation: Path) -> None:
    loader = ReleaseLoader(curation, 16, release=1)
    assert sorted(ids_of(loader)) == [name for name in KEPT if int(name) < ROWS]
    assert loader.release == 1
    assert ReleaseLoader(curation, 16).release == 3


def test_another_seed_is_another_order(curation: Path) -> None:
    assert ids_of(ReleaseLoader(curation, 16, seed=1)) != ids_of(ReleaseLoader(curation, 16, seed=2))


def test_a_batch_mixes_rows_of_several_files(curation: Path) -> None:
    batch = next(iter(ReleaseLoader(curation, 16, buffer_rows=60)))
    assert len({int(name) // 16 for name in batch.ids}) > 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_peek_does_not_take_rows_from_the_next_pass(curation: Path, workers: int) -> None:
    loader = ReleaseLoader(curation, 16, num_workers=workers)
    next(iter(loader))
    assert sorted(ids_of(loader)) == KEPT
    assert loader.state_dict()["epoch"] == 2


def test_there_may_be_more_processes_than_batches(curation: Path) -> None:
    loader = ReleaseLoader(curation, 200, num_workers=2)
    assert sorted(ids_of(loader)) == KEPT
    assert len(loader) == 1


# Processes and ranks


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_lose_and_repeat_nothing(curation: Path, workers: int) -> None:
    loader = ReleaseLoader(curation, 16, num_workers=workers, buffer_rows=20)
    epochs = [ids_of(loader) for _ in range(2)]
    assert [sorted(ids) for ids in epochs] == [KEPT, KEPT]
    assert epochs[0] != epochs[1]


def test_the_batches_of_two_processes_can_be_had_from_one(curation: Path) -> None:
    two, none = (ReleaseLoader(curation, 16, num_workers=n, buffer_rows=20) for n in (2, 0))
    none.load_state_dict(two.state_dict())
    assert same(two, none)


@pytest.mark.parametrize("batch_size", [2, 16, 100])
def test_two_ranks_share_the_rows_in_equally_many_batches(curation: Path, batch_size: int) -> None:
    ranks = [ReleaseLoader(curation, batch_size, rank=rank, world_size=2) for rank in (0, 1)]
    batches = [list(loader) for loader in ranks]
    assert sorted(ids_of(itertools.chain(*batches))) == KEPT
    assert len(batches[0]) == len(batches[1]) == len(ranks[0])


def test_drop_last_gives_full_batches_only(curation: Path) -> None:
    ranks = [ReleaseLoader(curation, 7, rank=rank, world_size=2, drop_last=True) for rank in (0, 1)]
    batches = [list(loader) for loader in ranks]
    assert {len(batch.ids) for batch in itertools.chain(*batches)} == {7}
    ids = ids_of(itertools.chain(*batches))
    assert len(ids) == len(set(ids)) == len(KEPT) // 14 * 14


def test_the_rank_is_that_of_torch_distributed(curation: Path, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        assert ReleaseLoader(curation, 16).data.world_size == 1
    finally:
        torch.distributed.destroy_process_group()


# Stopped and taken up again


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_taken_up_in_mid_epoch_it_gives_the_batches_of_an_undisturbed_run(
    curation: Path, workers: int, world_size: int
) -> None:
    for rank in range(world_size):

        def fresh(rank: int = rank) -> ReleaseLoader:
            return ReleaseLoader(
                curation, 12, num_workers=workers, rank=rank, world_size=world_size, buffer_rows=20
            )

        undisturbed = fresh()
        whole = [*undisturbed, *undisturbed]
        steps = len(undisturbed)
        for stop in (1, steps // 2 + 1, steps, steps + 3):
            broken = fresh()
            taken = list(itertools.islice(itertools.chain(broken, broken), stop))
            state = json.loads(json.dumps(broken.state_dict()))
            resumed = fresh()
            resumed.load_state_dict(state)
            rest = [*resumed, *(resumed if stop < steps else [])]
            assert same([*taken, *rest], whole)


def test_a_state_counts_the_batches_taken_and_not_those_made_ready(curation: Path) -> None:
    loader = ReleaseLoader(curation, 12, num_workers=2, prefetch_factor=4)
    passing = iter(loader)
    for _ in range(3):
        next(passing)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (0, 3)


def test_after_the_last_batch_the_state_is_of_the_next_epoch(curation: Path) -> None:
    loader = ReleaseLoader(curation, 12)
    list(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (1, 0)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"seed": 9}, "the state is of seed 0, and this loader has 9"),
        ({"release": 1}, "the state is of release 3, and this loader has 1"),
        ({"targets": "soft"}, "the state is of targets 'views'"),
        ({"num_workers": 2}, "of 3 loading processes, and this loader has 2"),
    ],
)
def test_a_state_of_other_batches_is_refused(curation: Path, other: dict[str, object], sentence: str) -> None:
    state = ReleaseLoader(curation, 16).state_dict() | {"lanes": 3}
    with pytest.raises(BadInput, match=sentence):
        ReleaseLoader(curation, 16, **other).load_state_dict(state)  # type: ignore[arg-type]


# What it takes


def test_no_more_rows_than_the_buffer_and_a_piece_are_held(
    curation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.train import lessons

    held: list[int] = []
    concat = lessons.Lessons.concat.__func__  # type: ignore[attr-defined]

    def counted(cls: type, parts: list[lessons.Lessons]) -> lessons.Lessons:
        joined: lessons.Lessons = concat(cls, parts)
        held.append(len(joined))
        return joined

    monkeypatch.setattr(lessons.Lessons, "concat", classmethod(counted))
    list(ReleaseLoader(curation, 8, buffer_rows=20))
    assert 20 <= max(held) < 20 + 16 + 8


# What it refuses


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"targets": "warm"}, "targets is 'warm', must be one of views, soft, hard"),
        ({"batch_size": 0}, "batch_size is 0, must be at least 1"),
        ({"split": "dev"}, "has no row of the split 'dev' to learn from; its splits are test, train"),
        ({"release": 9}, "digits has no release 9; the newest is 3"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of world_size 2"),
        ({"batch_size": 1, "rank": 0, "world_size": 100}, "do not go round 100 ranks"),
        ({"sampler": [1]}, "sampler is not taken"),
    ],
)
def test_bad_input_is_one_sentence(curation: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        ReleaseLoader(curation, **{"batch_size": 16, **options})  # type: ignore[arg-type]


def test_without_a_release_it_says_what_makes_one(tmp_path: Path) -> None:
    path = released(tmp_path, nights=())
    with pytest.raises(BadInput, match="digits has no published release; `winnow run` makes one"):
        ReleaseLoader(path, 16)


def test_without_stored_views_it_names_the_way_out(tmp_path: Path) -> None:
    path = released(tmp_path, nights=())
    store = Store(load(path).store, "digits").open(create=True)
    extend(store, [str(digit) for digit in range(10)])
    tables = {name: data for name, data in tables_of(0).items() if name in ("rows", "labels", "soft_labels")}
    commit(store, "2026-01-01", tables)
    with pytest.raises(BadInput, match='run reinforce on it, or take targets="soft"'):
        ReleaseLoader(path, 16)
    assert len(ids_of(ReleaseLoader(path, 16, targets="soft"))) == len(KEPT) / 3


def test_views_are_redrawn_by_what_drew_them_whatever_the_curation_says_now(
    curation: Path, tmp_path: Path
) -> None:
    other = tmp_path / "digits.yaml"
    other.write_text(
        curation.read_text()
        .replace("./store", str(curation.parent / "store"))
        .replace("draws: 3", "draws: 5")
    )
    assert same(ReleaseLoader(curation, 16), ReleaseLoader(other, 16))


def test_views_of_another_revision_are_refused(curation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crops, "revision", 99)
    with pytest.raises(BadInput, match="drawn by revision 1 of crops, and this winnow has revision 99"):
        ReleaseLoader(curation, 16)


def test_tables_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    from storage.errors import StoreError

    path = released(tmp_path, nights=())
    store = Store(load(path).store, "digits").open(create=True)
    extend(store, [str(digit) for digit in range(10)])
    tables = tables_of(0)
    wrong = tables["labels"]["id"].to_pylist()
    wrong[0], wrong[1] = wrong[1], wrong[0]
    tables["labels"] = tables["labels"].set_column(0, "id", pa.array(wrong))
    commit(store, "2026-01-01", tables)
    with pytest.raises(StoreError, match="labels of 2026-01-01 do not belong to its rows"):
        list(ReleaseLoader(path, 16))
