"""Distill: a small set a class, from the window's curated labels.

A class is a fit of its own. What it gives is named by what decides it, the class's rows and little
else, and kept under the last partition that has such a row: a night does again only the classes
that it changed, and whoever comes later, in any order, arrives at the same bytes. A shard is a run
of classes; it puts the table together.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from storage.snapshot import Snapshot, Window
from storage.tables import conform, file_schema
from tasks.config import Curation
from tasks.data import ONE, State, array_to_lists
from tasks.distill import Distilled, Distiller
from tasks.seeds import seed_of
from tasks.stages.asking import judged, judges, looked_at, soft_labels
from tasks.stages.base import Job, Stage, load_state, spans
from tasks.stages.dynamics import dynamics_of
from tasks.stages.hashing import digest_of
from tasks.stages.reading import picked, picked_columns
from tasks.stages.trusted import rows_of, trusted

PAYLOADS = ["image", "text", "features"]


class DistillStage(Stage):
    name = "distill"
    tables = ("distilled",)
    reads_window = ("rows", "labels")

    def enabled(self, curation: Curation) -> bool:
        return curation.distill is not None

    def identity(self, curation: Curation) -> Any:
        decides = [method(curation).identity(), curation.device]
        return [*decides, "without held-out rows"] if curation.trial else decides

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, Window | None]:
        """The window's rows and labels; where the teachers decide too, also what tells where they lie."""
        found = super().inputs(curation, snapshot, partition, made)
        needed = depends_on_teachers(method(curation))
        return {**found, "soft_labels": snapshot.own("soft_labels", partition)} if needed else found

    def rounds(self, job: Job) -> list[list[str]]:
        return [[f"class{label}" for label in trusted(job).classes]]

    def place(self, job: Job, part: str) -> tuple[str, str]:
        """Under the last partition that has a row of the class."""
        label = int(part.removeprefix("class"))
        ends = np.cumsum([ref.rows for ref in job.inputs["rows"]])
        last = int(np.searchsorted(ends, trusted(job).places(label)[-1], side="right"))
        return job.inputs["rows"][last].partition, f"distill-{digest(job, label)}"

    def states_used(self, job: Job) -> list[str]:
        return ["/".join(self.place(job, f"class{label}")) for label in trusted(job).classes]

    def fit(self, job: Job, part: str) -> State:
        """One class distilled; see `packed`."""
        label, distiller = int(part.removeprefix("class")), method(job.curation)
        later = (other for other in trusted(job).classes if other > label)
        stale = (n for n in later if not job.store.has_state(*self.place(job, f"class{n}")))
        rows = rows_of(job, label, stale, distiller.reads)
        seed = seed_of(job.curation.dataset, distiller.identity(), label)
        made = distiller.distill(rows, partial(judged, job), seed, job.device)
        return packed(made, *said(job, label, made))

    def size(self, job: Job) -> int:
        return len(job.classes)

    def spans(self, job: Job) -> list[tuple[int, int]]:
        return spans(self.size(job), 1)

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        labels = [label for label in trusted(job).classes if start <= label < stop]
        states = [load_state(job.store, *self.place(job, f"class{label}")) for label in labels]
        tables = [table_of(job, label, state) for label, state in zip(labels, states, strict=True)]
        return {"distilled": pa.concat_tables([file_schema("distilled").empty_table(), *tables])}


def method(curation: Curation) -> Distiller:
    assert curation.distill is not None
    return curation.distill


def depends_on_teachers(distiller: Distiller) -> bool:
    """Whether a class has to be done again when the teachers change."""
    return distiller.asks or distiller.labels == "soft" or "dynamics" in distiller.reads


def digest(job: Job, label: int) -> str:
    """What decides the result of a class: its rows, in order, and how they are looked at."""
    distiller, curation, known = method(job.curation), job.curation, trusted(job)
    places = known.places(label)
    decides: list[Any] = [
        *(curation.dataset, label, distiller.identity(), curation.device, curation.source.shape),
        hashlib.blake2b(known.rows.keys[places].astype("<u8").tobytes(), digest_size=16).hexdigest(),
    ]
    if "embedding" in distiller.reads and curation.ingest.encoder:
        decides.append(curation.ingest.encoder.identity())
    if distiller.asks or distiller.labels == "soft":
        decides.append(judges(job))
    if "dynamics" in distiller.reads:
        rows = replace(known.rows.take(places), labels=known.labels[places])
        dynamics = dynamics_of(job, rows).astype("<f4")
        decides.append(hashlib.blake2b(dynamics.tobytes(), digest_size=16).hexdigest())
    return digest_of(decides)


def said(job: Job, label: int, made: Distilled) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the examples as classes and weights, (m, k): the class itself, or what the teachers say
    who left out the fold of an example's first origin; of a mosaic, the mean of what they say of its tiles.
    """
    m = len(made.origins)
    if method(job.curation).labels == "hard":
        return np.full((m, 1), label, np.int32), np.full((m, 1), ONE, np.int16)
    places = trusted(job).places(label)[[origin[0] for origin in made.origins]]
    if made.images is None and made.features is None:
        return soft_labels(job, picked(job, job.inputs["rows"], places, looked_at(job)))
    rows = trusted(job).rows.take(places)
    return soft_labels(job, rows, made.images, made.features, made.tiles)


def packed(made: Distilled, classes: np.ndarray, weights: np.ndarray) -> State:
    """A class as it is kept: origins are numbers of rows within the class."""
    arrays = {
        "origins": np.array([row for origin in made.origins for row in origin], np.int64),
        "counts": np.array([len(origin) for origin in made.origins], np.int64),
        "classes": classes,
        "weights": weights,
        "images": made.images,
        "features": made.features,
    }
    kept = {name: array for name, array in arrays.items() if array is not None}
    return State(kept, {"tiles": made.tiles})


def table_of(job: Job, label: int, state: State) -> pa.Table:
    """A class as rows of the `distilled` table."""
    from tasks.ingest.images import encode_png

    distiller, arrays, places = method(job.curation), state.arrays, trusted(job).places(label)
    m, ends = len(arrays["counts"]), np.cumsum(arrays["counts"])
    columns: dict[str, Any]
    if "images" in arrays:
        columns = {"image": encode_png(arrays["images"]), "tiles": np.full(m, state.info["tiles"], np.int16)}
    elif "features" in arrays:
        columns = {"features": array_to_lists(arrays["features"])}
    else:
        first = places[arrays["origins"][ends - arrays["counts"]]]
        chosen = picked_columns(job, job.inputs["rows"], first, PAYLOADS)
        columns = {name: chosen[name] for name in PAYLOADS}
        columns["tiles"] = pa.array(np.ones(m, np.int16), mask=chosen["image"].is_null().to_numpy())
    ids = pa.array(trusted(job).rows.ids[places[arrays["origins"]]], pa.string())
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    columns |= {
        "id": [f"{distiller.kind}-{label}-{number}" for number in range(m)],
        "distiller": [distiller.kind] * m,
        "label": np.full(m, label, np.int32),
        "classes": array_to_lists(arrays["classes"]),
        "weights": array_to_lists(arrays["weights"]),
        "origins": pa.ListArray.from_arrays(offsets, ids),
    }
    return conform(pa.table(columns), "distilled")
