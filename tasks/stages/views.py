"""Views of a partition's rows: who is mixed with whom, and what was asked about them before.

Teachers are asked only about views that nobody asked them about yet. Beside the table lies a state that
says, for every row, what its views come from besides the teachers (its `recipe`), and for all of them
who was asked (`asked`). A run looks at what the partition holds: where the same teachers were asked,
rows of an equal recipe keep what is stored of them. The bytes are those of asking about everything
again, since a row's views are a function of its recipe and of whom is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StoreError, Unreachable
from tasks.data import State, ints_or_minus_one, keys_of
from tasks.reinforce import Reinforcer, mixing
from tasks.seeds import folds_of, mix, seed_of
from tasks.stages import relearned
from tasks.stages.asking import MODELS
from tasks.stages.base import Job, load_state
from tasks.stages.hashing import digest_of, hashed
from tasks.stages.reading import examples

DRAWN = "drawn"
"""The state: arrays `recipes` (n,) uint64 of the kept rows in order and, where views are mixed with other
rows', `partners` (n * draws,) int64, places among the kept rows or -1; info `asked`."""

VOUCHED = ("keep", "human")
"""Decisions on labels that nobody doubts, or that a person settled."""


@dataclass(frozen=True)
class Kept:
    """The rows of a partition that were not dropped, n of them, in order.

    places: (n,) int64, where in the partition. ids: (n,) object, str. keys: (n,) uint64. groups: (n,) int,
    rows of which one may be mixed into the other: of one fold and one split. labels: (n,) int32 as decided,
    -1 for none. flagged: (n,) bool, rows whose label nobody vouches for.
    """

    places: np.ndarray
    ids: np.ndarray
    keys: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    flagged: np.ndarray


def kept_rows(job: Job) -> Kept:
    assert job.curation.teach is not None
    rows = examples(job, [job.own("rows")], ())
    decided = job.store.read([job.own("labels")], ["label", "action"])
    places = np.flatnonzero(pc.not_equal(decided["action"], "drop").to_numpy())
    vouched = pc.is_in(decided["action"], pa.array(VOUCHED)).to_numpy()
    folds = folds_of(rows.keys, job.curation.teach.folds)
    assert rows.trains is not None
    return Kept(
        places,
        rows.ids[places],
        rows.keys[places],
        (folds * 2 + rows.trains)[places],
        ints_or_minus_one(decided["label"])[places],
        ~vouched[places],
    )


def drawn(job: Job, reinforcer: Reinforcer, seed: int) -> State:
    """The state that a run leaves for the next."""
    rows = kept_rows(job)
    recipes, arrays = mix(rows.keys, seed_of("row")), {}
    if reinforcer.adapts:
        recipes = mix(recipes ^ (rows.labels + 1).astype(np.uint64), seed_of("label"))
        recipes = mix(recipes ^ rows.flagged.astype(np.uint64), seed_of("flagged"))
    if reinforcer.mixes:
        partners = mixing.partners(rows.keys, rows.groups, reinforcer.draws, seed)
        names = mix(rows.keys ^ names_of(rows.ids), seed_of("partner"))
        for draw, partner in enumerate(partners.T):
            named = np.where(partner >= 0, names[partner], np.uint64(0))
            recipes = mix(recipes ^ named, seed_of("draw", draw))
        arrays["partners"] = partners.ravel()
    return State({"recipes": recipes, **arrays}, {"asked": who_is_asked(job, reinforcer)})


def names_of(ids: np.ndarray) -> np.ndarray:
    """64 bits of each id's hash, (n,) uint64."""
    return keys_of(hashed(pa.table({"id": pa.array(ids, pa.string())}), "sha256(id)"))


def who_is_asked(job: Job, reinforcer: Reinforcer) -> str:
    """A digest of all that turns a recipe into stored views: the reinforcer, and the teachers' states."""
    teach, encoder = job.curation.teach, job.curation.ingest.encoder
    assert teach is not None
    models = load_state(job.store, job.partition, f"teach-{relearned.taught(job)}-{MODELS}")
    return digest_of(
        [
            reinforcer.identity(),
            [teacher.identity() for teacher in teach.teachers],
            [teach.ensemble.identity(), teach.folds, teach.top_k],
            models.info,
            encoder.identity() if encoder else None,
            [job.curation.dataset, job.curation.source.shape, job.curation.device, len(job.classes)],
        ]
    )


def asked_before(
    job: Job, ids: np.ndarray, recipes: np.ndarray, asked: str
) -> tuple[pa.Table | None, np.ndarray]:
    """What is stored of those rows of a shard that nobody need be asked about, in the order it is stored
    in, and which rows they are, (n,) bool. ids: (n,) object; recipes: (n,) uint64.

    A run of the fingerprint that is stored was forced, and asks about everything. What is stored and
    cannot be read any more is no help, and no hindrance either.
    """
    nothing = None, np.zeros(len(ids), bool)
    held = job.store.ref("reinforcements", job.partition)
    if held is None or held.fingerprint == job.fingerprint:
        return nothing
    try:
        state = job.store.load_state(job.partition, f"{job.stage}-{held.fingerprint}-{DRAWN}")
        if state is None or state[1]["asked"] != asked:
            return nothing
        owners = job.store.read([held], ["id"])["id"].combine_chunks().dictionary_encode()
        before = state[0]["recipes"]
        if not len(before) or len(owners.dictionary) != len(before):
            return nothing
        place = pc.index_in(pa.array(ids, pa.string()), owners.dictionary).fill_null(-1).to_numpy()
        same = (place >= 0) & (before[place] == recipes)
        views = np.flatnonzero(np.isin(owners.indices.to_numpy(), place[same]))
        if not len(views):
            return nothing
        table = job.store.read([held], None, (int(views[0]), int(views[-1]) + 1))
        return table.take(views - views[0]), same
    except Unreachable:
        raise
    except StoreError:
        return nothing
