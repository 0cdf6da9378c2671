"""A small release that the tests of training and export read: real digits, without a run. No tests here.

Three nights of digits, in files of 16 rows. Of every eight rows one is dropped, one waits for review, one
is softened, one was fixed, one was decided by a person; one row a night is of the split test, and one was
dropped by a person. Teachers are sure of the true class to 70%, of the next one to 20%.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from storage import releases
from storage.classes import extend
from storage.store import Store
from storage.tables import TABLES
from tasks.config import load
from tasks.data import ONE, SoftLabels, array_to_lists, keys_of, optional_ints
from tasks.ingest.images import encode_png
from tasks.reinforce import Reinforcer, mixing
from tasks.reinforce.crops import Crops
from tasks.seeds import seed_of
from tasks.stages.reinforce import as_struct

NIGHTS, ROWS, FILE, DRAWS = ("2026-01-01", "2026-01-02", "2026-01-03"), 64, 16, 3
ACTIONS = ("keep", "drop", "keep", "review", "soften", "fix", "human", "keep")
CROPS = Crops(draws=DRAWS)
TEST, GONE = 7, 6
"""Places of the test row and of the row whose label a person took away."""

CURATION = """\
dataset: digits
store: ./store
source: {kind: sklearn_digits, days: 3, start: 2026-01-01}
ingest: {encoder: {kind: pixels}}
teach: {teachers: [{kind: linear}]}
detect: [{kind: confident_learning}]
relabel: {kind: threshold}
reinforce: {kind: crops, draws: 3}
"""


def released(
    folder: Path,
    nights: tuple[str, ...] = NIGHTS,
    root: str | None = None,
    rows: int = ROWS,
    method: Reinforcer = CROPS,
) -> Path:
    """The curation's file; its store holds a release a night, its views drawn by `method`."""
    path = folder / "digits.yaml"
    path.write_text(CURATION if root is None else CURATION.replace("./store", root))
    curation = load(path)
    store = Store(curation.store, curation.dataset).open(create=True)
    extend(store, curation.vocabulary or ())
    for number, night in enumerate(nights):
        commit(store, night, tables_of(number, rows, method), method)
    return path


def commit(store: Store, night: str, tables: dict[str, pa.Table], method: Reinforcer = CROPS) -> None:
    """Commits a night in files of 16 rows of `rows`, and publishes it."""
    n = tables["rows"].num_rows
    noted = {"reinforcements": {"reinforcer": method.identity()}}
    for table, data in tables.items():
        spans = [(start, min(start + FILE, n)) for start in range(0, n, FILE)]
        per = data.num_rows // n if table == "soft_labels" else 1
        for start, stop in spans:
            part = data.slice(start * per, (stop - start) * per)
            if table == "reinforcements":
                ids = tables["rows"]["id"].slice(start, stop - start)
                part = data.filter(pa.compute.is_in(data["id"], ids.combine_chunks()))
            store.write_shard(table, night, f"f-{night}", start, stop, part)
        store.commit(table, night, f"f-{night}", spans, [], noted.get(table, {}), store.version(table))
    versions = {name: store.version(name) for name in TABLES if name != "releases"}
    releases.publish(store, night, "tests", [], {k: v for k, v in versions.items() if v is not None})


def tables_of(number: int, rows: int = ROWS, method: Reinforcer = CROPS) -> dict[str, pa.Table]:
    """A night's tables."""
    from sklearn.datasets import load_digits

    images, truth = load_digits(return_X_y=True)
    here = slice(number * rows, (number + 1) * rows)
    pixels = np.rint(images[here] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    true = truth[here].astype(np.int32)
    ids = np.array([f"{i:04d}" for i in range(number * rows, (number + 1) * rows)], object)
    actions = np.array(ACTIONS * (rows // 8), object)
    given = np.where(actions == "keep", true, (true + 1) % 10).astype(np.int32)
    label = np.where(np.isin(actions, ("fix", "human")), true, given)
    label = np.where(actions == "drop", -1, label)
    label[GONE] = -1
    hashes = pa.array([f"{seed_of('row', name):016x}" for name in ids])
    split = np.where(np.arange(rows) == TEST, "test", "train").astype(object)
    kept = actions != "drop"
    owners = np.flatnonzero(kept)
    views = np.repeat(owners, method.draws)
    transforms = method.sample(keys_of(hashes)[kept], (8, 8, 1), 1)
    partner = np.full(len(views), -1)
    if "partner_draw" in transforms:
        others = mixing.partners(keys_of(hashes)[kept], np.zeros(len(owners), int), method.draws, 1)
        whom = owners[others.ravel()] if method.mixes else views  # ferkd mixes a row with itself
        partner = np.where(transforms["partner_draw"] < 0, -1, whom)
    opinion = SoftLabels.from_pred_probs(ids, given, believed(true), 10)
    top = SoftLabels.from_pred_probs(ids[views], given[views], believed(true[views]), 10)
    one_sided = SoftLabels.from_pred_probs(ids, given, np.full((rows, 10), 0.1), 10)
    both = [
        one_sided.to_arrow("linear", np.zeros(rows, np.int16)),
        opinion.to_arrow("mean", np.zeros(rows, np.int16)),
    ]
    return {
        "rows": pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "source": pa.array(["digits"] * rows),
                "position": pa.array(np.arange(rows)),
                "content_hash": hashes,
                "split": pa.array(split, pa.string()),
                "label": optional_ints(given),
                "image": encode_png(pixels),
                "truth": pa.array(true),
            }
        ),
        "soft_labels": pa.concat_tables(both).take(np.arange(2 * rows).reshape(2, rows).T.ravel()),
        "labels": pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "given": optional_ints(given),
                "label": optional_ints(label.astype(np.int32)),
                "action": pa.array(actions, pa.string()),
                "confidence": pa.array(np.full(rows, 0.9, np.float32)),
                "reason": pa.array(["because"] * rows),
                "decided_by": pa.array(["threshold"] * rows),
            }
        ),
        "reinforcements": pa.table(
            {
                "id": pa.array(top.ids, pa.string()),
                "draw": pa.array(np.tile(np.arange(method.draws, dtype=np.int16), len(owners))),
                "transform": as_struct(transforms, len(views)),
                "partner": pa.array(ids, pa.string()).take(pa.array(partner, mask=partner < 0)),
                "classes": array_to_lists(top.classes[:, :3]),
                "weights": array_to_lists(top.weights[:, :3]),
                "tail": pa.array(np.zeros(len(views), np.int16)),
            }
        ),
        "distilled": pa.table(
            {
                "id": pa.array([f"herding-{c}-0" for c in range(10)]),
                "distiller": pa.array(["herding"] * 10),
                "label": pa.array(np.arange(10, dtype=np.int32)),
                "image": encode_png(pixels[:10]),
                "classes": pa.array([[c] for c in range(10)], pa.list_(pa.int32())),
                "weights": pa.array([[ONE]] * 10, pa.list_(pa.int16())),
                "origins": pa.array([[name] for name in ids[:10]], pa.list_(pa.string())),
            }
        ),
    }


def believed(true: np.ndarray) -> np.ndarray:
    """What the teachers think: 70% the true class, 20% the next, the rest evenly."""
    probs = np.full((len(true), 10), 0.1 / 8)
    rows = np.arange(len(true))
    probs[rows, true], probs[rows, (true + 1) % 10] = 0.7, 0.2
    return probs
