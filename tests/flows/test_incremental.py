"""Nights one at a time against one backfill. Run: pytest -m slow tests/flows/test_incremental.py"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.store import Store
from storage.tables import TABLES
from tests.conftest import Finished

NIGHTS = [f"2026-01-0{day}" for day in range(1, 5)]


def contents(folder: Path) -> dict[str, str]:
    store = Store(str(folder / "store"), "digits")
    return {
        f"{table} {ref.partition}": ref.content
        for table in TABLES
        if table != "releases"
        for ref in store.refs(table)
    }


@pytest.mark.slow
@pytest.mark.parametrize("refit", [{"growth": 0.6}, {"growth": 0.6, "start": "warm"}])
def test_nights_and_a_backfill_end_in_the_same_tables_whatever_vacuum_removes(
    tmp_path: Path,
    prefect_api: str,
    digits_yaml: Callable[..., Path],
    winnow: Callable[..., Finished],
    refit: dict[str, Any],
) -> None:
    (tmp_path / "nightly").mkdir()
    (tmp_path / "backfill").mkdir()
    teachers = [{"kind": "linear"}, {"kind": "convnet", "max_steps": 40, "min_steps": 10, "width": 8}]
    changes: dict[str, Any] = {"teach__refit": refit, "teach__teachers": teachers, "report__steps": 20}
    nightly = digits_yaml(tmp_path / "nightly", **changes)
    environment = {"PREFECT_API_URL": prefect_api}
    for night in NIGHTS:
        done = winnow("run", nightly, "--partition", night, env=environment)
        assert done.code == 0, done.err
        Store(str(tmp_path / "nightly" / "store"), "digits").vacuum()
    backfill = digits_yaml(tmp_path / "backfill", **changes)
    done = winnow("backfill", backfill, env=environment)
    assert done.code == 0, done.err
    assert contents(tmp_path / "nightly") == contents(tmp_path / "backfill")
    assert winnow("run", nightly, "--partition", NIGHTS[-1]).out.count("is up to date")
