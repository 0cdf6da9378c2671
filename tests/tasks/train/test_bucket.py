"""Training from a store in a bucket. Run with: python -m pytest tests/tasks/train/test_bucket.py"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import torch

from benchmarks._s3 import BUCKET
from tasks.train import ReleaseLoader
from tests.tasks.release.releases import released


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bucket_gives_the_batches_of_a_disk(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: int
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    places = {"disk": None, "bucket": f"s3://{BUCKET}/{uuid.uuid4().hex}"}
    batches = {}
    for place, root in places.items():
        (tmp_path / place).mkdir()
        path = released(tmp_path / place, nights=("2026-01-01",), root=root)
        batches[place] = list(ReleaseLoader(path, 16, num_workers=workers))
    assert len(batches["disk"]) == 4
    for ours, theirs in zip(batches["disk"], batches["bucket"], strict=True):
        assert ours.ids == theirs.ids
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)
