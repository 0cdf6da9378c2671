"""Fixtures of the storage tests. Run with: python -m pytest tests/storage"""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store of one data set."""
    return Store(f"file://{tmp_path}/store", "digits").open(create=True)
