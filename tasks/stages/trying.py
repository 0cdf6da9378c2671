"""The trial: students that learn from the partition's distilled set, and from random rows in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.data import Examples, lists_to_array
from tasks.distill.random import draw_rows
from tasks.report.student import held_out
from tasks.report.trial import Trial
from tasks.seeds import seed_of
from tasks.stages.asking import looked_at, soft_labels
from tasks.stages.base import Job
from tasks.stages.distill import static_labels
from tasks.stages.distill_digests import method
from tasks.stages.reading import picked
from tasks.stages.trusted import trusted
from tasks.targets import densify, one_hot


class Lesson(NamedTuple):
    """What a student learns from: inputs are images (m, h, w, c) uint8 or vectors (m, d) float32; targets
    (m, n_classes) float32, each row a distribution."""

    inputs: np.ndarray
    targets: np.ndarray


def trial(job: Job, number: int, yardstick: np.ndarray) -> dict[str, Any]:
    """One pair of students. yardstick: (n,) what the window's rows are judged by, -1 for nothing."""
    made = job.store.read([job.inputs["distilled"][0]])
    seed = seed_of(job.curation.dataset, job.partition, settings_of(job).identity(), number)
    places = tested_on(job, yardstick)
    test = inputs_of(job, places, ())[0]
    found = {
        arm: score(job, lesson, test, yardstick[places], seed)
        for arm, lesson in (("distilled", stored(job, made)), ("random", drawn(job, made, seed)))
    }
    return {**found, "test_rows": len(places)}


def score(job: Job, lesson: Lesson, test: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """How accurate a student of `lesson` is on `test`."""
    from tasks.distill.look import Look
    from tasks.distill.recipe import train_and_score

    s = settings_of(job)
    options: dict[str, Any] = {"width": s.width, "steps": s.steps, "device": job.device}
    return train_and_score(*lesson, test, labels, seed=seed, look=Look(flip=s.flip), **options)


def settings_of(job: Job) -> Trial:
    assert job.curation.trial is not None
    return job.curation.trial


def tested_on(job: Job, yardstick: np.ndarray) -> np.ndarray:
    """Where in the window the rows stand that students are judged on."""
    keys = trusted(job).rows.keys
    places = np.flatnonzero(held_out(keys) & (yardstick >= 0))
    return places[draw_rows(keys[places], settings_of(job).test_rows, seed_of("trial", "test"))]


def stored(job: Job, made: pa.Table) -> Lesson:
    """The distilled set as its readers use it: mosaics decoded, everything else encoded."""
    targets = dense(made, len(job.classes))
    if not made["image"].null_count:
        return decoded(job, made, targets)
    encoder, n = job.curation.ingest.encoder, made.num_rows
    if made["features"].null_count:
        examples = replace(blank(n), texts=made["text"].to_numpy())
    else:
        examples = replace(blank(n), features=lists_to_array(made["features"], n, np.float32))
    vectors = encoder.encode(examples) if encoder else examples.features
    assert vectors is not None
    return Lesson(vectors, targets)


def decoded(job: Job, made: pa.Table, targets: np.ndarray) -> Lesson:
    from tasks.distill import mosaic
    from tasks.ingest.images import decode

    shape = job.curation.source.shape
    assert shape is not None
    images, _, _, _ = decode(made["image"].combine_chunks(), shape)
    tiles = made["tiles"].fill_null(1).to_numpy()
    parts = [
        Lesson(mosaic.decode(images[tiles == t], t), targets[tiles == t].repeat(t**2, axis=0))
        for t in np.unique(tiles).tolist()
    ]
    return Lesson(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def drawn(job: Job, made: pa.Table, seed: int) -> Lesson:
    """As many random trusted rows of each class, with labels of the same kind."""
    known, k = trusted(job), len(job.classes)
    counts = np.bincount(made["label"].to_numpy(), minlength=k)
    places = [
        known.places(label)[draw_rows(known.rows.keys[known.places(label)], m, seed_of(seed, label))]
        for label, m in enumerate(counts.tolist())
    ]
    labels = np.repeat(np.arange(k), [len(each) for each in places])
    distiller = method(job.curation)
    if distiller.labels == "hard":
        inputs, _ = inputs_of(job, np.concatenate(places), ())
        return Lesson(inputs, one_hot(labels, k))
    static = distiller.labels == "static"
    inputs, rows = inputs_of(job, np.concatenate(places), distiller.reads if static else looked_at(job))
    classes, weights = static_labels(job, rows) if static else soft_labels(job, rows)
    return Lesson(inputs, densify(classes, weights, k))


def inputs_of(job: Job, places: np.ndarray, reads: Any) -> tuple[np.ndarray, Examples]:
    """Rows of the window as students see them, and with what else is read of them."""
    own = what_is_read(job)
    rows = picked(job, job.inputs["rows"], places, {own, *reads})
    found = {"images": rows.images, "embedding": rows.embedding, "features": rows.features}[own]
    assert found is not None
    return found, rows


def what_is_read(job: Job) -> str:
    """Pictures as they are, anything else as the encoder's vectors, or as it comes."""
    if job.curation.source.shape:
        return "images"
    return "embedding" if job.curation.ingest.encoder else "features"


def dense(made: pa.Table, k: int) -> np.ndarray:
    n = made.num_rows
    return densify(
        lists_to_array(made["classes"], n, np.int32), lists_to_array(made["weights"], n, np.int16), k
    )


def blank(n: int) -> Examples:
    """Examples that are no rows."""
    return Examples(np.full(n, "", object), np.zeros(n, np.uint64), np.full(n, -1, np.int32))
