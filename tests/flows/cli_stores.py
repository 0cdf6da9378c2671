"""A data set as seven stages leave it, small enough to know by heart: two nights of three rows.

Row 0001 was given "cat" and fixed to "dog", 0002 waits for a person, 0003 was kept; the input 0009
was rejected. The second night repeats this with ids from 1001. Used by the tests of the command line.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from storage import releases
from storage.classes import extend
from storage.store import Store
from storage.tables import TABLES

NIGHTS = ("2026-01-01", "2026-01-02")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(304)
CURATION = """\
dataset: digits
store: ./store
source: {kind: sklearn_digits, days: 3, start: 2026-01-01}
ingest: {encoder: {kind: pixels}}
teach: {teachers: [{kind: linear}]}
detect: [{kind: confident_learning}]
relabel: {kind: threshold}
"""
ONE = 32767


def curation(folder: Path) -> Path:
    """The curation's file, whose store is `folder`/store."""
    path = folder / "digits.yaml"
    path.write_text(CURATION)
    return path


def filled(folder: Path) -> tuple[Path, Store]:
    """The curation's file and a store that holds two published nights."""
    path = curation(folder)
    store = Store(str(folder / "store"), "digits").open(create=True)
    extend(store, ("cat", "dog", "owl"))
    for number, night in enumerate(NIGHTS):
        for table, data in night_of(number * 1000).items():
            put(store, table, night, data)
        store.save_report(night, "page", f"<html>{night}</html>")
        release(store, night)
    return path, store


def put(
    store: Store,
    table: str,
    partition: str,
    data: pa.Table,
    fingerprint: str = "f0",
    parts: dict[str, str] | None = None,
) -> None:
    """Commit one shard; `parts` are a plan's, so that a later plan can say what changed."""
    info = {"seconds": 1.25, "parts": parts or {}}
    store.write_shard(table, partition, fingerprint, 0, data.num_rows, data)
    store.commit(table, partition, fingerprint, [(0, data.num_rows)], [], info, store.version(table))


def release(store: Store, night: str) -> None:
    versions = {name: store.version(name) for name in TABLES if name != "releases"}
    releases.publish(store, night, "tests", [], {k: v for k, v in versions.items() if v is not None})


def night_of(offset: int) -> dict[str, pa.Table]:
    """Every table's rows of one night."""
    ids = [f"{offset + number:04d}" for number in (1, 2, 3)]
    return {
        "rejects": pa.table(
            {
                "id": [f"{offset + 9:04d}"],
                "source": ["pets.csv"],
                "position": [3],
                "reason": ["unknown_label"],
                "detail": ["'cow' is not one of the classes"],
                "payload": [b"moo"],
            }
        ),
        "rows": pa.table(
            {
                "id": ids,
                "source": ["pets.csv"] * 3,
                "position": [0, 1, 2],
                "content_hash": [f"{n:064x}" for n in range(3)],
                "split": ["train"] * 3,
                "label": [0, 0, 2],
                "image": [PNG] * 3,
                "truth": pa.array([1, None, 2], pa.int32()),
            }
        ),
        "soft_labels": pa.table(
            {
                "id": [*ids, *ids],
                "teacher": ["linear"] * 3 + ["mean"] * 3,
                "fold": [0, 1, 2] * 2,
                "classes": [[1, 0], [1, 0], [2, 1]] * 2,
                "weights": [[32112, 655], [19660, 13107], [32767, 0]] * 2,
                "given_weight": [655, 13107, 32767] * 2,
                "tail": [0] * 6,
            }
        ),
        "issues": pa.table(
            {
                "id": ids,
                "detector": ["confident_learning"] * 3,
                "score": [0.02, 0.4, 1.0],
                "is_issue": [True, True, False],
                "suggested_label": pa.array([1, 1, None], pa.int32()),
                "p_error": [0.98, 0.6, 0.0],
            }
        ),
        "labels": pa.table(
            {
                "id": ids,
                "given": [0, 0, 2],
                "label": [1, 0, 2],
                "action": ["fix", "review", "keep"],
                "confidence": [0.98, 0.4, 1.0],
                "reason": ["teachers give dog 98%", "teachers give dog 60%", "no detector flags it"],
                "decided_by": ["threshold"] * 3,
            }
        ),
        "reinforcements": pa.table(
            {
                "id": [ids[0], ids[0]],
                "draw": [0, 1],
                "transform": pa.array(
                    [{"top": 0}, {"top": 1}], TABLES["reinforcements"].field("transform").type
                ),
                "classes": [[1, 0], [0, 1]],
                "weights": [[ONE, 0], [ONE, 0]],
                "tail": [0, 0],
            }
        ),
        "distilled": pa.table(
            {
                "id": ["herding-1-0"],
                "distiller": ["herding"],
                "label": [1],
                "image": [PNG],
                "origins": [[ids[0]]],
            }
        ),
        "metrics": pa.table(
            {
                "id": ["relabel.label_accuracy_given", "relabel.label_accuracy_curated"],
                "stage": ["relabel", "relabel"],
                "name": ["label_accuracy_given", "label_accuracy_curated"],
                "value": [0.5, 1.0],
                "unit": ["share", "share"],
            }
        ),
    }
