"""Detect: every detector's finding on every row, judged with the window's statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.config import Curation
from tasks.data import State
from tasks.stages.base import Job, Stage, by_row
from tasks.stages.reading import opinion, opinions


class DetectStage(Stage):
    name = "detect"
    tables = ("issues",)
    reads_window = ("rows", "soft_labels")

    def enabled(self, curation: Curation) -> bool:
        return bool(curation.detect)

    def identity(self, curation: Curation) -> Any:
        return [detector.identity() for detector in curation.detect]

    def parts(self, job: Job) -> list[str]:
        return [part_name(number) for number in range(len(job.curation.detect))]

    def fit(self, job: Job, part: str) -> State:
        return job.curation.detect[int(part.removeprefix("detector"))].fit(opinions(job))

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        shard = opinion(job, job.own("soft_labels"), job.own("rows")).take(np.arange(start, stop))
        found = [
            detector.apply(shard, job.state(part_name(number))).to_arrow(detector.kind)
            for number, detector in enumerate(job.curation.detect)
        ]
        return {"issues": by_row(found)}


def part_name(number: int) -> str:
    return f"detector{number}"
