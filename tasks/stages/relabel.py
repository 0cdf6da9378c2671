"""Relabel: the policy decides from the evidence, and what people decided is laid over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import Curation
from tasks.data import Evidence, Issues, State
from tasks.detect.together import decisive
from tasks.relabel import Policy
from tasks.stages.base import Job, Stage
from tasks.stages.reading import examples, opinion


class RelabelStage(Stage):
    name = "relabel"
    tables = ("labels",)
    reads = ("rows", "soft_labels", "issues")
    reads_if_there = ("reviews",)

    def enabled(self, curation: Curation) -> bool:
        return curation.relabel is not None

    def identity(self, curation: Curation) -> Any:
        return policy(curation).identity()

    def rounds(self, job: Job) -> list[list[str]]:
        return [["policy"]]

    def fit(self, job: Job, part: str) -> State:
        undecided = evidence(job, 0, self.size(job))
        reviews = reviewed(job)
        if reviews is not None:
            people = pc.is_in(pa.array(undecided.ids, pa.string()), reviews["id"].combine_chunks())
            undecided = undecided.take(~people.to_numpy(zero_copy_only=False))
        return policy(job.curation).fit([undecided])

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        from tasks.relabel.reviews import overrule

        shard = evidence(job, start, stop)
        decisions = policy(job.curation).apply(shard, job.state("policy"), job.classes)
        reviews = reviewed(job)
        if reviews is not None:
            decisions = overrule(decisions, reviews)
        return {"labels": decisions.to_arrow()}


def policy(curation: Curation) -> Policy:
    assert curation.relabel is not None
    return curation.relabel


def reviewed(job: Job) -> pa.Table | None:
    """What people decided on rows of this partition, if anything."""
    return job.store.read([job.own("reviews")]) if "reviews" in job.inputs else None


def evidence(job: Job, start: int, stop: int) -> Evidence:
    """All detectors' findings on a run of rows folded into one row an example.

    A row is an issue if any detector says so, or that one which weighs the others; the first of them
    suggests the class. The table holds the findings on a row side by side, in the order of the
    curation's detectors. Of multi_label, an answer is in doubt if any of them doubts it.
    """
    soft = opinion(job, job.own("soft_labels"), job.own("rows")).take(np.arange(start, stop))
    k = len(job.classes) if job.curation.task == "multi_label" else None
    detectors = len(job.curation.detect)
    found = Issues.from_arrow(
        job.store.read([job.own("issues")], None, (start * detectors, stop * detectors)), k
    )
    by_row, heard = (len(soft), detectors), decisive(job.curation.detect)
    is_issue = found.is_issue.reshape(by_row)[:, heard]
    flagged = np.asarray(is_issue.any(axis=1))
    first = is_issue.argmax(axis=1)[:, None]
    suggested = np.take_along_axis(found.suggested_label.reshape(by_row)[:, heard], first, axis=1)[:, 0]
    p_error = np.nan_to_num(found.p_error.reshape(by_row)[:, heard]).max(axis=1)
    before = doubts = None
    if found.doubted is not None:
        rows = examples(job, [job.own("rows")], (), (start, stop))
        before = rows.given
        doubts = np.asarray(found.doubted.reshape(*by_row, len(job.classes))[:, heard].any(axis=1))
    score = None
    if soft.values is not None:
        before = examples(job, [job.own("rows")], (), (start, stop)).given
        score = found.score.reshape(by_row)[:, heard].min(axis=1)
    probs, values = soft.pred_probs(), soft.values
    return Evidence(soft.ids, soft.labels, probs, flagged, p_error, suggested, before, doubts, values, score)
