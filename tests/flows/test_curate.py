"""The whole chain on real digits, against a real Prefect server. Run: pytest tests/flows/test_curate.py"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import releases
from storage.store import Store
from storage.tables import TABLES
from tasks.config import Curation, load
from tests.conftest import REPOSITORY, Finished

NIGHT = "2026-01-01"
STAGE_TABLES = [name for name in TABLES if name not in ("releases", "reviews")]
Digits = Callable[..., Path]


def curate(path: Path, partition: str = NIGHT, force: bool = False) -> Store:
    """Run the flow in this process; the store that it wrote."""
    from flows.curate import curate as flow
    from flows.engine import task_runner

    curation = load(path)
    flow.with_options(task_runner=task_runner(curation))(curation, partition, force)
    return store_of(curation)


def store_of(curation: Curation) -> Store:
    return Store(curation.store, curation.dataset)


def contents(store: Store) -> dict[str, str]:
    """The content hash of every partition of every table."""
    return {f"{t} {r.partition}": r.content for t in STAGE_TABLES for r in store.refs(t)}


def file_bytes(store: Store) -> dict[str, str]:
    """The hash of each current data file, by table and place in its partition (names carry fingerprints)."""
    return {
        f"{table} {number}": hashlib.sha256(Path(uri).read_bytes()).hexdigest()
        for table in STAGE_TABLES
        for number, uri in enumerate(store.file_uris(table))
    }


def versions(store: Store) -> dict[str, int | None]:
    return {table: store.version(table) for table in TABLES}


@pytest.fixture(scope="module")
def curated(
    tmp_path_factory: pytest.TempPathFactory, prefect_api: str, digits_yaml: Digits
) -> tuple[Path, Store]:
    """One night of digits, curated with two workers."""
    path = digits_yaml(tmp_path_factory.mktemp("curated"))
    return path, curate(path)


def test_every_table_holds_the_partition_and_a_release_is_published(curated: tuple[Path, Store]) -> None:
    _, store = curated
    assert {table for table in STAGE_TABLES if store.ref(table, NIGHT)} == set(STAGE_TABLES)
    release = releases.published(store)
    assert release is not None
    assert release.versions == {table: store.version(table) for table in STAGE_TABLES}


def test_no_teacher_judges_a_row_it_learned_from(curated: tuple[Path, Store]) -> None:
    from tasks.data import keys_of
    from tasks.seeds import folds_of

    _, store = curated
    rows = store.read(store.refs("rows"), ["id", "content_hash"])
    folds = dict(zip(rows["id"].to_pylist(), folds_of(keys_of(rows["content_hash"]), 3), strict=True))
    soft = store.read(store.refs("soft_labels"), ["id", "teacher", "fold"]).to_pylist()
    assert {row["teacher"] for row in soft} == {"linear", "mean"}
    assert all(row["fold"] == folds[row["id"]] for row in soft)


def test_curation_makes_labels_truer(curated: tuple[Path, Store]) -> None:
    _, store = curated
    metrics = store.read(store.refs("metrics"), ["name", "value"]).to_pydict()
    figures = dict(zip(metrics["name"], metrics["value"], strict=True))
    assert figures["label_accuracy_curated"] > figures["label_accuracy_given"]


def test_every_table_can_be_asked_and_a_join_over_all_stages_tells_what_why_tells(
    curated: tuple[Path, Store], winnow: Callable[..., Finished]
) -> None:
    from storage import query

    path, store = curated
    with query.connect(store) as connection:
        for view in (*TABLES, "story"):
            assert query.select(connection, f"SELECT count(*) AS n FROM {view}")["n"][0].as_py() >= 0
        joined = query.select(
            connection,
            """
            SELECT r.id, r.label_name AS given, s.p[1] AS top_p, i.p_error, l.label_name AS label, l.action,
                l.reason, count(v.draw) AS views
            FROM rows r
            JOIN soft_labels s ON s.id = r.id AND s.teacher = 'mean'
            JOIN issues i ON i.id = r.id
            JOIN labels l ON l.id = r.id
            LEFT JOIN reinforcements v ON v.id = r.id
            WHERE l.action = 'fix'
            GROUP BY ALL ORDER BY r.id LIMIT 1
            """,
        ).to_pylist()[0]
        told = query.select(connection, f"SELECT * FROM story WHERE id = '{joined['id']}'").to_pylist()[0]
    assert (told["given_name"], told["label_name"], told["action"], told["reason"], told["views"]) == (
        joined["given"],
        joined["label"],
        "fix",
        joined["reason"],
        2,
    )
    assert told["top_p"] == pytest.approx(joined["top_p"], abs=1e-6)
    why = winnow("why", path, joined["id"]).out
    assert f"decision: fix, {joined['given']} becomes {joined['label']}" in why
    assert joined["reason"] in why


def test_no_stage_makes_more_than_thirty_task_runs(curated: tuple[Path, Store], prefect_api: str) -> None:
    import asyncio
    from collections import Counter

    from prefect import get_client

    async def names() -> list[str]:
        async with get_client() as client:
            return [run.name for run in await client.read_task_runs(limit=200)]

    counts = Counter(
        name.split()[1] for name in asyncio.run(names()) if name.endswith(NIGHT) and len(name.split()) == 3
    )
    assert set(counts) >= {"ingest", "teach", "detect", "relabel", "reinforce", "distill", "report"}
    assert max(counts.values()) <= 30


def test_a_second_run_changes_no_table(curated: tuple[Path, Store]) -> None:
    path, store = curated
    before = versions(store)
    curate(path)
    assert versions(store) == before


def test_a_forced_run_computes_everything_again_with_the_same_bytes(curated: tuple[Path, Store]) -> None:
    path, store = curated
    before, committed = file_bytes(store), versions(store)
    assert file_bytes(curate(path, force=True)) == before
    assert versions(store) == committed


def test_a_second_run_from_the_command_line_imports_neither_prefect_nor_torch(
    curated: tuple[Path, Store], tmp_path: Path
) -> None:
    path, _ = curated
    spy = (
        "import sys\nfrom flows.cli import run_command\n"
        f"code = run_command(['run', {str(path)!r}, '--partition', {NIGHT!r}])\n"
        "print(code, sorted({'prefect', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", spy], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert f"digits {NIGHT} is up to date" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_no_byte(
    workers: int, curated: tuple[Path, Store], tmp_path: Path, digits_yaml: Digits
) -> None:
    other = curate(digits_yaml(tmp_path, runner={"workers": workers}))
    assert file_bytes(other) == file_bytes(curated[1])


def test_the_shard_size_changes_no_row(
    curated: tuple[Path, Store], tmp_path: Path, digits_yaml: Digits
) -> None:
    other = curate(digits_yaml(tmp_path, runner={"shard_rows": 100}))
    assert len(other.file_uris("rows")) > len(curated[1].file_uris("rows"))
    assert contents(other) == contents(curated[1])


@pytest.mark.slow
def test_a_changed_detector_reruns_detect_and_what_follows_it_only(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    store = curate(digits_yaml(tmp_path))
    before = versions(store)
    curate(digits_yaml(tmp_path, detect=[{"kind": "confident_learning", "filter_by": "predicted_neq_given"}]))
    changed = {table for table in STAGE_TABLES if store.version(table) != before[table]}
    assert {"issues", "labels"} <= changed
    assert not changed & {"rows", "rejects", "soft_labels"}


def test_stages_may_be_left_out(prefect_api: str, tmp_path: Path, digits_yaml: Digits) -> None:
    store = curate(digits_yaml(tmp_path, detect=None, relabel=None, reinforce=None, distill=None))
    assert [table for table in STAGE_TABLES if store.ref(table, NIGHT)] == [
        "rows",
        "rejects",
        "soft_labels",
        "metrics",
    ]


def test_a_failed_gate_holds_the_release_and_readers_keep_the_last_good_one(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    from tasks.errors import StageFailed

    store = curate(digits_yaml(tmp_path))
    good = releases.published(store)
    gate = [{"metric": "share_rejected", "at_least": 0.5}]
    with pytest.raises(
        StageFailed, match=r"release 2 of 2026-01-01 is held: share_rejected is 0, must be at least 0.5"
    ):
        curate(digits_yaml(tmp_path, gates=gate, relabel={"kind": "threshold", "fix_at": 0.99}))
    assert releases.published(store) == good
    assert [release.status for release in releases.listing(store)] == ["published", "held"]


@pytest.mark.slow
def test_a_good_night_does_not_publish_a_held_one_along_with_itself(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    from tasks.errors import StageFailed

    path = digits_yaml(tmp_path, gates=[{"metric": "rejected", "at_least": 1}])
    with pytest.raises(StageFailed, match="release 1 of 2026-01-01 is held"):
        curate(path)
    with pytest.raises(
        StageFailed, match=r"release 2 of 2026-01-02 is held: 2026-01-01 rejected is 0, .*; rejected is 0"
    ):
        curate(path, "2026-01-02")
    assert releases.published(store_of(load(path))) is None


@pytest.mark.slow
def test_a_night_left_half_way_is_not_published_by_the_next(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    from flows.curate import one_stage
    from flows.engine import task_runner
    from storage.leases import lease
    from tasks.errors import StageFailed

    path = digits_yaml(tmp_path)
    store = curate(path)
    good = releases.published(store)
    noisier = {"kind": "sklearn_digits", "days": 4, "start": "2026-01-01", "planted_noise": 0.3}
    curation = load(digits_yaml(tmp_path, source=noisier))
    one_stage.with_options(task_runner=task_runner(curation))(curation, NIGHT, "ingest")
    with lease(store, NIGHT, 0, "somebody"):
        curate(path, "2026-01-02")
        assert releases.published(store) == good, "left to the run that has the half-way night"
    with pytest.raises(StageFailed, match=r"held: 2026-01-01 stages_up_to_date is \d, must be at least 7"):
        curate(path, "2026-01-02")
    with pytest.raises(StageFailed, match=r"held: 2026-01-02 stages_up_to_date is \d, must be at least 7"):
        curate(path)  # the next night was distilled with labels that are gone now
    assert releases.published(store) == good
    curate(path, "2026-01-02")
    newest = releases.published(store)
    assert newest is not None
    assert newest.versions == releases.versions(store)


def start(path: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """`winnow run` of the night in a process of its own."""
    command = [
        sys.executable,
        "-c",
        "from flows.cli import main; main()",
        "run",
        str(path),
        "--partition",
        NIGHT,
    ]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_runs_at_once_curate_once(prefect_api: str, tmp_path: Path, digits_yaml: Digits) -> None:
    path = digits_yaml(tmp_path)
    both = [start(path), start(path)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    store = store_of(load(path))
    assert {store.version(table) for table in STAGE_TABLES} == {1}, (
        "version 0 makes the table, 1 is the only commit"
    )
    assert len(releases.listing(store)) == 1


def test_a_killed_run_is_taken_up_where_it_stopped(
    curated: tuple[Path, Store], prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    path = digits_yaml(tmp_path)
    store = store_of(load(path))
    victim = start(path)
    while store.ref("rows", NIGHT) is None or not list(Path(store.path).glob("_states/*/teach-*")):
        assert victim.poll() is None, victim.communicate()
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    finished = {file: file.stat().st_mtime_ns for file in Path(store.path).glob("_states/*/*.safetensors")}
    finished |= {file: file.stat().st_mtime_ns for file in Path(store.path).glob("*/partition=*/*.parquet")}
    curate(path)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished, (
        "what was finished was made again"
    )
    assert contents(store) == contents(curated[1])
    store.vacuum()
    kept = {str(file) for file in Path(store.path).glob("*/partition=*/*")}
    assert kept == {uri for table in TABLES for uri in store.file_uris(table)}


def test_a_persons_decision_outranks_the_machine(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits, winnow: Callable[..., Finished]
) -> None:
    path = digits_yaml(tmp_path)
    store = curate(path)
    row = store.read(store.refs("labels"), ["id", "label"]).slice(0, 1).to_pylist()[0]
    other = str((row["label"] + 1) % 10)
    decided = tmp_path / "decided.csv"
    decided.write_text(f"id,label,reviewer,note\n{row['id']},{other},ada,looked at it\n")
    assert winnow("review", "import", path, decided).code == 0
    for threshold in (0.9, 0.6):
        curate(digits_yaml(tmp_path, relabel={"kind": "threshold", "fix_at": threshold, "review_at": 0.6}))
        labels = {r["id"]: r for r in store.read(store.refs("labels")).to_pylist()}
        found = labels[row["id"]]
        assert (found["label"], found["action"], found["decided_by"]) == (int(other), "human", "ada")


@pytest.mark.slow
def test_the_order_of_partitions_changes_no_table(
    prefect_api: str, tmp_path: Path, digits_yaml: Digits
) -> None:
    """Two dates with a row in common; the dates' own tables, whatever came first."""
    nights = ("2026-01-01", "2026-01-02")
    for night, cases in zip(nights, (range(60), range(50, 120)), strict=True):
        lines = [f"c{case},{case % 3},{case % 7},{'ab'[case % 3 == 0]}" for case in cases]
        (tmp_path / f"{night}.csv").write_text("\n".join(["case,x,y,label", *lines]))
    source = {
        "kind": "csv",
        "path": "../{partition}.csv",
        "id": "case",
        "label": "label",
        "features": ["x", "y"],
    }
    stores = []
    for order in (nights, (*nights[::-1], nights[1])):
        folder = tmp_path / order[0]
        folder.mkdir()
        path = digits_yaml(
            folder,
            source=source,
            ingest={"encoder": {"kind": "features"}},
            reinforce={"kind": "jitter", "scale": 0.1},
        )
        for night in order:
            store = curate(path, night)
        stores.append(store)
    assert stores[0].refs("rejects")[1].rows == 10
    assert contents(stores[1]) == contents(stores[0])
