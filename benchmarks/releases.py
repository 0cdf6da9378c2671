"""A store with 200 releases: how long the commands that look after them take, and what the doctor finds.

Real digits are dealt over 200 nights, nine a night, through the store's own verbs: rows, soft labels,
issues, labels and figures of each night, with a state, a page and a release. Every tenth night the
labels of an older one are decided anew. The commands are timed as users run them, process start
included, medians of five. Then copies of the store get one corruption each, and `winnow doctor` is to
exit with 1 and to name its kind and its place.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks.figures import Figure
from storage import classes, releases
from storage.files import TEMPORARY
from storage.store import Store, TableRef

NIGHTS, ROUNDS, EVERY = 200, 5, 10
NAMES = tuple(str(digit) for digit in range(10))
CURATION = """\
dataset: digits
store: {store}
source: {{kind: sklearn_digits, days: 90, start: 2026-01-01}}
ingest: {{encoder: {{kind: pixels}}}}
teach: {{teachers: [{{kind: linear}}]}}
detect: [{{kind: confident_learning}}]
relabel: {{kind: threshold}}
"""
Planted = tuple[str, str]
"""The kind of finding that a corruption should be, and the place that should be named."""


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        curation, root = Path(name) / "digits.yaml", Path(name) / "store"
        store = filled(root, progress)
        made = len(releases.listing(store))
        curation.write_text(CURATION.format(store=root), encoding="utf-8")
        alarms = sum(told(curation, *deep).returncode for deep in ((), ("--deep",)))
        commands = {
            "releases": (),
            "rollback": ("100",),
            "diff": ("150", str(made)),
            "doctor": (),
        }
        took: dict[str, list[float]] = {verb: [] for verb in commands}
        for _ in progress.track(range(ROUNDS), description="timing commands"):
            for verb, arguments in commands.items():
                took[verb].append(seconds(verb, str(curation), *arguments))
        named = sum(
            is_named(plant, root, curation)
            for plant in progress.track(PLANTS, description="planting corruptions")
        )
    return [
        Figure("releases", made, "", f"= {NIGHTS}"),
        *(Figure(f"winnow {verb}", statistics.median(took[verb]), "s", "< 2") for verb in commands),
        Figure("corruptions planted", len(PLANTS), "", "≥ 10"),
        Figure("corruptions that winnow doctor named", named, "", f"= {len(PLANTS)}"),
        Figure("alarms on the sound store, quick and deep", alarms, "", "= 0"),
    ]


# The store


def filled(root: Path, progress: Progress) -> Store:
    """The digits over NIGHTS nights, a release each."""
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    store = Store(str(root), "digits").open(create=True)
    classes.extend(store, NAMES)
    nights = [str(date(2026, 1, 1) + timedelta(days=day)) for day in range(NIGHTS)]
    for number in progress.track(range(NIGHTS), description="publishing releases"):
        night, chosen = nights[number], slice(number * 9, number * 9 + 9)
        curate(store, night, images[chosen], targets[chosen].astype(np.int32))
        if number % EVERY == EVERY - 1:
            relabel(store, nights[number - EVERY + 1])
        releases.publish(store, night, None, [], releases.versions(store))
    return store


def curate(store: Store, night: str, images: np.ndarray, targets: np.ndarray) -> None:
    """What a night leaves: five tables, a state and a page."""
    n, ids = len(targets), [f"{night}-{row}" for row in range(len(targets))]
    rows = commit(
        store,
        "rows",
        night,
        {
            "id": ids,
            "source": ["digits"] * n,
            "position": np.arange(n),
            "content_hash": [image.tobytes().hex()[:32] for image in images],
            "split": ["train"] * n,
            "label": targets,
            "features": list(images.astype(np.float32)),
        },
    )
    soft = commit(
        store,
        "soft_labels",
        night,
        {
            "id": ids,
            "teacher": ["linear"] * n,
            "fold": np.arange(n, dtype=np.int16) % 3,
            "classes": [[target] for target in targets],
            "weights": [[32767]] * n,
            "given_weight": [32767] * n,
            "tail": [0] * n,
        },
        rows,
        states=[f"{night}/teach-{night}-fold"],
    )
    for fold in range(3):
        store.save_state(night, f"teach-{night}-fold{fold}", {"coefficients": images.astype(np.float32)}, {})
    issues = {"id": ids, "detector": ["confident_learning"] * n, "score": [1.0] * n}
    commit(store, "issues", night, {**issues, "is_issue": [False] * n, "p_error": [0.0] * n}, soft)
    commit(store, "labels", night, decided(ids, targets, targets), rows, soft)
    figure = {
        "id": ["teach.rows"],
        "stage": ["teach"],
        "name": ["rows"],
        "value": [float(n)],
        "unit": ["rows"],
    }
    commit(store, "metrics", night, figure, rows)
    store.save_report(night, "report", f"<p>{night}</p>")


def relabel(store: Store, night: str) -> None:
    """Decides a night's labels anew: every one becomes the next class."""
    [rows] = [ref for ref in store.refs("rows") if ref.partition == night]
    table = store.read(rows, ["id", "label"])
    given = table["label"].to_numpy()
    data = decided(table["id"].to_pylist(), given, (given + 1) % len(NAMES))
    commit(store, "labels", night, data, rows, fingerprint="f2")


def decided(ids: list[str], given: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Rows of `labels`."""
    n = len(ids)
    how = {
        "action": ["fix"] * n,
        "confidence": [1.0] * n,
        "reason": ["teachers"] * n,
        "decided_by": ["t"] * n,
    }
    return {"id": ids, "given": given, "label": label.astype(np.int32), **how}


def commit(
    store: Store,
    table: str,
    night: str,
    data: dict[str, Any],
    *parents: TableRef,
    fingerprint: str = "f1",
    states: list[str] | None = None,
) -> TableRef:
    """Writes and commits one shard."""
    base, rows = store.version(table), len(data["id"])
    store.write_shard(table, night, fingerprint, 0, rows, pa.table(data))
    made_from = [asdict(parent) for parent in parents]
    return store.commit(table, night, fingerprint, [(0, rows)], made_from, {"states": states or []}, base)


# The commands


def told(curation: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `winnow doctor` says."""
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "doctor", str(curation), *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def seconds(*arguments: str) -> float:
    """Wall time of one command line. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def is_named(plant: Callable[[Store], Planted], root: Path, curation: Path) -> bool:
    """Whether the doctor fails on a copy of the store with that corruption, and names kind and place."""
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    try:
        code, place = plant(Store(str(copy), "digits"))
        curation.write_text(CURATION.format(store=copy), encoding="utf-8")
        answer = told(curation, *["--deep"] * (plant in UNSEEN))
    finally:
        shutil.rmtree(copy)
    lines = [line for line in answer.stdout.splitlines() if line.startswith(f"{code}: ")]
    return answer.returncode == 1 and any(place in line for line in lines)


# The corruptions


def file_of(store: Store, table: str, night: str) -> Path:
    [uri] = store.file_uris(table, partitions=[night])
    return Path(uri)


def missing_file(store: Store) -> Planted:
    path = file_of(store, "labels", "2026-03-03")
    path.unlink()
    return "missing_file", str(path)


def file_of_an_old_release(store: Store) -> Planted:
    path = file_of(store, "labels", "2026-01-01").with_name("f1-00000000-00000009.parquet")
    path.unlink()
    return "missing_file", "releases 1, 2, 3 and "


def truncated_file(store: Store) -> Planted:
    path = file_of(store, "rows", "2026-04-04")
    path.write_bytes(path.read_bytes()[:-100])
    return "damaged_file", str(path)


def damaged_footer(store: Store) -> Planted:
    path = file_of(store, "issues", "2026-02-02")
    path.write_bytes(path.read_bytes()[:-60] + bytes(60))
    return "damaged_file", str(path)


def swapped_values(store: Store) -> Planted:
    path = file_of(store, "rows", "2026-05-05")
    whole, table = path.read_bytes(), pq.read_table(path)
    for at in range(4, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with suppress(OSError, pa.ArrowException):
            if pq.read_table(path) != table and pq.read_metadata(path).num_rows == table.num_rows:
                break
    return "changed_content", str(path)


def orphan(store: Store) -> Planted:
    path = file_of(store, "metrics", "2026-06-06")
    shutil.copy(path, path.with_name("f9-00000000-00000001.parquet"))
    return "orphan_file", str(path.with_name("f9-00000000-00000001.parquet"))


def unfinished(store: Store) -> Planted:
    path = file_of(store, "metrics", "2026-06-06").with_name(f"{TEMPORARY}1-0-f9")
    path.write_bytes(b"half")
    return "unfinished_file", str(path)


def missing_state(store: Store) -> Planted:
    for path in Path(store.path).glob("_states/2026-02-03/*"):
        path.unlink()
    return "missing_state", "_states/2026-02-03/teach-2026-02-03-fold"


def damaged_state(store: Store) -> Planted:
    path = Path(store.path) / "_states/2026-02-04/teach-2026-02-04-fold1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return "damaged_state", str(path)


def broken_parent(store: Store) -> Planted:
    [rows] = [ref for ref in store.refs("rows") if ref.partition == "2026-02-05"]
    strange = TableRef(**{**asdict(rows), "content": "0" * 32})
    given = store.read(rows, ["label"])["label"].to_numpy()
    ids = store.read(rows, ["id"])["id"].to_pylist()
    commit(store, "labels", "2026-02-05", decided(ids, given, given), strange, fingerprint="f3")
    return "broken_parent", "labels of 2026-02-05 was made from rows of 2026-02-05"


def dead_lease(store: Store) -> Planted:
    """A process takes the lease and is gone without a word."""
    code = (
        "import os, sys\nfrom storage.leases import lease\nfrom storage.store import Store\n"
        "with lease(Store(sys.argv[1], 'digits'), '2026-02-06', 0, 'a run that died'): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, store.root], cwd=REPOSITORY)
    return "dead_lease", "a run that died"


def damaged_lease(store: Store) -> Planted:
    folder = Path(store.path) / "_leases/releases"
    path = max(folder.iterdir())
    path.write_text("{")
    os.utime(path, (0, 0))
    return "damaged_lease", str(path)


def missing_commit(store: Store) -> Planted:
    path = Path(store.path) / f"rows/_delta_log/{50:020d}.json"
    path.unlink()
    return "missing_commit", str(path)


def damaged_commit(store: Store) -> Planted:
    path = Path(store.path) / f"labels/_delta_log/{60:020d}.json"
    path.write_text(path.read_text()[:100])
    return "damaged_commit", str(path)


def changed_class(store: Store) -> Planted:
    classes.extend(store, ["ten"])
    path = Path(store.path) / "_classes/000001.json"
    path.write_text(path.read_text().replace('"0", "1"', '"1", "0"'))
    return "changed_classes", str(path)


def impossible_release(store: Store) -> Planted:
    with releases.turn(store, "a benchmark"):
        number = releases.append(store, "2026-02-07", None, [], {"rows": 9999}, releases.PUBLISHED)
    return "broken_release", f"release {number} names version 9999 of rows"


def missing_page(store: Store) -> Planted:
    shutil.rmtree(Path(store.path) / "_reports/2026-02-08")
    return "missing_report", "_reports/2026-02-08"


def link_outside(store: Store) -> Planted:
    path = file_of(store, "rows", "2026-02-09")
    outside = Path(store.root).parent / "outside.parquet"
    shutil.move(path, outside)
    path.symlink_to(outside)
    return "link_outside", str(path)


PLANTS: list[Callable[[Store], Planted]] = [
    missing_file,
    file_of_an_old_release,
    truncated_file,
    damaged_footer,
    swapped_values,
    orphan,
    unfinished,
    missing_state,
    damaged_state,
    broken_parent,
    dead_lease,
    damaged_lease,
    missing_commit,
    damaged_commit,
    changed_class,
    impossible_release,
    missing_page,
    link_outside,
]
UNSEEN = {swapped_values}
"""What only `--deep` can see: the file is whole, and holds something else."""
