"""What a curation's file may hold: pytest tests/tasks/test_yaml_file.py

What it may not is in tests/flows/test_hostile.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import BadInput
from tasks.yaml_file import MAX_DEPTH, MAX_REFERENCES, MAX_VALUES, Environment, parse


def parsed(text: str, folder: Path) -> dict[Any, Any]:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    return parse(file)


def test_aliases_and_merge_keys_are_as_in_any_yaml(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"
    assert parsed(text, tmp_path) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}, {"x": 1, "y": 2}],
    }


def test_words_are_words_and_only_true_and_false_are_booleans(tmp_path: Path) -> None:
    text = "on: [yes, no, off, y, n]\nflag: true\nother: False"
    assert parsed(text, tmp_path) == {"on": ["yes", "no", "off", "y", "n"], "flag": True, "other": False}


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("a: [" + "1, " * (MAX_VALUES - 4) + "1]", True),  # the mapping, its key, the list and its numbers
        ("a: [" + "1, " * (MAX_VALUES - 3) + "1]", False),
        ("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), True),
        ("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, False),
        ("a: &a [1, 1, 1]\nb: [" + "*a, " * 4_000 + "1]", True),  # 16,000 values, written out
        ("a: &a [1, 1, 1]\nb: [" + "*a, " * 6_000 + "1]", False),
    ],
)
def test_the_bounds_count_values_with_aliases_written_out(text: str, taken: bool, tmp_path: Path) -> None:
    if taken:
        assert "a" in parsed(text, tmp_path)
    else:
        with pytest.raises(BadInput, match=r"more than 20,000 values|more than 40 deep"):
            parsed(text, tmp_path)


def test_the_environment_fills_references_and_says_which_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "value")
    monkeypatch.setenv("NESTED", "${SET}")
    monkeypatch.delenv("UNSET", raising=False)
    environment = Environment("x.yaml")
    given = {"a": ["${SET}/${UNSET:-default}", 1], "b": "${NESTED}"}
    assert environment.expand(given) == {"a": ["value/default", 1], "b": "${SET}"}
    assert environment.taken == {"SET": "value", "NESTED": "${SET}"}
    with pytest.raises(BadInput, match=r"x\.yaml: the environment variable UNSET is not set"):
        environment.expand("${UNSET}")
    with pytest.raises(BadInput, match="has more than 1,000"):
        environment.expand("${SET}" * MAX_REFERENCES)
