"""Reinforce: K views of every kept row, each with the opinion of the teachers that never saw the row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.snapshot import Snapshot, Window
from storage.tables import TRANSFORM
from tasks.config import Curation
from tasks.data import Examples, SoftLabels, State, array_to_lists
from tasks.reinforce import NO_PARTNER, REGIONS, Adapted, Reinforcer, Transforms
from tasks.seeds import folds_of, seed_of
from tasks.stages import relearned
from tasks.stages.asking import MODELS, ask, together
from tasks.stages.base import Job, Stage
from tasks.stages.reading import examples, picked
from tasks.stages.views import DRAWN, Kept, asked_before, drawn, kept_rows

REVISION = 2
"""Raised whenever other values would be stored of the same views and opinions."""


class ReinforceStage(Stage):
    name = "reinforce"
    tables = ("reinforcements",)
    reads = ("rows", "soft_labels", "labels")

    def enabled(self, curation: Curation) -> bool:
        return curation.reinforce is not None

    def identity(self, curation: Curation) -> Any:
        teachers = [teacher.identity() for teacher in curation.teach.teachers] if curation.teach else []
        encoder = curation.ingest.encoder
        decides = [method(curation).identity(), teachers, encoder.identity() if encoder else None, REVISION]
        return [*decides, "relearned", curation.device] if relearned.relearns(curation) else decides

    def inputs(
        self, curation: Curation, snapshot: Snapshot, partition: str, made: frozenset[str]
    ) -> dict[str, Window | None]:
        """What the partition holds, and what its teachers learn from where they learn again."""
        found = super().inputs(curation, snapshot, partition, made)
        if not relearned.relearns(curation) or not all(found.values()):
            return found
        return found | relearned.window(curation, snapshot, partition)

    def rounds(self, job: Job) -> list[list[str]]:
        first = [*relearned.parts(job), MODELS] if relearned.relearns(job.curation) else []
        return [first, [DRAWN]]

    def place(self, job: Job, part: str) -> tuple[str, str]:
        if part == DRAWN:
            return super().place(job, part)
        return job.partition, relearned.state_name(job, part)

    def states_used(self, job: Job) -> list[str]:
        return ["/".join(self.place(job, part)) for parts in self.rounds(job) for part in parts]

    def fit(self, job: Job, part: str) -> State:
        if part != DRAWN:
            return relearned.fit(job, part)
        return drawn(job, method(job.curation), seed(job.curation))

    def noted(self, curation: Curation) -> dict[str, Any]:
        """What redraws the views: a release is read with the method that made it, whatever the YAML says
        by then."""
        return {"reinforcer": method(curation).identity()}

    def size(self, job: Job) -> int:
        return job.own("rows").rows

    def apply(self, job: Job, start: int, stop: int) -> dict[str, pa.Table]:
        rows, state = kept_rows(job), job.state(DRAWN)
        here = np.flatnonzero((rows.places >= start) & (rows.places < stop))
        recipes = state.arrays["recipes"][here]
        stored, known = asked_before(job, rows.ids[here], recipes, state.info["asked"])
        if stored is not None and known.all():
            return {"reinforcements": stored}
        made = views_with_opinions(job, rows, here[~known], state.arrays.get("partners"))
        return {"reinforcements": made if stored is None else in_order(rows.ids[here], stored, made)}


def method(curation: Curation) -> Reinforcer:
    assert curation.reinforce is not None
    return curation.reinforce


def seed(curation: Curation) -> int:
    return seed_of(curation.dataset, method(curation).identity())


def views_with_opinions(job: Job, kept: Kept, mine: np.ndarray, partners: np.ndarray | None) -> pa.Table:
    """Rows of the table for the kept rows number `mine`. partners: (n * draws,) for all n kept rows."""
    reinforcer, teach = method(job.curation), job.curation.teach
    assert teach is not None
    draws = reinforcer.draws
    rows = picked_rows(job, kept, mine)
    payload = payload_of(reinforcer, rows)
    shape = payload.shape[1:]
    transforms = reinforcer.sample(rows.keys, shape, seed(job.curation))
    owners = np.repeat(np.arange(len(mine)), draws)
    redrawn, partner = reinforcer.replay(payload[owners], transforms), np.full(len(owners), -1)
    if partners is not None:
        partner = np.where(transforms["partner_draw"] < 0, -1, partners.reshape(-1, draws)[mine].ravel())
        transforms |= {"partner_draw": np.where(partner < 0, NO_PARTNER, transforms["partner_draw"])}
        redrawn = mixed(job, kept, redrawn, transforms, partner)
    pred_probs = opinions(job, as_examples(job, rows, owners, redrawn))
    adapted = reinforcer.adapt(pred_probs, kept.labels[mine], kept.flagged[mine], transforms, shape)
    if partners is None and "partner_draw" in adapted.transforms:
        partner = np.where(adapted.transforms["partner_draw"] < 0, -1, mine[owners])
    others = pa.array(kept.ids, pa.string()).take(pa.array(partner, pa.int64(), mask=partner < 0))
    numbers = np.tile(np.arange(draws, dtype=np.int16), len(mine))
    return as_table(rows.ids[owners], numbers, others, adapted, teach.top_k)


def opinions(job: Job, views: Examples) -> np.ndarray:
    """What the teachers that never saw a view's row say of it, together: (m, n_classes)."""
    assert job.curation.teach is not None
    taught = relearned.taught(job)
    names, log_probs, _ = ask(job, views, folds_of(views.keys, job.curation.teach.folds), taught)
    return together(job, names, log_probs, taught)


def picked_rows(job: Job, kept: Kept, mine: np.ndarray) -> Examples:
    """Kept rows by their numbers, in order, with what the reinforcer reads."""
    reads, places = [method(job.curation).reads], kept.places[mine]
    span = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
    return examples(job, [job.own("rows")], reads, span).take(places - span[0])


def payload_of(reinforcer: Reinforcer, rows: Examples) -> np.ndarray:
    payload = rows.images if reinforcer.reads == "images" else rows.features
    assert payload is not None
    return payload


def mixed(job: Job, kept: Kept, views: np.ndarray, transforms: Transforms, partner: np.ndarray) -> np.ndarray:
    """The views with their partners' views mixed in. partner: (m,) numbers of kept rows, -1 for none."""
    reinforcer, with_partner = method(job.curation), np.flatnonzero(partner >= 0)
    if not len(with_partner):
        return views
    numbers, which = np.unique(partner[with_partner], return_inverse=True)
    rows = picked(job, [job.own("rows")], kept.places[numbers], [reinforcer.reads])
    payload = payload_of(reinforcer, rows)
    theirs = reinforcer.sample(rows.keys, payload.shape[1:], seed(job.curation))
    draw = which * reinforcer.draws + transforms["partner_draw"][with_partner]
    others = reinforcer.replay(payload[which], {name: values[draw] for name, values in theirs.items()})
    own = {name: values[with_partner] for name, values in transforms.items()}
    views[with_partner] = reinforcer.mix(views[with_partner], others, own)
    return views


def as_examples(job: Job, rows: Examples, owners: np.ndarray, redrawn: np.ndarray) -> Examples:
    """The views as examples of their own, encoded again."""
    reads, encoder = method(job.curation).reads, job.curation.ingest.encoder
    views = replace(
        rows.take(owners),
        images=redrawn if reads == "images" else None,
        features=redrawn if reads == "features" else None,
        embedding=None,
    )
    return replace(views, embedding=encoder.encode(views)) if encoder else views


def as_table(ids: np.ndarray, draw: np.ndarray, partner: pa.Array, adapted: Adapted, top_k: int) -> pa.Table:
    """Rows of `reinforcements` for the views that are kept; m views in all."""
    # Without a label, so that the tail is all that is not listed: nothing here is told of a given label.
    soft = SoftLabels.from_pred_probs(ids, np.full(len(ids), -1, np.int32), adapted.targets, top_k)
    regions = adapted.regions
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "draw": pa.array(draw),
            "transform": as_struct(adapted.transforms, len(ids)),
            "partner": partner,
            "classes": array_to_lists(soft.classes),
            "weights": array_to_lists(soft.weights),
            "tail": pa.array(soft.tail),
            "region": pa.nulls(len(ids), pa.string())
            if regions is None
            else pa.array(REGIONS).take(pa.array(regions)),
        }
    )
    return table.filter(pa.array(adapted.keep))


def as_struct(transforms: Transforms, n: int) -> pa.Array:
    """The `transform` column: null where this reinforcer has no such parameter."""
    fields = [
        pa.array(transforms[f.name], f.type) if f.name in transforms else pa.nulls(n, f.type)
        for f in TRANSFORM
    ]
    return pa.StructArray.from_arrays(fields, fields=list(TRANSFORM))


def in_order(ids: np.ndarray, *tables: pa.Table) -> pa.Table:
    """Views of different rows as one table, in the order of `ids`, each row's as they were."""
    schema = tables[0].schema
    table = pa.concat_tables([part.select(schema.names).cast(schema) for part in tables])
    place = pc.index_in(table["id"], pa.array(ids, pa.string())).to_numpy()
    return table.take(np.argsort(place, kind="stable"))
