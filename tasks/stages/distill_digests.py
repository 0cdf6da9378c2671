"""What decides a distilled set: digests that name the fits of the distill stage, and what those fit.

A class is named by its rows and little else, so that a night finds what another one made of the same rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tasks.config import Curation
from tasks.distill import Joint, Maker
from tasks.distill.random import draw_rows
from tasks.seeds import seed_of
from tasks.stages.asking import judges
from tasks.stages.base import Job
from tasks.stages.dynamics import dynamics_of
from tasks.stages.hashing import digest_of, digest_of_array
from tasks.stages.trusted import trusted

TOGETHER = "together"
"""The fit that all classes are cut from."""

PROJECTOR = "projector"
"""The fit that is kept beside them; also what its state's name begins with."""


def method(curation: Curation) -> Maker:
    assert curation.distill is not None
    return curation.distill


def depends_on_teachers(distiller: Maker) -> bool:
    """Whether a class has to be done again when the teachers change."""
    told = distiller.asks or distiller.labels == "soft" or distiller.projector is not None
    return told or "dynamics" in distiller.reads


def identity_of(distiller: Maker) -> dict[str, Any]:
    """What of it decides the set: the projector has no say in it."""
    return {name: value for name, value in distiller.identity().items() if name != PROJECTOR}


def under(job: Job, places: np.ndarray) -> str:
    """The last partition that holds one of some rows of the window."""
    ends = np.cumsum([ref.rows for ref in job.inputs["rows"]])
    return job.inputs["rows"][int(np.searchsorted(ends, places.max(), side="right"))].partition


def digests(job: Job) -> dict[int, str]:
    """What decides the result of each class: its rows, in order, and how they are looked at."""
    return {label: digest(job, label) for label in trusted(job).classes}


def digest(job: Job, label: int) -> str:
    distiller = method(job.curation)
    decides: list[Any] = [label, *decided_by(job, trusted(job).places(label))]
    if isinstance(distiller, Joint):
        decides.append(job.once(digest_together))
    if distiller.labels == "static":
        assert job.curation.teach is not None
        decides += [len(job.classes), job.curation.teach.top_k]
    if distiller.asks or distiller.labels == "soft":
        decides.append(judges(job))
    return digest_of(decides)


def digest_together(job: Job) -> str:
    """What decides what all classes are cut from: the rows learned from, in order, and their labels."""
    places = job.once(learned)
    return digest_of(
        [TOGETHER, digest_of_array(trusted(job).labels[places], "<i4"), *decided_by(job, places)]
    )


def digest_projector(job: Job) -> str:
    """What decides the projector: the rows that views are of, their labels, and who speaks of them."""
    projector, places = method(job.curation).projector, job.once(shown)
    assert projector is not None
    rows = trusted(job)
    curation = job.curation
    decides: list[Any] = [curation.dataset, projector.identity(), curation.device, curation.source.shape]
    decides += [
        digest_of_array(rows.rows.keys[places], "<u8"),
        digest_of_array(rows.labels[places], "<i4"),
        judges(job),
    ]
    return digest_of(decides)


def decided_by(job: Job, places: np.ndarray) -> list[Any]:
    """Some rows of the window, in order, and how they are looked at."""
    distiller, curation, rows = method(job.curation), job.curation, trusted(job).rows
    decides: list[Any] = [curation.dataset, identity_of(distiller), curation.device, curation.source.shape]
    decides.append(digest_of_array(rows.keys[places], "<u8"))
    if "embedding" in distiller.reads and curation.ingest.encoder:
        decides.append(curation.ingest.encoder.identity())
    if "dynamics" in distiller.reads:
        own = replace(rows.take(places), labels=trusted(job).labels[places])
        decides.append(digest_of_array(dynamics_of(job, own), "<f4"))
    return decides


def learned(job: Job) -> np.ndarray:
    """Where in the window the rows stand that a method learns all classes from, ascending."""
    distiller = method(job.curation)
    assert isinstance(distiller, Joint)
    return shares(job, distiller.rows)


def shown(job: Job) -> np.ndarray:
    """The same of the rows that a projector learns from."""
    projector = method(job.curation).projector
    assert projector is not None
    return shares(job, projector.rows)


def shares(job: Job, rows: int) -> np.ndarray:
    """An equal share of each class's trusted rows, drawn by content: their places in the window."""
    known = trusted(job)
    share, seed = max(rows // len(known.classes), 1), seed_of(job.curation.dataset, TOGETHER)
    found = [
        places[draw_rows(known.rows.keys[places], share, seed)]
        for places in (known.places(label) for label in known.classes)
    ]
    return np.sort(np.concatenate(found))
