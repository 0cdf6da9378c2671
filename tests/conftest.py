"""What every test shares. Run all: `make test` (quick ones) or `make test-all`.

Nothing here reaches outside temporary folders: Prefect gets a home of its own before any test can
import it, and the one real server of a test process is started by the first test that asks for it.
"""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("winnow", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("winnow")

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Torch, BLAS and OpenMP read these when they are loaded, so one thread costs no import here."""

PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment up before a test module can import torch or Prefect."""
    home = tempfile.mkdtemp(prefix="winnow-prefect-")
    os.environ.update(THREADS | PREFECT | {"PREFECT_HOME": home})
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "WINNOW_STORE"):
        os.environ.pop(name, None)
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


LEVELS = ("PREFECT_LOGGING_LEVEL", "PREFECT_SERVER_LOGGING_LEVEL")
"""What a run in this very process sets and leaves, as it would for a terminal of its own."""


@pytest.fixture(scope="session")
def winnow() -> Callable[..., Finished]:
    """`winnow(*args, cwd, env)`: the command line as a user runs it, in a process of its own.

    It chooses its threads itself: the ones this test process was given are not passed on.
    """

    def run(*args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Finished:
        own = {*THREADS, *LEVELS}
        inherited = {name: value for name, value in os.environ.items() if name not in own}
        done = subprocess.run(
            [sys.executable, "-c", "from flows.cli import main; main()", *map(str, args)],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "store": "./store",
    "source": {"kind": "sklearn_digits", "days": 4, "start": "2026-01-01", "planted_noise": 0.08},
    "ingest": {"filters": [{"kind": "exact_duplicates"}], "encoder": {"kind": "pixels"}},
    "teach": {"teachers": [{"kind": "linear"}], "folds": 3},
    "detect": [{"kind": "confident_learning"}],
    "relabel": {"kind": "threshold"},
    "reinforce": {"kind": "crops", "draws": 2},
    "distill": {"kind": "herding", "per_class": 2},
    "report": {"steps": 200},
}
"""Every stage, at a size that takes seconds."""


@pytest.fixture(scope="session")
def digits_yaml() -> Callable[..., Path]:
    """`digits_yaml(folder, **overrides)`: a small curation of real digits, as `folder`/digits.yaml.

    An override replaces a top-level key, or with None leaves it out; `teach__folds=2` reaches into
    a section.
    """

    def write(folder: Path, **overrides: Any) -> Path:
        curation = copy.deepcopy(DIGITS)
        for path, value in overrides.items():
            *sections, key = path.split("__")
            place = curation
            for section in sections:
                place = place.setdefault(section, {})
            if value is None:
                place.pop(key, None)
            else:
                place[key] = value
        file = folder / "digits.yaml"
        file.write_text(yaml.safe_dump(curation, sort_keys=False), encoding="utf-8")
        return file

    return write


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(url: str, process: subprocess.Popen[Any], log: Path, seconds: float = 180) -> None:
    """Return once the server at `url` (ending in /api) is healthy; fail with its log if it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"the Prefect server at {url} did not start:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect server on SQLite, one a test process, started when first asked for.

    It is exported as PREFECT_API_URL, so subprocesses use it, and made this process's setting.
    """
    from flows.server import Server

    folder = tmp_path_factory.mktemp("prefect-server")
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db"}
    server = Server({**os.environ, **database}, folder / "server.log")
    try:
        server.wait()
        os.environ["PREFECT_API_URL"] = server.address
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: server.address}):
            yield server.address
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """A server that speaks S3, one a test process, started when first asked for; the environment that
    leads to its bucket `winnow`."""
    from benchmarks._s3 import s3_server

    with s3_server() as environment:
        yield environment
