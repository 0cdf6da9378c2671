"""What top-k costs: a student that learns from soft labels as they are stored, beside one that learns from
them as the teachers gave them (Shen & Xing, FKD, ECCV 2022, where the student's accuracy is what judges the
compression).

Dense soft labels are stored nowhere, so the partition's rows are asked about once more. That needs teachers
who can be asked, and is done only where `top_k` leaves classes out: else nothing is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.report.student import held_out
from tasks.seeds import seed_of
from tasks.stages.asking import asked, judged, looked_at
from tasks.stages.base import Job
from tasks.stages.reading import examples, opinion
from tasks.targets import normalised

ARMS = ("stored", "dense")


def is_cut(job: Job) -> bool:
    """Whether soft labels lack classes, and all who gave them can be asked again."""
    teach = job.curation.teach
    return (
        teach is not None
        and job.curation.task == "single_label"
        and teach.top_k < len(job.classes)
        and asked(job) == list(teach.teachers)
    )


def students(job: Job, number: int, sees: list[str], yardstick: np.ndarray) -> dict[str, Any]:
    """The held-out accuracy of both, from the same start; None where there is none. sees: what students read;
    yardstick: (n,) what the partition's rows are judged by, -1 for nothing."""
    rows = examples(job, [job.own("rows")], [*{*sees, *looked_at(job)}])
    kept = opinion(job, job.own("soft_labels"), job.own("rows")).pred_probs()
    targets = {"stored": kept, "dense": np.exp(judged(job, rows))}
    assert rows.trains is not None
    aside, student = held_out(rows.keys), job.curation.report
    train, seed = rows.trains & ~aside, seed_of(job.curation.dataset, student.identity(), "cut", number)
    found: dict[str, Any] = {}
    for arm in ARMS:
        shares = normalised(targets[arm][train]).astype(np.float32)
        lesson = rows.take(train), shares, rows.take(aside), yardstick[aside]
        accuracy = student.accuracy(*lesson, len(job.classes), seed, job.device)
        found[arm] = accuracy if np.isfinite(accuracy) else None
    return found
