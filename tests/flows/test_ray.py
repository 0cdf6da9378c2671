"""Stages on a Ray cluster. Run: python -m pytest tests/flows/test_ray.py (`-m slow` starts clusters)"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from storage.store import Store, TableRef
from storage.tables import TABLES
from tasks.config import Curation, load
from tasks.errors import BadInput, StageFailed
from tasks.ingest import Encoder
from tasks.stages.base import Job
from tests.conftest import REPOSITORY, Finished, free_port

NIGHT = "2026-01-01"
Digits = Callable[..., Path]
WITHOUT_RAY = "import sys; sys.modules['prefect_ray'] = None; from flows.cli import main; main()"


class Hungry(Encoder):
    """An encoder that says what it takes."""

    kind: Literal["tests.flows.test_ray:Hungry"] = "tests.flows.test_ray:Hungry"
    reads: ClassVar[Literal["images"]] = "images"
    cpus: ClassVar[float] = 3
    memory: ClassVar[int | None] = 7_000_000_000

    def encode(self, examples: Any) -> Any:
        return examples.images


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
HUNGRY = {"encoder": {"kind": "tests.flows.test_ray:Hungry"}}


def ray_yaml(digits_yaml: Digits, folder: Path, **overrides: Any) -> Path:
    return digits_yaml(folder, **{"runner": {"kind": "ray", "workers": 2, "shard_rows": 100}, **overrides})


def job_of(curation: Curation, stage: str) -> Job:
    return Job(curation, NIGHT, stage, "f" * 32, ("a", "b"), {})


def file_bytes(curation: Path) -> dict[str, str]:
    """The hash of each current data file, by its path in the data set."""
    found = load(curation)
    store = Store(found.store, found.dataset)
    return {
        uri.removeprefix(store.path): hashlib.sha256(Path(uri).read_bytes()).hexdigest()
        for table in TABLES
        if table != "releases"
        for uri in store.file_uris(table)
    }


def test_a_cluster_is_chosen_in_the_yaml(digits_yaml: Digits, tmp_path: Path) -> None:
    local = load(ray_yaml(digits_yaml, tmp_path)).runner
    assert (local.kind, local.workers, local.address) == ("ray", 2, None)
    remote = load(digits_yaml(tmp_path, runner={"kind": "ray", "address": "ray://head:10001"})).runner
    assert remote.address == "ray://head:10001"


def test_an_address_without_ray_is_refused(digits_yaml: Digits, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"runner: address is where a Ray cluster listens; add kind: ray"):
        load(digits_yaml(tmp_path, runner={"address": "ray://head:10001"}))


def test_where_shards_run_is_no_part_of_what_they_are(digits_yaml: Digits, tmp_path: Path) -> None:
    from tasks.plan import Planner
    from tasks.stages import STAGES

    parts = []
    for runner in ({"kind": "threads", "workers": 7}, {"kind": "ray", "shard_rows": 5}):
        curation = load(digits_yaml(tmp_path, runner=runner))
        plan = Planner(curation, Store(curation.store, curation.dataset)).stage(STAGES["ingest"], NIGHT)
        parts.append(plan.parts)
    assert parts[0] == parts[1]


def test_without_the_extra_the_command_says_what_to_install(digits_yaml: Digits, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, "run", ray_yaml(digits_yaml, tmp_path), "--partition", NIGHT],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    sentence = "runner.kind is ray, but Ray is not installed here; pip install winnow[ray]"
    assert done.stderr == f"winnow: {sentence}\n"


def test_a_job_travels_as_a_few_kilobytes_and_without_its_store(digits_yaml: Digits, tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    curation = load(ray_yaml(digits_yaml, tmp_path))
    month = tuple(TableRef("rows", f"2026-01-{day:02}", day, 100, "f" * 32, "c" * 32) for day in range(1, 31))
    job = replace(job_of(curation, "teach"), inputs={"rows": month})
    job.store._snapshots["rows", 1] = "x" * 10_000_000  # type: ignore[assignment]
    sent = cloudpickle.dumps(job)
    assert len(sent) < 10_000
    received = cloudpickle.loads(sent)
    assert received == job
    assert "store" not in vars(received)


def test_a_stage_asks_for_the_most_that_any_of_its_methods_takes(
    digits_yaml: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stage import needs_of

    monkeypatch.setenv("WINNOW_PLUGINS", "tests")
    hungry = load(ray_yaml(digits_yaml, tmp_path, ingest=HUNGRY))
    assert needs_of(job_of(hungry, "ingest")) == {"CPU": 3, "memory": 7_000_000_000}
    assert needs_of(job_of(hungry, "relabel")) == {"CPU": 1}
    on_gpus = load(ray_yaml(digits_yaml, tmp_path, device="cuda"))
    assert needs_of(job_of(on_gpus, "relabel")) == {"CPU": 1, "GPU": 1}


def test_every_stage_s_methods_are_found_in_its_section(digits_yaml: Digits, tmp_path: Path) -> None:
    from tasks.stage import methods_in

    curation = load(digits_yaml(tmp_path, teach={"teachers": [{"kind": "linear"}, {"kind": "convnet"}]}))
    kinds = {stage: [m.kind for m in methods_in(getattr(curation, stage))] for stage in ("ingest", "teach")}
    assert kinds == {"ingest": ["exact_duplicates", "pixels"], "teach": ["linear", "convnet", "mean"]}
    assert methods_in(None) == []


@pytest.fixture(scope="module")
def by_threads(
    tmp_path_factory: pytest.TempPathFactory,
    digits_yaml: Digits,
    winnow: Callable[..., Finished],
    prefect_api: str,
) -> dict[str, str]:
    """The data files of a night of digits that threads made."""
    runner = {"workers": 2, "shard_rows": 100}
    path = digits_yaml(tmp_path_factory.mktemp("threads"), runner=runner)
    done = winnow("run", path, "--partition", NIGHT)
    assert done.code == 0, done.err
    return file_bytes(path)


@pytest.mark.slow
def test_a_local_cluster_makes_the_same_bytes_as_threads_and_is_not_heard(
    tmp_path: Path, digits_yaml: Digits, winnow: Callable[..., Finished], by_threads: dict[str, str]
) -> None:
    pytest.importorskip("prefect_ray")
    path = ray_yaml(digits_yaml, tmp_path)
    done = winnow("run", path, "--partition", NIGHT)
    assert done.code == 0, done.err
    assert done.err == ""
    assert "ray" not in done.out.lower()
    assert file_bytes(path) == by_threads


@pytest.mark.slow
def test_a_worker_killed_in_mid_shard_changes_nothing_but_the_time(
    tmp_path: Path, digits_yaml: Digits, by_threads: dict[str, str]
) -> None:
    pytest.importorskip("prefect_ray")
    from benchmarks.ray import kill_worker

    path = ray_yaml(digits_yaml, tmp_path)
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run", path, "--partition", NIGHT]
    driver = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = [kill_worker(driver, "fit"), kill_worker(driver, "apply")]
    out, errors = driver.communicate(timeout=600)
    assert all(killed)
    assert driver.returncode == 0, errors
    assert errors == ""
    assert "worker died" not in out
    assert file_bytes(path) == by_threads


def wait_for_port(port: int, process: subprocess.Popen[Any], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    pytest.fail(f"nothing listens on port {port}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Ray cluster of one machine that is there already, as `ray start --head` makes it; its addresses."""
    pytest.importorskip("prefect_ray")
    port, client = free_port(), free_port()
    ray = Path(sys.executable).parent / "ray"
    folder = f"/tmp/winnow-test-{os.getpid()}"  # a socket's path may have 107 characters
    environment = {**os.environ, **TOKEN, "PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}
    head = subprocess.Popen(
        [
            *(ray, "start", "--head", "--block", f"--port={port}", f"--ray-client-server-port={client}"),
            *("--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}"),
            f"--object-store-memory={80 * 2**20}",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for listening in (port, client):
            wait_for_port(listening, head)
        yield {"driver": f"127.0.0.1:{port}", "client": f"ray://127.0.0.1:{client}"}
    finally:
        head.terminate()
        head.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["driver", "client"])
def test_a_cluster_at_an_address_makes_the_same_bytes(
    way: str,
    cluster: dict[str, str],
    tmp_path: Path,
    digits_yaml: Digits,
    winnow: Callable[..., Finished],
    by_threads: dict[str, str],
) -> None:
    runner = {"kind": "ray", "address": cluster[way], "shard_rows": 100}
    path = digits_yaml(tmp_path, runner=runner)
    done = winnow("run", path, "--partition", NIGHT, env=TOKEN)
    assert (done.code, done.err) == (0, "")
    assert file_bytes(path) == by_threads


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_sentence(
    tmp_path: Path, digits_yaml: Digits, winnow: Callable[..., Finished]
) -> None:
    pytest.importorskip("prefect_ray")
    address = f"ray://127.0.0.1:{free_port()}"
    path = digits_yaml(tmp_path, runner={"kind": "ray", "address": address})
    done = winnow("run", path, "--partition", NIGHT)
    assert done.code == 1, done.err
    assert done.err.startswith(f"winnow: no Ray cluster answers at runner.address {address} (")
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_a_process_has_one_cluster(
    tmp_path: Path, digits_yaml: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves signals alone, tells who asks for more than it has, and its tasks compute with one thread."""
    ray = pytest.importorskip("ray")
    from flows.cluster import ray_runner
    from tasks.stage import placed, single_threaded

    monkeypatch.setenv("WINNOW_PLUGINS", "tests")
    curation = load(ray_yaml(digits_yaml, tmp_path, ingest=HUNGRY))
    sigterm = signal.getsignal(signal.SIGTERM)
    ray_runner(curation.runner)
    ray_runner(curation.runner)  # no second cluster
    assert signal.getsignal(signal.SIGTERM) == sigterm
    try:
        with (
            pytest.raises(StageFailed, match=r"ingest of 2026-01-01 takes 3 cores and 7,000,000,000 bytes"),
            placed(job_of(curation, "ingest")),
        ):
            pass

        def threads() -> tuple[int, list[int]]:
            single_threaded()
            import sklearn.linear_model  # noqa: F401
            import torch
            from threadpoolctl import threadpool_info

            return torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]

        torch_threads, pools = ray.get(ray.remote(num_cpus=2)(threads).remote())
        assert torch_threads == 1
        assert set(pools) == {1}
    finally:
        ray.shutdown()
