"""docs/operations.md, executed. Run: python -m pytest tests/flows/test_operations.py (about three minutes)

The blocks of the document run in its order, as they stand, in a copy of the checkout: those marked
`background` go on running, those marked `run` must end well. The copy's digits.yaml is a smaller one,
so that a night takes seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import REPOSITORY, free_port, wait_for_server

DOCUMENT = REPOSITORY / "docs" / "operations.md"
BLOCK = re.compile(
    r"^(?:<!-- test: (?P<role>\w+) -->\n)?```bash\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block of the document: `shell` (before all others), `background`, or `run`."""

    role: str
    commands: str


def blocks() -> list[Block]:
    found = BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8"))
    return [Block(match["role"] or "", match["commands"]) for match in found]


def test_every_block_of_commands_says_how_it_is_run() -> None:
    roles = [block.role for block in blocks()]
    assert set(roles) == {"shell", "background", "run"}
    assert roles[0] == "shell"
    assert roles.count("shell") == 1


@pytest.fixture
def checkout(tmp_path: Path, digits_yaml: Callable[..., Path]) -> Path:
    """A copy of what the checkout holds, with a curation of two small nights."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for folder in ("flows", "tasks", "storage", "curations"):
        shutil.copytree(
            REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "store")
        )
    shutil.copy(REPOSITORY / "prefect.yaml", copy)
    source = {"kind": "sklearn_digits", "days": 2, "start": "2026-01-01", "planted_noise": 0.08}
    digits_yaml(copy / "curations", source=source)
    return copy


class Shells:
    """Runs blocks, each in a new shell that begins with the document's own `shell` block."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self.checkout, self.environment = checkout, environment
        self.prelude = next(block.commands for block in blocks() if block.role == "shell")

    def run(self, commands: str) -> str:
        """Run to the end; the output. Fails unless every command succeeds."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.prelude + commands],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    @contextmanager
    def background(self, commands: str) -> Iterator[tuple[subprocess.Popen[Any], Path]]:
        """Run beside the block; stopped, with all it started, when the block ends."""
        log = self.checkout / f"background-{commands.split()[1]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self.prelude + commands],
                cwd=self.checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process, log
        finally:
            stop_group(process)

    def logs(self) -> str:
        files = sorted(self.checkout.glob("background-*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-6000:]}" for file in files)


def stop_group(process: subprocess.Popen[Any]) -> None:
    """End a process and its children: asked first, forced after half a minute."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, ask)
        except ProcessLookupError:
            return
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            continue


def flow_runs(url: str, deployment: str) -> list[dict[str, Any]]:
    """The runs of a deployment, as the server tells them."""
    body = json.dumps({"deployments": {"name": {"any_": [deployment]}}}).encode()
    request = urllib.request.Request(
        f"{url}/flow_runs/filter", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def ended_by_schedule(url: str, seconds: float) -> str:
    """The final state of the first nightly run that the scheduler started."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = [run["state_type"] for run in flow_runs(url, "nightly") if run["auto_scheduled"]]
        final = [state for state in states if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")]
        if final:
            return str(final[0])
        time.sleep(1)
    return "never ended"


@pytest.mark.slow
def test_the_commands_of_the_document_work(
    checkout: Path, tmp_path: Path, winnow: Callable[..., Any]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if name not in ("PREFECT_API_URL", "OMP_NUM_THREADS")
        },
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
    }
    shells = Shells(checkout, environment)
    with ExitStack() as stack:
        for block in blocks():
            if block.role == "background":
                process, log = stack.enter_context(shells.background(block.commands))
                if "server" in block.commands:
                    wait_for_server(url, process, log)
            elif block.role == "run":
                if "winnow sql" in block.commands:
                    assert ended_by_schedule(url, 240) == "COMPLETED", shells.logs()
                out = shells.run(block.commands)
    assert "keep" in out

    curation = checkout / "curations" / "digits.yaml"
    published = winnow("sql", curation, "SELECT DISTINCT partition FROM labels ORDER BY 1", "--format", "csv")
    assert published.out.split() == ['"partition"', '"2026-01-01"', '"2026-01-02"'], published.err
