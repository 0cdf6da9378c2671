"""Combinations in a curation that could only fail later, each a sentence that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.config import Curation
    from tasks.method import Method


def impossible(c: Curation) -> list[str]:
    """Sentences for combinations that could only fail later."""
    encoder, payload = c.ingest.encoder, c.source.payload
    payload_of = {"images": "image", "features": "features", "texts": "text"}
    found = task_problems(c)
    if c.classes and len(set(c.classes)) < len(c.classes):
        found.append("classes: a name occurs twice")
    found += class_problems(c)
    kinds = [detector.kind for detector in c.detect]
    if len(set(kinds)) < len(kinds):
        found.append("detect: a detector occurs twice; give each kind once")
    for stage, needs in (
        ("detect", "teach"),
        ("relabel", "detect"),
        ("reinforce", "relabel"),
        ("distill", "relabel"),
    ):
        if getattr(c, stage) and not getattr(c, needs):
            found.append(f"{stage} needs {needs}, which is left out; add it or leave out {stage} too")
    if encoder and payload_of[encoder.reads] != payload:
        gives = payload or "no payload"
        found.append(f"ingest.encoder {encoder.kind} reads {encoder.reads}, but the source gives {gives}")
    teachers = c.teach.teachers if c.teach else ()
    readers: list[tuple[str, str]] = [
        (f"teach.teachers[{i}] {t.kind}", reads)
        for i, t in enumerate(teachers)
        for reads in sorted(t.looks_at())
    ]
    for i, detector in enumerate(c.detect):
        readers += [(f"detect[{i}] {detector.kind}", reads) for reads in sorted(detector.reads)]
    if c.distill:
        readers += [(f"distill {c.distill.kind}", reads) for reads in sorted(c.distill.reads)]
        asks = c.distill.asks or c.distill.labels == "soft" or c.distill.projector is not None
        if asks and not can_be_asked(c):
            found.append(
                f"distill {c.distill.kind} asks teachers about what it makes, which precomputed ones cannot "
                "tell; add one that can, or set labels: hard and leave out projector"
            )
        if c.distill.projector:
            readers.append(("distill.projector", "images"))
    if c.reinforce:
        readers.append((f"reinforce {c.reinforce.kind}", c.reinforce.reads))
        if c.teach and not can_be_asked(c):
            found.append("reinforce needs a teacher that can be asked about views; precomputed ones cannot")
    if c.teach and c.teach.relearn and not c.reinforce:
        found.append("teach.relearn is for views, which are left out; add reinforce or leave out relearn too")
    if "crowdlab" in kinds and any(t.kind == "annotators" for t in teachers):
        found.append(
            "detect crowdlab weighs people against teachers that look at rows; leave out teacher annotators"
        )
    if c.trial and not c.distill:
        found.append("trial tries the distilled set, which is left out; add distill or leave out trial too")
    if c.trial and (payload is None or (payload == "text" and not encoder)):
        found.append("trial needs rows that students can read; map images or features, or add an encoder")
    if c.audit and not c.detect:
        found.append("audit asks detectors, which are left out; add detect or leave out audit too")
    if c.audit and "annotator" in c.audit.noise and not c.source.annotated:
        found.append("audit.noise: annotator plants what people said, so source must map annotations")
    for where, reads in readers:
        if reads == "embedding" and encoder is None:
            found.append(f"{where} reads embeddings, so ingest needs an encoder")
        if reads == "annotations" and not c.source.annotated:
            found.append(f"{where} reads annotations, so source must map annotators or annotations")
        if reads == "dynamics" and not any(teacher.records_dynamics for teacher in teachers):
            found.append(f"{where} reads how a network learned each row, so teach needs a convnet teacher")
        if reads in payload_of and payload_of[reads] != payload:
            found.append(f"{where} reads {reads}, but the source gives {payload or 'no payload'}")
    return found


def can_be_asked(c: Curation) -> bool:
    """Whether some teacher can judge what is no row of a partition."""
    teachers = c.teach.teachers if c.teach else ()
    return any(teacher.cross_fitted and teacher.looks_at() & VIEWED for teacher in teachers)


MOST_CLASSES = 1000
"""Of multi_label: a window's given sets are a byte a row and class."""

ROLES = {"single_label": "label", "multi_label": "labels", "regression": "target"}
"""What a source maps to give rows their labels, by task."""


def task_problems(c: Curation) -> list[str]:
    """Sentences for what cannot be done with rows of the curation's task."""
    found = []
    if c.source.task != c.task:
        found.append(
            f"source {c.source.kind} gives rows of {c.source.task}, and the task is {c.task}; "
            f"give a source that maps {ROLES[c.task]}"
        )
    teachers, ensemble = (c.teach.teachers, c.teach.ensemble) if c.teach else ((), None)
    named: list[tuple[str, Method | None]] = [(f"teach.teachers[{i}]", t) for i, t in enumerate(teachers)]
    named += [(f"detect[{i}]", detector) for i, detector in enumerate(c.detect)]
    named += [("teach.ensemble", ensemble), ("relabel", c.relabel), ("reinforce", c.reinforce)]
    named += [("distill", c.distill), ("audit", c.audit)]
    for where, method in named:
        if method and c.task not in method.tasks:
            known = " and ".join(sorted(method.tasks, reverse=True))
            found.append(f"{where} {method.kind} is for {known}, and the task is {c.task}; leave it out")
    if c.task != "single_label" and c.teach and c.teach.refit.start == "warm":
        found.append(f"teach.refit.start: warm is for single_label, and the task is {c.task}; write fresh")
    if c.task == "regression":
        given = {"classes": c.classes, "rename": c.rename, "retired": c.retired}
        found += [
            f"{name}: regression has no classes; leave it out" for name, value in given.items() if value
        ]
    if c.relabel:
        of_classes = {"fix_at", "review_at", "drop_at", "max_fixed_per_class"} & c.relabel.model_fields_set
        if c.task == "regression" and of_classes:
            found.append(f"relabel.{min(of_classes)}: a number is kept, reviewed or dropped; leave it out")
        if c.task != "regression" and getattr(c.relabel, "drop_below", False):
            found.append(f"relabel.drop_below is for regression, and the task is {c.task}; leave it out")
    if c.task == "multi_label" and len(c.classes or ()) > MOST_CLASSES:
        found.append(f"classes: multi_label takes at most {MOST_CLASSES:,} classes; leave rare ones out")
    return found


VIEWED = frozenset({"images", "embedding"})
"""What a view of a row has."""


def class_problems(c: Curation) -> list[str]:
    """Sentences for names of classes that cannot be meant."""
    found = []
    for old, new in c.rename.items():
        if not old or not new:
            found.append("rename: a class has an empty name; write old: new")
        elif new in c.rename:
            found.append(f"rename: {new} is both a new name and an old one; write {old}: {c.rename[new]}")
        elif c.classes and new not in c.classes:
            found.append(f"rename: {new} is not among classes; write it there in the place of {old}")
    for name in c.retired:
        if c.classes and name not in c.classes:
            found.append(f"retired: {name} is not among classes; keep it there, in its place")
        elif name in c.rename:
            found.append(f"retired: {name} is called {c.rename[name]} now; retire it by that name")
    return found
