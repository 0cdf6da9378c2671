"""Distill: a small set a class, from the window's curated labels.

A class is a fit of its own. What it gives is named by what decides it, the class's rows and little
else, and kept under the last partition that has such a row: a night does again only the classes
that it changed, and whoever comes later, in any order, arrives at the same bytes. A shard is a run
of classes; it puts the table together. Methods that make all classes together (`Joint`) have a fit of
the rows that they learn from first, kept alike, and the class takes its part out of that.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage.snapshot import Snapshot, Window
from storage.store import Store
from storage.tables import conform, file_schema
from tasks.config import Curation
from tasks.data import ONE, Examples, State, array_to_lists
from tasks.distill import Distilled, Distiller, Joint
from tasks.seeds import seed_of
from tasks.stages.asking import judged, looked_at, soft_labels
from tasks.stages.base import Job, Stage, load_state, spans
from tasks.stages.distill_digests import (
    PROJECTOR,
    TOGETHER,
    depends_on_teachers,
    digest_projector,
    digest_together,
    digests,
    identity_of,
    learned,
    method,
    shown,
    under,
)
from tasks.stages.reading import picked, picked_columns
from tasks.stages.trusted import decided, rows_of, trusted

if TYPE_CHECKING:
    from tasks.distill.recipe import AskView

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
        parts = [f"class{label}" for label in trusted(job).classes]
        distiller = method(job.curation)
        first = [TOGETHER] * isinstance(distiller, Joint) + [PROJECTOR] * (distiller.projector is not None)
        return [first, parts] if parts and first else [parts]

    def place(self, job: Job, part: str) -> tuple[str, str]:
        """Under the last partition that has a row of the class, or one of those that all are made from."""
        if part == TOGETHER:
            return under(job, job.once(learned)), f"distill-{job.once(digest_together)}"
        if part == PROJECTOR:
            return under(job, job.once(shown)), f"{PROJECTOR}-{job.once(digest_projector)}"
        label = int(part.removeprefix("class"))
        return under(job, trusted(job).places(label)), f"distill-{job.once(digests)[label]}"

    def states_used(self, job: Job) -> list[str]:
        return ["/".join(self.place(job, part)) for parts in self.rounds(job) for part in parts]

    def fit(self, job: Job, part: str) -> State:
        """One class distilled, see `packed`; or what all are cut from."""
        distiller = method(job.curation)
        if part == TOGETHER:
            assert isinstance(distiller, Joint)
            seed = seed_of(job.curation.dataset, identity_of(distiller))
            return distiller.fit(decided(job, job.once(learned), distiller.reads), seed, job.device)
        if part == PROJECTOR:
            assert distiller.projector is not None
            rows, seed = decided(job, job.once(shown), ["images"]), seed_of(job.curation.dataset, PROJECTOR)
            return distiller.projector.fit(rows, partial(judged, job), len(job.classes), seed, job.device)
        label = int(part.removeprefix("class"))
        if isinstance(distiller, Joint):
            made = within_class(job, label, distiller.cut(state_together(job), label))
            return packed(made, *said(job, label, made))
        assert isinstance(distiller, Distiller)
        later = (other for other in trusted(job).classes if other > label)
        stale = (n for n in later if not job.store.has_state(*self.place(job, f"class{n}")))
        rows = rows_of(job, label, stale, distiller.reads)
        seed = seed_of(job.curation.dataset, identity_of(distiller), label)
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


def projector_of(store: Store, partition: str) -> AskView | None:
    """Who labels views of a partition's distilled set, as it was committed last; None where the curation
    asks for no projector. (n, h, w, c) uint8 -> log-probabilities (n, n_classes) float32."""
    from tasks.distill.projector import answers

    ref = store.ref("distilled", partition)
    named = store.info(ref).get("states", []) if ref else []
    found = [state.split("/") for state in named if state.split("/")[1].startswith(f"{PROJECTOR}-")]
    return answers(load_state(store, *found[0])) if found else None


def state_together(job: Job) -> State:
    return load_state(job.store, *DistillStage().place(job, TOGETHER))


def within_class(job: Job, label: int, made: Distilled) -> Distilled:
    """Origins as numbers of rows of the class, not of those that all classes were learned from."""
    rows, own = job.once(learned), trusted(job).places(label)
    return replace(made, origins=[np.searchsorted(own, rows[origin]).tolist() for origin in made.origins])


def said(job: Job, label: int, made: Distilled) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the examples as classes and weights, (m, k): the class itself, or what the teachers say
    who left out the fold of an example's first origin; of a mosaic, the mean of what they say of its tiles.
    An example that is of no row is judged as some row of its class would be.
    """
    m, own = len(made.origins), trusted(job).places(label)
    if method(job.curation).labels == "hard":
        return np.full((m, 1), label, np.int32), np.full((m, 1), ONE, np.int16)
    places = own[[origin[0] if origin else number % len(own) for number, origin in enumerate(made.origins)]]
    if method(job.curation).labels == "static":
        return static_labels(job, trusted(job).rows.take(places), made.images, made.features, made.tiles)
    if made.images is None and made.features is None:
        return soft_labels(job, picked(job, job.inputs["rows"], places, looked_at(job)))
    rows = trusted(job).rows.take(places)
    return soft_labels(job, rows, made.images, made.features, made.tiles)


def static_labels(
    job: Job,
    rows: Examples,
    images: np.ndarray | None = None,
    features: np.ndarray | None = None,
    tiles: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """As `soft_labels`, by the networks that the distiller trained."""
    distiller, state = method(job.curation), state_together(job)
    assert isinstance(distiller, Joint)
    say = partial(distiller.opinion, state, n_classes=len(job.classes), device=job.device)
    return soft_labels(job, rows, images, features, tiles, say)


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
