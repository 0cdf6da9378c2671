"""A night that was really curated is trained on. Run with: python -m pytest tests/flows/test_training.py"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.history import History
from storage.store import Store
from tasks.config import load
from tasks.reinforce.reinforce import DatasetReinforcement
from tasks.release import open_release
from tasks.train import ReleaseLoader

NIGHT = "2026-01-01"
MIXING = {"kind": "reinforce", "draws": 3, "scale": [0.5, 1.0]}


@pytest.mark.slow
def test_a_curated_night_is_loaded_by_what_drew_its_views(
    winnow: Callable[..., Any], digits_yaml: Callable[..., Path], prefect_api: str, tmp_path: Path
) -> None:
    file = digits_yaml(tmp_path, reinforce=MIXING, distill=None, report__steps=20, report__seeds=1)
    run = winnow("run", file, "--partition", NIGHT)
    assert run.code == 0, run.err
    store = Store(str(tmp_path / "store"), "digits")
    [life] = History(store, "reinforcements").all()
    noted = DatasetReinforcement(draws=3, scale=(0.5, 1.0))
    assert life.info()["reinforcer"] == noted.identity()

    other = digits_yaml(tmp_path, reinforce={"kind": "crops", "draws": 2})
    loader = ReleaseLoader(other, 64)
    assert loader.data.course.methods == (noted,)
    seen = [name for batch in loader for name in batch.ids]
    [partition] = open_release(load(other)).partitions
    actions = store.read(partition.tables["labels"], ["action"])["action"].to_numpy()
    assert len(seen) == len(set(seen)) == np.sum(actions != "drop")

    done = winnow("export", file, tmp_path / "out")
    assert done.code == 0, done.err
    assert "curated" in done.out
    assert "views" in done.out
