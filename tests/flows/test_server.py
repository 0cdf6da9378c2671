"""winnow's own temporary Prefect server. Run: pytest tests/flows/test_server.py; real ones with -m slow"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows import server
from tests.conftest import REPOSITORY

OWNER = """
import os, sys, time
from flows import server
server.ensure()
print(os.environ["PREFECT_API_URL"], server._own._process.pid, flush=True)
time.sleep(600)
"""


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_whoever_names_a_server_gets_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr(server, "Server", None)
    server.ensure()
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:9/api"


def test_a_server_that_cannot_start_says_what_it_said(tmp_path: Path) -> None:
    environment = {**os.environ, "PREFECT_SERVER_API_PORT": "no number"}
    with pytest.raises(RuntimeError, match=r"it ended before it had an address(?s:.*)no number"):
        server.Server(environment, tmp_path / "log")


@pytest.mark.slow
def test_a_server_that_a_profile_names_is_used_and_none_is_started(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    named = server.Server(environment)
    assert named.address == "http://127.0.0.1:9/api"
    named.wait(30)
    named.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_its_owner_however_that_ends(how: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout
    address, pid = owner.stdout.readline().split()
    assert answers(address)
    owner.send_signal(how)
    owner.wait(30)
    deadline = time.monotonic() + 3 * server.STOP_SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert not answers(address)
    assert (tmp_path / "prefect.db").exists(), "runs stay to be seen"
