"""Hostile input, poison and secrets: pytest tests/flows/test_hostile.py -m "not slow"

The cases are in tests/flows/hostile_cases.py. Slow are the files that take seconds to make, the queries that
are stopped by a limit, and the secrets, which a real server and a real database are searched for.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from flows.cli import opened, run_command
from storage import query, releases
from storage.errors import StoreError
from storage.query import QueryError, connect, select
from storage.states import from_bytes, to_bytes
from storage.store import Store
from tasks.errors import BadInput
from tasks.ingest import AnySource, BadSource, Source
from tasks.ingest.images import decode
from tests.conftest import REPOSITORY, Finished
from tests.flows import hostile_cases as cases
from tests.flows.cli_stores import filled
from tests.flows.hostile_cases import HostileFile, poison, spilled
from tests.storage.helpers import put, rows

SENTENCE = 600
"""Letters that an error has at most: what is hostile may be long, and is not to be quoted whole."""


# YAML


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in cases.YAML], ids=[c[0] for c in cases.YAML])
def test_a_hostile_yaml_is_refused_in_one_sentence_at_once(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    canary, file = tmp_path / "canary", tmp_path / "pets.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.replace("{canary}", str(canary)).encode())
    started = time.perf_counter()
    with pytest.raises((BadInput, StoreError), match=says) as refused:
        opened(str(file))
    assert time.perf_counter() - started < 10
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < SENTENCE
    assert not canary.exists()
    assert not {"antigravity", "this"} & set(sys.modules)


# SQL


@dataclass(frozen=True)
class Shelf:
    """A store with one row, a file that nobody may read, and a Parquet file that no release lists."""

    store: Store
    secret: Path
    other: str


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    store = Store(str(folder / "store"), "digits").open(create=True)
    ref = put(store, "rows", "p", rows(["a"], [0]))
    releases.publish(store, "p", None, [], {"rows": ref.version})
    put(store, "rows", "q", rows(["b"], [0]))
    secret = folder / "secret.txt"
    secret.write_text("planted-in-a-file")
    return Shelf(store, secret, store.file_uris("rows")[1])


@pytest.mark.parametrize("sql", cases.SQL, ids=[sql[:60] for sql in cases.SQL])
def test_sql_that_writes_runs_or_reaches_out_is_refused_in_one_sentence(
    sql: str, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_PLANTED", "planted-in-the-environment")
    secret_frame = pa.table({"a": [1]})
    new = tmp_path / "new.csv"
    with connect(shelf.store) as connection:
        with pytest.raises(QueryError) as refused:
            select(connection, sql.format(new=new, secret=shelf.secret, other=shelf.other))
        assert "\n" not in str(refused.value)
        assert "planted" not in str(refused.value)
        assert select(connection, "SELECT id FROM rows").to_pylist() == [{"id": "a"}]
    assert not new.exists()
    del secret_frame


@pytest.mark.slow
@pytest.mark.parametrize("sql", cases.EXHAUSTING_SQL)
def test_a_query_that_never_ends_or_never_fits_is_stopped(
    sql: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"SECONDS": 2.0, "MEMORY": "256MB", "SPILL": "64MB", "RESULT_BYTES": 2**26}
    for name, value in limits.items():
        monkeypatch.setattr(query, name, value)
    started = time.perf_counter()
    with connect(shelf.store) as connection:
        with pytest.raises(QueryError, match=r"ran for more than|is larger than|[Mm]emory|spill|disk"):
            select(connection, sql)
        assert time.perf_counter() - started < 30
        assert select(connection, "SELECT id FROM rows").to_pylist() == [{"id": "a"}]


# Pictures


@pytest.mark.parametrize("picture", [pytest.param(data, id=name) for name, data in cases.pictures().items()])
def test_a_hostile_picture_is_a_reject_and_the_next_one_is_read(
    picture: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    good = cases.png(4, 4, cases.zlib.compress(bytes(20)))
    images, ok, codes, details = decode([picture, good], (4, 4, 1))
    assert ok.tolist() == [False, True]
    assert codes[0] in {"undecodable", "too_large"}
    assert details[0]
    assert not images[0].any()
    assert capfd.readouterr().err == ""


# Files

LARGE = ("million", "MB", "700 GB")
FILES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if any(w in case.name for w in LARGE) else [])
    for case in cases.files()
]


def source_of(case: HostileFile, path: Path) -> Source:
    rule = {} if "partition_column" in case.source else {"partition": "p"}
    found: Source = TypeAdapter(AnySource).validate_python({**case.source, "path": str(path), **rule})
    return found


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_ends_in_a_sentence_or_in_rejects_soon(case: HostileFile, tmp_path: Path) -> None:
    path = tmp_path / case.name.replace(" ", "_")
    case.write(path)
    source = source_of(case, path)
    started = time.perf_counter()
    if case.says:
        with pytest.raises(BadSource, match=case.says) as refused:
            list(source.read("p"))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < SENTENCE
    else:
        [partition] = source.partitions()
        assert (
            sum(batch.num_rows - batch["defect"].null_count for batch in source.read(partition)) == case.bad
        )
    assert time.perf_counter() - started < 30


# Poison


def test_the_poison_works(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    cases.pickle.loads(poison(canary))
    assert canary.exists()


POISONED_SOURCES = [
    ("csv", "x.csv", {"text": "text"}),
    ("jsonl", "x.jsonl", {"text": "text"}),
    ("parquet", "x.parquet", {"text": "text"}),
    ("numpy", "x.npz", {"features": "x", "feature_length": 1}),
    ("numpy", "x.npy", {"features": "x", "feature_length": 1}),
    ("huggingface", "state.json", {"text": "text"}),
    ("huggingface", "data-00000-of-00001.arrow", {"text": "text"}),
    ("image_folder", "cat/x.png", {"image_shape": [4, 4, 1]}),
]


@pytest.mark.parametrize(("kind", "file", "keys"), POISONED_SOURCES)
def test_a_poisoned_source_file_is_never_unpickled(
    kind: str, file: str, keys: dict[str, object], tmp_path: Path
) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "in"
    path = folder / file
    path.parent.mkdir(parents=True)
    if kind == "huggingface":
        (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
        (folder / "dataset_info.json").write_text(
            '{"features": {"text": {"dtype": "string", "_type": "Value"}}}'
        )
    path.write_bytes(poison(canary))
    keys = {"kind": kind, "path": str(folder), "partition": "p", **keys}
    source: Source = TypeAdapter(AnySource).validate_python(keys)
    with suppress(BadSource):
        found = pa.Table.from_batches(source.read("p"))
        is_bad = found["defect"].is_valid().to_numpy()
        assert is_bad.all() or not decode(found["image"].combine_chunks(), (4, 4, 1))[1].any()
    assert not canary.exists()


def test_arrays_of_pickled_objects_are_refused_and_not_loaded(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "x.npy"
    np.save(file, np.array([cases.Poison(canary)], dtype=object), allow_pickle=True)
    keys = {"kind": "numpy", "path": str(file), "partition": "p", "features": "x", "feature_length": 1}
    with pytest.raises(BadSource, match="Python objects"):
        list(TypeAdapter(AnySource).validate_python(keys).read("p"))
    assert not canary.exists()


def test_a_poisoned_state_is_damaged_and_a_model_of_foreign_types_is_not_built(tmp_path: Path) -> None:
    import skops.io

    from tasks.teach.skops_bytes import loads

    canary = tmp_path / "canary"
    with pytest.raises(StoreError, match="is damaged"):
        from_bytes(poison(canary), "x.safetensors")
    hidden = np.frombuffer(poison(canary), np.uint8)
    arrays, _ = from_bytes(to_bytes({"model": hidden}, {}), "x.safetensors")
    with pytest.raises(cases.zipfile.BadZipFile):
        loads(arrays["model"].tobytes())
    with pytest.raises(TypeError, match="not of scikit-learn"):
        loads(skops.io.dumps(cases.Poison(canary)))
    assert not canary.exists()


READING = (
    ["sql", "{}", "FROM story"],
    ["sql", "{}", "FROM releases"],
    ["why", "{}", "0001"],
    ["report", "{}"],
)
READING += (["releases", "{}"], ["diff", "{}", "1", "2"], ["vacuum", "{}", "--dry-run"], ["plan", "{}"])


@pytest.mark.parametrize(
    "pattern", ["_delta_log/*.json", "*.parquet", "_classes/*", "_leases/**/*", "_reports/**/*"]
)
def test_a_store_full_of_poison_is_read_without_running_any(
    pattern: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    curation, store = filled(tmp_path)
    canary = tmp_path / "canary"
    store.save_report("2026-01-01", "x", "x")
    for file in (tmp_path / "store").rglob(pattern):
        if file.is_file():
            file.write_bytes(poison(canary))
    for command in READING:
        code = run_command([word.format(curation) for word in command])
        out, err = capfd.readouterr()
        assert code in (0, 1, 2)
        assert "Traceback" not in out + err
        assert err.count("\n") <= 1, err
        assert not canary.exists()


@pytest.mark.slow
def test_poisoned_states_stop_a_run_and_do_nothing_else(
    tmp_path: Path, winnow: Callable[..., Finished], digits_yaml: Callable[..., Path], prefect_api: str
) -> None:
    curation, canary = digits_yaml(tmp_path), tmp_path / "canary"
    assert winnow("run", curation, "--partition", "2026-01-01").code == 0
    states = list((tmp_path / "store").rglob("*.safetensors"))
    assert states
    for file in states:
        file.write_bytes(poison(canary))
    done = winnow("run", curation, "--partition", "2026-01-01", "--stage", "reinforce", "--force")
    assert done.code == 1
    assert "is damaged" in done.err
    assert not canary.exists()


# Secrets


def test_the_search_for_secrets_finds_them_wherever_they_lie(tmp_path: Path) -> None:
    secrets = {"DB_PASSWORD": cases.SECRETS["DB_PASSWORD"]}
    secret = secrets["DB_PASSWORD"]
    pq.write_table(pa.table({"x": ["a", f"in/{secret}/x.csv"]}), tmp_path / "x.parquet", compression="zstd")
    (tmp_path / "log.txt").write_text(f"cannot open {secret}")
    (tmp_path / "quoted.txt").write_text(cases.quote(secret, safe=""))
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", ("x" * 4_000 + secret,))
    (tmp_path / "clean.txt").write_text("nothing")
    found = {line.partition(":")[0] for line in spilled(tmp_path, secrets)}
    assert found == {"x.parquet", "log.txt", "quoted.txt", "x.db"}


@pytest.mark.slow
def test_no_secret_gets_anywhere_not_even_when_runs_fail(tmp_path: Path) -> None:
    ended = cases.run_with_secrets(tmp_path)
    assert {name: code for name, (code, _) in ended.items()} == {run.name: run.code for run in cases.RUNS}
    database = (tmp_path / "prefect.db").read_bytes()
    assert b"pets 2026-01-01" in database  # the runs are in the database that is searched
    assert b"${LEAKY_TOKEN}" in database  # and so is the error that had the token in it
    assert spilled(tmp_path, cases.SECRETS) == []


@pytest.mark.slow
def test_prefects_own_vacuum_deletes_old_runs_with_the_documented_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
    settings = re.findall(r"^export (PREFECT_SERVER_SERVICES_DB_VACUUM_\w+)=(\S+)$", page, re.MULTILINE)
    assert len(settings) == 2
    for name, value in [*settings, ("PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS", "2")]:
        monkeypatch.setenv(name, value)
    with cases.prefect_server(tmp_path) as environment:
        run = "import prefect\n@prefect.flow\ndef night(): pass\nnight(); night()"
        subprocess.run([sys.executable, "-c", run], env=environment, check=True, timeout=120)
        deadline = time.monotonic() + 60
        with closing(sqlite3.connect(tmp_path / "prefect.db", timeout=30)) as database:
            [(newest,)] = database.execute("SELECT max(id) FROM flow_run")
            database.execute("UPDATE flow_run SET end_time = '2020-01-01 00:00:00' WHERE id <> ?", (newest,))
            database.commit()
            while (left := database.execute("SELECT id FROM flow_run").fetchall()) != [(newest,)]:
                assert time.monotonic() < deadline, left
                time.sleep(1)
