"""Run: .venv/bin/python -m pytest tests/tasks/reinforce/test_redrawing.py"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.tables import TABLES, conform
from tasks.data import Examples
from tasks.reinforce import NO_PARTNER, Reinforcer, mixing
from tasks.reinforce.crops import Crops
from tasks.reinforce.ferkd import FerKD
from tasks.reinforce.jitter import Jitter
from tasks.reinforce.reinforce import DatasetReinforcement
from tasks.stages.reinforce import as_struct
from tests.tasks.reinforce.redrawing import redrawn

N = 12
MIXING = DatasetReinforcement(draws=4, flip=True)


def rows(n: int = N) -> Examples:
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (n, 9, 8, 3), dtype=np.uint8)
    keys = random.integers(0, 2**64, n, dtype=np.uint64)
    ids = np.array([f"row-{i}" for i in range(n)], object)
    features = random.normal(size=(n, 5)).astype(np.float32)
    return Examples(ids, keys, np.zeros(n, np.int32), images=images, features=features)


def stored(reinforcer: Reinforcer, examples: Examples) -> pa.Table:
    """Draws as the table has them; partners are the next rows, or the row itself where it mixes alone."""
    n, draws = len(examples), reinforcer.draws
    transforms = reinforcer.sample(examples.keys, (9, 8, 3), seed=1)
    owners = np.repeat(np.arange(n), draws)
    partner = np.full(n * draws, -1)
    if "partner_draw" in transforms:
        others = mixing.partners(examples.keys, np.zeros(n, int), draws, 1).ravel()
        partner = np.where(transforms["partner_draw"] >= 0, others if reinforcer.mixes else owners, -1)
    table = pa.table(
        {
            "id": pa.array(examples.ids[owners], pa.string()),
            "draw": pa.array(np.tile(np.arange(draws, dtype=np.int16), n)),
            "transform": as_struct(transforms, n * draws),
            "partner": pa.array(examples.ids, pa.string()).take(pa.array(partner, mask=partner < 0)),
            "classes": pa.array([[0]] * (n * draws), pa.list_(pa.int32())),
            "weights": pa.array([[32767]] * (n * draws), pa.list_(pa.int16())),
            "tail": pa.array(np.zeros(n * draws, np.int16)),
        }
    )
    return conform(table, "reinforcements")


@pytest.mark.parametrize(
    "reinforcer",
    [Crops(draws=4, saturation=0.2), MIXING, FerKD(draws=4), Jitter(draws=4)],
    ids=lambda r: r.kind,
)
def test_every_stored_draw_comes_back_as_it_was_made(reinforcer: Reinforcer) -> None:
    """By hand: the row's own view, and the partner's view of the number that is stored, mixed."""
    examples = rows()
    table = stored(reinforcer, examples)
    views, places = redrawn(reinforcer, examples, table)
    assert places.tolist() == list(range(N * 4))
    transforms = reinforcer.sample(examples.keys, (9, 8, 3), seed=1)
    payload = examples.images if reinforcer.reads == "images" else examples.features
    assert payload is not None
    alone = reinforcer.replay(np.repeat(payload, 4, axis=0), transforms)
    for place, partner in enumerate(table["partner"].to_pylist()):
        expected = alone[place : place + 1]
        if partner is not None:
            other = int(partner[4:]) * 4 + transforms["partner_draw"][place]
            own = {name: values[place : place + 1] for name, values in transforms.items()}
            expected = reinforcer.mix(expected, alone[other : other + 1], own)
        assert np.array_equal(views[place], expected[0])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_choice_in_any_order_gives_the_same_bytes(data: st.DataObject) -> None:
    examples, table = rows(), stored(MIXING, rows())
    whole, _ = redrawn(MIXING, examples, table)
    order = data.draw(st.permutations(range(N)))
    wanted = np.array(data.draw(st.lists(st.integers(0, N * 4 - 1), min_size=0, max_size=30)), np.int64)
    views, places = redrawn(MIXING, examples.take(np.array(order)), table, wanted)
    assert np.array_equal(places, wanted)
    assert np.array_equal(views, whole[wanted])


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    import torch

    examples, table = rows(), stored(MIXING, rows())
    whole, _ = redrawn(MIXING, examples, table)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with ThreadPoolExecutor(threads) as pool:
                parts = pool.map(lambda at: redrawn(MIXING, examples, table, np.array([at]))[0], range(N * 4))
                assert np.array_equal(np.concatenate(list(parts)), whole)
    finally:
        torch.set_num_threads(before)


def test_a_draw_whose_partner_is_gone_is_left_out_and_never_redrawn_alone() -> None:
    examples, table = rows(), stored(MIXING, rows())
    whole, _ = redrawn(MIXING, examples, table)
    with_it = np.array([partner == "row-3" for partner in table["partner"].to_pylist()])
    own = np.array([owner == "row-3" for owner in table["id"].to_pylist()])
    assert with_it.any()
    deleted = examples.take(examples.ids != "row-3")
    views, places = redrawn(MIXING, deleted, table)  # the row was deleted
    assert np.array_equal(places, np.flatnonzero(~with_it & ~own))
    assert np.array_equal(views, whole[places])
    rejected = table.filter(pa.array(~own))  # the row was dropped, and its draws with it
    views, places = redrawn(MIXING, examples, rejected)
    assert np.array_equal(places, np.flatnonzero(~with_it[~own]))
    assert np.array_equal(views, whole[~own][places])


def test_the_partners_own_mixing_is_not_seen() -> None:
    examples, table = rows(), stored(MIXING, rows())
    whole, _ = redrawn(MIXING, examples, table)
    struct = table["transform"].combine_chunks()
    fields = {f.name: struct.field(i) for i, f in enumerate(struct.type)}
    first_row = np.arange(N * 4) < 4
    fields["partner_draw"] = pa.array(
        np.where(first_row, NO_PARTNER, fields["partner_draw"].to_numpy()).astype(np.int16)
    )
    changed = pa.StructArray.from_arrays(list(fields.values()), fields=list(struct.type))
    index = table.column_names.index("transform")
    views, _ = redrawn(MIXING, examples, table.set_column(index, "transform", changed))
    assert np.array_equal(views[4:], whole[4:])


def test_files_from_before_there_were_partners_are_redrawn() -> None:
    """Their structs lack the younger fields, which read as nulls."""
    examples, table = rows(), stored(Crops(draws=4), rows())
    assert set(TABLES["reinforcements"].field("transform").type.names) > {"partner_draw"}
    assert table["partner"].null_count == len(table)
    assert len(redrawn(Crops(draws=4), examples, table)[0]) == N * 4


def test_nothing_is_redrawn_of_nothing_and_rows_without_payload_are_refused() -> None:
    examples, table = rows(), stored(MIXING, rows())
    assert redrawn(MIXING, examples, table.slice(0, 0))[0].shape == (0, 9, 8, 3)
    assert redrawn(MIXING, examples, table, np.zeros(0, np.int64))[0].shape == (0, 9, 8, 3)
    blind = Examples(examples.ids, examples.keys, examples.labels)
    with pytest.raises(ValueError, match="reinforce redraws images, which these rows do not have"):
        redrawn(MIXING, blind, table)
