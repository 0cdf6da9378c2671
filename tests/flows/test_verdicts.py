"""What people read of gates. Run: python -m pytest tests/flows/test_verdicts.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.verdicts import in_short, of_partition, show_verdicts
from storage import releases
from storage.store import Store
from tests.flows.cli_stores import NIGHTS, filled

LAST = NIGHTS[-1]


def check(name: str, passed: bool, value: float | None = 0.5) -> dict[str, Any]:
    return {"name": name, "value": value, "bound": "at most 0.1", "passed": passed}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path)[1]


def test_a_partition_that_another_ones_run_judged_is_found_by_its_name() -> None:
    checks = [check("a", True), check(f"{NIGHTS[0]} a", False), check(f"{NIGHTS[0]} b", True)]
    assert of_partition(checks, LAST, LAST) == checks[:1]
    assert of_partition(checks, NIGHTS[0], LAST) == checks[1:]


def test_the_newest_release_that_judged_a_night_has_the_word(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for passed in (True, False):
        checks = [check("a", passed), check(f"{NIGHTS[0]} b", True)]
        releases.publish(store, LAST, None, checks, {"rows": 1}, "published" if passed else "held")
    show_verdicts(store, LAST)
    out = capsys.readouterr().out
    assert f"gates of {LAST}, release 4: held" in out
    assert out.splitlines()[-1].split() == ["a", "0.5", "at", "most", "0.1", "failed"]
    show_verdicts(store, NIGHTS[0])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["b", "0.5", "at", "most", "0.1", "passed"]


def test_a_night_without_gates_is_said_to_have_none(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    show_verdicts(store, NIGHTS[0])
    assert capsys.readouterr().out == f"no gate has judged {NIGHTS[0]}\n"


def test_in_short_failures_are_told_and_the_rest_is_counted() -> None:
    checks = [check("a", True), check("b", False), check("c", True), check("d", False, None)]
    assert in_short(checks) == "b 0.5, at most 0.1 FAILED; d not measured, at most 0.1 FAILED; 2 passed"
    assert in_short([]) == ""
