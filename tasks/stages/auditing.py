"""The audit: labels planted over the window, in memory, and the curation's detectors run on it once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tasks.data import Labelled
from tasks.detect import Window
from tasks.detect.together import decisive, find, fit
from tasks.report.planted_flips import confusions_of
from tasks.seeds import seed_of
from tasks.stages.base import Job
from tasks.stages.detect import reads_of, reviewed, stream


def audit(job: Job, noise: str) -> dict[str, Any]:
    """How many labels of the partition were planted, and how many of those the decisive detectors flag."""
    method, detectors = job.curation.audit, job.curation.detect
    assert method is not None
    reads = reads_of(job, range(len(detectors))) | ({"annotations"} if noise == "annotator" else set())
    real = Window(len(job.classes), partial(stream, job, reads), partial(reviewed, job, reads))
    confusions = confusions_of(real)
    seed = seed_of(job.curation.dataset, method.identity(), noise)

    def planted(first: int = 0) -> Iterator[tuple[Labelled, Labelled]]:
        for shard in stream(job, reads, first):
            yield shard, method.plant(shard, noise, confusions, seed)

    window = replace(real, read=lambda: (shadow for _, shadow in planted()))
    states, windows = fit(detectors, window), [window] * len(detectors)
    counted = np.zeros(2, np.int64)
    for shard, shadow in planted(len(job.inputs["rows"]) - 1):
        here = shadow.labels != shard.labels
        found = find(detectors, states, windows, shadow)
        flagged = np.any([found[number].is_issue for number in decisive(detectors)], axis=0)
        counted += int(here.sum()), int((here & flagged).sum())
    return {"planted": int(counted[0]), "found": int(counted[1])}
