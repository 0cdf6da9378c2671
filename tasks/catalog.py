"""Every built-in method by stage, read off the unions of the stages' folders."""

from __future__ import annotations

from typing import Any, get_args

from tasks.detect import AnyDetector
from tasks.distill import AnyDistiller
from tasks.distill.projector import Projector
from tasks.ingest import AnyEncoder, AnyFilter, AnySource
from tasks.method import Method
from tasks.reinforce import AnyReinforcer
from tasks.relabel import AnyPolicy
from tasks.report.planted_flips import PlantedFlips
from tasks.report.student import Student
from tasks.report.trial import Trial
from tasks.teach import AnyEnsemble, AnyTeacher


def members(annotated: Any) -> list[type[Method]]:
    """The classes of a union behind any number of Annotated."""
    if isinstance(annotated, type):
        return [annotated]
    inner = get_args(annotated)
    candidates = inner if not hasattr(annotated, "__metadata__") else inner[:1]
    return [method for candidate in candidates for method in members(candidate)]


METHODS: dict[str, list[type[Method]]] = {
    "source": members(AnySource),
    "filter": members(AnyFilter),
    "encoder": members(AnyEncoder),
    "teach": members(AnyTeacher),
    "ensemble": members(AnyEnsemble),
    "detect": members(AnyDetector),
    "relabel": members(AnyPolicy),
    "reinforce": members(AnyReinforcer),
    "distill": members(AnyDistiller),
    "projector": [Projector],
    "audit": [PlantedFlips],
    "trial": [Trial],
    "report": [Student],
}
