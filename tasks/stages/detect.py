"""Detect: every detector's finding on every row, judged with the window's statistics.

Detectors are fitted side by side, then those that weigh what the others say. These see findings on the
rows that people decided on, made anew from the window as it is now and not read from where an earlier
night left them: one scale for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from storage.snapshot import Snapshot
from storage.snapshot import Window as TableWindow
from tasks.config import Curation
from tasks.data import Labelled, State
from tasks.detect import Window
from tasks.detect.together import find, judges, weighers, with_findings
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
        rows = found["rows"]
        if rows is None or not weighers(curation.detect):
            return found
        reviews = snapshot.lineup("reviews").between(rows.first, partition)["reviews"]
        return {**found, "reviews": reviews} if len(reviews) else found

    def rounds(self, job: Job) -> list[list[str]]:
        rounds = judges(job.curation.detect), weighers(job.curation.detect)
        return [[part_name(number) for number in numbers] for numbers in rounds]

    def fit(self, job: Job, part: str) -> State:
        number = int(part.removeprefix("detector"))
        return job.curation.detect[number].fit(window_for(job, number))

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        detectors, numbers = job.curation.detect, range(len(job.curation.detect))
        shard = labelled(job, len(job.inputs["rows"]) - 1, reads_of(job, numbers), (start, stop))
        windows = [window_for(job, number) for number in numbers]
        found = find(detectors, [job.state(part_name(number)) for number in numbers], windows, shard)
        findings = zip(detectors, found, strict=True)
        return {"issues": by_row([issues.to_arrow(detector.kind) for detector, issues in findings])}


def part_name(number: int) -> str:
    return f"detector{number}"


def reads_of(job: Job, numbers: Iterable[int]) -> frozenset[str]:
    """What any of these detectors reads."""
    return frozenset[str]().union(*(job.curation.detect[number].reads for number in numbers))


def window_for(job: Job, number: int) -> Window:
    """The window as a detector reads it."""
    judging = judges(job.curation.detect)
    reads = reads_of(job, judging)
    people = partial(decided_on, job, reads)
    return Window(len(job.classes), partial(stream, job, reads_of(job, [number])), people, job.curation.task)


def stream(job: Job, reads: frozenset[str], first: int = 0) -> Iterator[Labelled]:
    """The rows of the window from its partition number `first` on, in runs, in order."""
    for number, ref in islice(enumerate(job.inputs["rows"]), first, None):
        for span in runs(ref.rows, len(job.classes)):
            yield labelled(job, number, reads, span)


def decided_on(job: Job, reads: frozenset[str]) -> Labelled:
    """The rows of the window that people decided on, and what the judges find on them."""
    detectors, numbers = job.curation.detect, judges(job.curation.detect)
    states = [job.state(part_name(number)) for number in numbers]
    windows = [window_for(job, number) for number in numbers]
    rows = reviewed(job, reads)
    return with_findings([detectors[number] for number in numbers], states, windows, rows)


def reviewed(job: Job, reads: frozenset[str]) -> Labelled:
    """The rows of the window that people decided on."""
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
    return Labelled.concat(found)
