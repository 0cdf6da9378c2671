"""Detect: every detector's finding on every row, judged with the window's statistics.

Detectors are fitted side by side, then those that weigh what the others say. These see findings on the
rows that people decided on, made anew from the window as it is now and not read from where an earlier
night left them: one scale for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from storage.snapshot import Snapshot
from storage.snapshot import Window as TableWindow
from tasks.config import Curation
from tasks.data import Issues, Labelled, State
from tasks.detect import Window
from tasks.relabel.reviews import last_word
from tasks.stages.base import Job, Stage, by_row
from tasks.stages.reading import labelled, runs


class DetectStage(Stage):
    name = "detect"
    tables = ("issues",)
    reads_window = ("rows", "soft_labels")

    def enabled(self, curation: Curation) -> bool:
        return bool(curation.detect)

    def identity(self, curation: Curation) -> Any:
        return [detector.identity() for detector in curation.detect]

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, TableWindow | None]:
        """The window's rows and soft labels; for who weighs findings, also what people decided on them."""
        found = super().inputs(curation, snapshot, partition, made)
        rows, reviews = found["rows"], snapshot.lineup("reviews").up_to(partition)["reviews"]
        if rows is None or not any(detector.combines for detector in curation.detect):
            return found
        late = sum(name < rows.partitions[0] for name in reviews.partitions)
        within = TableWindow(reviews.lineup, "reviews", late, reviews.stop)
        return {**found, "reviews": within} if len(within) else found

    def rounds(self, job: Job) -> list[list[str]]:
        return [[part_name(number) for number in numbers] for numbers in (judges(job), weighers(job))]

    def fit(self, job: Job, part: str) -> State:
        number = int(part.removeprefix("detector"))
        return job.curation.detect[number].fit(window_for(job, number))

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        reads = frozenset[str]().union(*(detector.reads for detector in job.curation.detect))
        shard = labelled(job, len(job.inputs["rows"]) - 1, reads, (start, stop))
        findings = {number: judged(job, shard, number) for number in judges(job)}
        shard = with_findings(shard, findings)
        findings |= {number: judged(job, shard, number) for number in weighers(job)}
        kinds = [detector.kind for detector in job.curation.detect]
        return {"issues": by_row([findings[number].to_arrow(kind) for number, kind in enumerate(kinds)])}


def part_name(number: int) -> str:
    return f"detector{number}"


def judges(job: Job) -> list[int]:
    """The numbers of the detectors that look at rows."""
    return [number for number, detector in enumerate(job.curation.detect) if not detector.combines]


def weighers(job: Job) -> list[int]:
    """The numbers of those that look at what the others found."""
    return [number for number, detector in enumerate(job.curation.detect) if detector.combines]


def judged(job: Job, shard: Labelled, number: int) -> Issues:
    """One detector's findings on a shard."""
    return job.curation.detect[number].apply(shard, job.state(part_name(number)), window_for(job, number))


def with_findings(shard: Labelled, findings: Mapping[int, Issues]) -> Labelled:
    return replace(shard, findings=tuple(findings[number] for number in sorted(findings)))


def window_for(job: Job, number: int) -> Window:
    """The window as a detector reads it."""
    seen_by = [number] if number in judges(job) else judges(job)
    reads = frozenset[str]().union(*(job.curation.detect[number].reads for number in seen_by))
    return Window(len(job.classes), partial(stream, job, reads), partial(decided_on, job, reads))


def stream(job: Job, reads: frozenset[str]) -> Iterator[Labelled]:
    """The window's rows in runs, in order."""
    for number, ref in enumerate(job.inputs["rows"]):
        for span in runs(ref.rows, len(job.classes)):
            yield labelled(job, number, reads, span)


def decided_on(job: Job, reads: frozenset[str]) -> Labelled:
    """The rows of the window that people decided on, and what the other detectors find on them."""
    reviews = {ref.partition: ref for ref in job.inputs.get("reviews", ())}
    none = labelled(job, len(job.inputs["rows"]) - 1, reads, (0, 0))
    found = [replace(none, decided=np.zeros(0, np.int32))]
    for number, ref in enumerate(job.inputs["rows"]):
        if ref.partition not in reviews:
            continue
        people = last_word(job.store.read([reviews[ref.partition]]))
        for span in runs(ref.rows, len(job.classes)):
            shard = labelled(job, number, reads, span)
            ids = pl.DataFrame({"id": pl.Series(shard.ids, dtype=pl.String)}).with_row_index("place")
            known = ids.join(people, on="id", maintain_order="left")
            labels = known["label"].fill_null(-1).to_numpy()
            found.append(replace(shard.take(known["place"].to_numpy()), decided=labels))
    rows = Labelled.concat(found)
    return with_findings(rows, {number: judged(job, rows, number) for number in judges(job)})
