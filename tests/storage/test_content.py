"""The content hash. Run with: python -m pytest tests/storage/test_content.py"""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.content import content_of

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("image", pa.binary()),
        ("flag", pa.bool_()),
        ("label", pa.int32()),
        ("score", pa.float32()),
        ("classes", pa.list_(pa.int32())),
        ("tags", pa.list_(pa.string())),
        ("votes", pa.list_(pa.struct([("annotator", pa.string()), ("label", pa.int32())]))),
        ("versions", pa.map_(pa.string(), pa.int64())),
        ("when", pa.timestamp("us", "UTC")),
    ]
)
small = st.text("ab", max_size=2)
ints = st.integers(-2, 2)
maybe = st.none
rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": maybe() | small,
            "image": maybe() | st.binary(max_size=2),
            "flag": maybe() | st.booleans(),
            "label": maybe() | ints,
            "score": maybe() | st.sampled_from([0.0, 0.5]),
            "classes": maybe() | st.lists(maybe() | ints, max_size=2),
            "tags": maybe() | st.lists(maybe() | small, max_size=2),
            "votes": maybe()
            | st.lists(
                maybe() | st.fixed_dictionaries({"annotator": maybe() | small, "label": ints}), max_size=2
            ),
            "versions": maybe()
            | st.dictionaries(small, maybe() | ints, max_size=2).map(lambda d: list(d.items())),
            "when": maybe() | ints,
        }
    ),
    max_size=6,
)


def hashed(table: pa.Table, *cuts: int) -> str:
    """The content of a table whose rows are dealt into batches at `cuts`."""
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    pieces = [table.slice(a, b - a) for a, b in pairwise(edges)]
    return content_of(table.schema, (batch for piece in pieces for batch in piece.to_batches()))


@settings(max_examples=60, deadline=None)
@given(rows, st.lists(st.integers(0, 6), max_size=3))
def test_it_does_not_depend_on_how_rows_are_dealt(values: list[dict[str, object]], cuts: list[int]) -> None:
    table = pa.Table.from_pylist(values, schema=SCHEMA)
    assert hashed(table) == hashed(table, *cuts)


@settings(max_examples=60, deadline=None)
@given(rows, rows)
def test_different_values_have_different_hashes(
    first: list[dict[str, object]], second: list[dict[str, object]]
) -> None:
    a, b = (pa.Table.from_pylist(values, schema=SCHEMA) for values in (first, second))
    assert (hashed(a) == hashed(b)) == (a.to_pylist() == b.to_pylist())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["", None], [None, ""]),
        ([], [None]),
        ([None], [None, None]),
    ],
)
def test_values_that_look_alike_end_to_end_are_told_apart(a: list[str], b: list[str]) -> None:
    tables = [pa.table({"x": pa.array(values, pa.string())}) for values in (a, b)]
    assert hashed(tables[0]) != hashed(tables[1])


@pytest.mark.parametrize(
    ("a", "b"),
    [([[1], [2]], [[1, 2], []]), ([[], None], [None, []]), ([[None]], [[]]), ([[1, None]], [[None, 1]])],
)
def test_lists_that_flatten_alike_are_told_apart(a: list[list[int]], b: list[list[int]]) -> None:
    tables = [pa.table({"x": pa.array(values, pa.list_(pa.int32()))}) for values in (a, b)]
    assert hashed(tables[0]) != hashed(tables[1])


def test_bytes_beneath_a_null_do_not_count() -> None:
    mask = pa.array([False, True])
    tables = [
        pa.table(
            {
                "n": pa.Array.from_buffers(
                    pa.int32(), 2, [pa.py_buffer(b"\x01"), pa.array([1, under]).cast("int32").buffers()[1]]
                ),
                "l": pa.ListArray.from_arrays(pa.array([0, 1, 2]), pa.array([5, under]), mask=mask),
            }
        )
        for under in (7, 8)
    ]
    assert hashed(tables[0]) == hashed(tables[1])


def test_names_types_and_order_count() -> None:
    table = pa.table({"x": pa.array([1, 2], pa.int32())})
    others = [table.rename_columns(["y"]), table.cast(pa.schema([("x", pa.int64())])), table.take([1, 0])]
    assert len({hashed(table), *map(hashed, others)}) == 4


def test_it_never_changes_between_versions_of_winnow() -> None:
    table = pa.table({"x": pa.array(["a", None, "bc"]), "y": pa.array([[1], [], None], pa.list_(pa.int16()))})
    assert hashed(table) == "8641055bf3b5d5ff6bc5235f20d994ac"
    assert hashed(table.slice(0, 0)) == "991fa88a1343d37c67a1de5a3f9b8000"
