"""What a job's teachers learn from, and what their states are called.

A trained teacher is a function of its window and of little else, so its state is named by what
decides it and kept under the partition that closes the window (the anchor). Whoever needs it first
computes it: the anchor's own night, a later night, a backfill in any order. All arrive at the same
bytes, and nobody trains the same teacher twice.

Which partition is whose anchor follows from the names and row counts of the partitions alone, so
30 nights one by one, a backfill and a rerun agree. One thing more is looked at: a partition that has
labels which its anchor's window has not would be judged by teachers that never heard of them. It
gets teachers of its own, who learn from the anchor's window and from the partition itself.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import pyarrow.compute as pc

from storage.snapshot import Lineup, Window
from storage.store import TableRef
from tasks.stages.base import Job
from tasks.stages.hashing import digest_of
from tasks.teach import Teacher


@dataclass(frozen=True)
class Lesson:
    """One training of a teacher: on a window, for each fold on the other folds' rows. new: the share of
    the window's rows that came after the window of the lesson before."""

    window: Window
    key: str
    new: float

    @property
    def partition(self) -> str:
        """The one that closes the window: states lie there."""
        return self.window.partitions[-1]

    def state_name(self, fold: int) -> str:
        return f"teach-{self.key}-fold{fold}"


@lru_cache(maxsize=4)
def anchors(lineup: Lineup, growth: float, window_size: int | None) -> tuple[int, ...]:
    """The numbers of the partitions that teachers are trained for.

    The first is one, and whichever is the first to have at least `growth` times the rows of the last
    anchor's window after that anchor. New rows are counted, not the window's size: a window of the last
    seven days never grows, and its teachers must not grow old for that.
    """
    rows, count = lineup.rows["rows"], len(lineup.names)
    if not growth:
        return tuple(range(count))
    found, at = [], 0
    while at < count:
        found.append(at)
        learned = rows[at + 1] - rows[first_of(at, window_size)]
        at = bisect_left(rows, rows[at + 1] + growth * learned, at + 2) - 1
    return tuple(found)


def first_of(number: int, window_size: int | None) -> int:
    """Where the window of partition `number` begins."""
    return max(number + 1 - window_size, 0) if window_size else 0


def course(job: Job, teacher: Teacher) -> list[Lesson]:
    """The trainings that lead to a teacher's models, each started from the one before; the last is
    what the job asks. There is one, unless the curation starts its teachers warm."""
    assert job.curation.teach is not None
    fixed = [
        teacher.learner().identity(),
        job.curation.teach.folds,
        job.curation.device,
        job.curation.dataset,
    ]
    lessons: list[Lesson] = []
    for window in windows(job):
        before = lessons[-1] if lessons else None
        decides = [*fixed, window.partitions[-1], window.digest, before.key if before else None]
        lessons.append(
            Lesson(window, digest_of(decides), share_new(window, before.window if before else None))
        )
    return lessons


def share_new(window: Window, before: Window | None) -> float:
    rows = window.lineup.rows["rows"]
    return (rows[window.stop] - rows[before.stop if before else window.start]) / max(window.rows, 1)


def windows(job: Job) -> list[Window]:
    """The windows of a course, the same for every teacher."""
    assert job.curation.teach is not None
    refit, size = job.curation.teach.refit, job.curation.window_size
    given, own = job.inputs.get("lessons", job.inputs["rows"]), job.own("rows")
    lineup = Lineup({"rows": {ref.partition: ref for ref in (*given, own)}})
    found = [lineup.run(0, len(given))["rows"]]
    if refit.start == "warm":
        before = [number for number in anchors(lineup, refit.growth, size) if number < len(given)]
        found = [lineup.run(first_of(number, size), number + 1)["rows"] for number in before]
    if own.partition != given[-1].partition and not labels_of(job, own) <= labels_in(job, found[-1]):
        extended = lineup.run(found[-1].start, len(lineup.names))["rows"]
        found = [*found, extended] if refit.start == "warm" else [extended]
    return found


def labels_in(job: Job, window: Window) -> set[int]:
    """The classes that a window's training rows have. Noted beside the states once they are known, since
    thousands of partitions take seconds to read."""
    place = window.partitions[-1], labels_name(window)
    noted = job.store.load_state(*place)
    if noted is None:
        found: set[int] = set().union(*(labels_of(job, ref) for ref in window.refs))
        noted = {}, {"labels": sorted(found)}
        job.store.save_state(*place, *noted)
    return set(noted[1]["labels"])


def labels_name(window: Window) -> str:
    return f"labels-{window.digest}"


def labels_of(job: Job, ref: TableRef) -> set[int]:
    """The classes that a partition's training rows have."""
    column = "labels" if job.curation.task == "multi_label" else "label"
    rows = job.store.read(ref, [column, "split"])
    labels = rows[column].filter(pc.equal(rows["split"], "train"))
    labels = pc.list_flatten(labels) if column == "labels" else labels
    return set(pc.unique(labels).drop_null().to_pylist())
