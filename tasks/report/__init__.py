"""Report: what one night did to one partition, in figures and on one page.

The stage fills a `ReportData`; `page` renders it, `metrics` and `calibration` compute its figures
and `student` measures what the labels are worth. These dataclasses hold exactly what a page shows,
as NumPy and Python values, so a page can be made, tested and read without a store. A part that is
None or empty belongs to a stage that was left out: the page omits its section. Classes are indices
into `class_names` everywhere, -1 for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tasks.report.calibration import Reliability

STAGES = ("ingest", "teach", "detect", "relabel", "reinforce", "distill")
"""The stages whose cost a page tells; the report itself is still being made."""


class Figure(NamedTuple):
    """One row of the `metrics` table. unit: "share" (0..1, a percentage), "ratio" (of a calibration or
    ranking, 0..1), "effect" (0 for none), "target" (that of the rows' numbers), "deviations", "rows",
    "partitions" or "bytes"."""

    stage: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Rejection:
    """Why inputs did not become rows. examples: a few details, as `rejects.detail` holds them."""

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """What ingest was given: rows that it kept, and inputs that it rejected by reason."""

    rows: int
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class LabelChange:
    """What the decisions did to the labels of the partition.

    given, curated: (k,) int64 rows a class, before and after. confusion: (k, k) int64 rows by given
    class (first axis) and curated class; rows without either label are in neither.
    actions: rows by action, in the order of `tasks.data.ACTIONS`. Of multi_label, given and curated count a
    row for each class that it has, confusion is empty, and moved is how many sets changed.
    """

    given: np.ndarray
    curated: np.ndarray
    confusion: np.ndarray
    actions: Mapping[str, int]
    moved: int | None = None


@dataclass(frozen=True)
class Suspect:
    """A row whose given label is probably wrong. picture: PNG bytes, or None and a short `summary`
    of a payload that is not an image. Of other tasks than single_label, given and suggested are -1, and
    `before` and `after` say what was given and what teachers say. p_error: None where nobody says; the
    quality score is told instead."""

    id: str
    given: int
    suggested: int
    p_error: float | None
    action: str
    reason: str
    picture: bytes | None = None
    summary: str = ""
    before: str = ""
    after: str = ""
    score: float = 0.0


@dataclass(frozen=True)
class TeacherQuality:
    """How far a teacher can be trusted on rows it never saw. `bins` and `ece_given` judge it by the
    given labels; the figures against the truth are None where no truth is known. measure: what accuracy_… is
    called; of multi_label it is of whole sets, and bins and ece_… of single answers."""

    name: str
    bins: Reliability
    accuracy_given: float
    ece_given: float
    accuracy_truth: float | None = None
    ece_truth: float | None = None
    measure: str = "accuracy"


@dataclass(frozen=True)
class StudentResult:
    """Accuracy of the fixed student by arm ("given", "curated"), one value a seed.

    against: which labels of the held-out rows counted as right. measure: what the values are, in 0..1.
    """

    arms: Mapping[str, tuple[float, ...]]
    against: Literal["truth", "curated labels"]
    test_rows: int
    measure: str = "accuracy"


@dataclass(frozen=True)
class TrialResult:
    """Accuracy of students by seed, on the distilled set and on as many random rows, and the 95% interval
    of the margin between them. labels: the kind that both sets have."""

    distilled: tuple[float, ...]
    random: tuple[float, ...]
    low: float
    high: float
    test_rows: int
    examples: int
    labels: str


@dataclass(frozen=True)
class Exemplars:
    """The distilled examples of one class: pictures as PNG bytes, or summaries of other payloads."""

    label: int
    pictures: tuple[bytes, ...] = ()
    summaries: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageCost:
    """What a stage took. methods: their kinds, as the curation names them."""

    stage: str
    methods: tuple[str, ...]
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything that one page shows. notes: sentences that the stages left, such as exceeded caps;
    suspects: the most likely wrong first; stages: those that ran; earlier: the partitions that the
    comparing figures look back to. Verdicts of gates are not on it: they stand with the release, and
    change with the gates, which need no new page."""

    dataset: str
    partition: str
    class_names: tuple[str, ...]
    arrival: Arrival
    notes: tuple[str, ...] = ()
    labels: LabelChange | None = None
    suspects: tuple[Suspect, ...] = ()
    teachers: tuple[TeacherQuality, ...] = ()
    student: StudentResult | None = None
    distilled: tuple[Exemplars, ...] = ()
    trial: TrialResult | None = None
    stages: tuple[StageCost, ...] = ()
    earlier: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
