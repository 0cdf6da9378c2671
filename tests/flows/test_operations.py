"""docs/operations.md, executed. Run: python -m pytest tests/flows/test_operations.py (about five minutes)

The blocks of the document run in its order, as they stand, in a copy of the checkout: those marked
`background` go on running, those marked `run` must end well. Some need something to have happened first,
which a block says with `after` and PREPARED does. The copy's digits.yaml is a smaller one, so that a
night takes seconds. The block marked `install` has a test, and a copy, of its own.
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
import yaml

from tests.conftest import REPOSITORY, free_port, wait_for_server

DOCUMENT = REPOSITORY / "docs" / "operations.md"
BLOCK = re.compile(
    r"^(?:<!-- test: (?P<role>\w+)(?: after (?P<after>\w+))? -->\n)?```bash\n(?P<commands>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of the document: `install`, `shell` (before all others), `background`, or `run`."""

    role: str
    commands: str
    after: str | None


def blocks() -> list[Block]:
    found = BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8"))
    return [Block(match["role"] or "", match["commands"], match["after"]) for match in found]


def test_every_block_of_commands_says_how_it_is_run() -> None:
    roles = [block.role for block in blocks()]
    assert set(roles) == {"install", "shell", "background", "run"}
    assert roles[:2] == ["install", "shell"]
    assert roles.count("shell") == 1
    assert {block.after for block in blocks()} == {None, *PREPARED}


def test_every_command_of_winnow_that_keeps_it_running_is_in_the_document() -> None:
    said = set(re.findall(r"^winnow (\w+)", "".join(block.commands for block in blocks()), re.MULTILINE))
    assert said >= {
        "nightly",
        "backfill",
        "status",
        "release",
        "rollback",
        "doctor",
        "vacuum",
        "compact",
        "plan",
    }


@pytest.fixture
def checkout(tmp_path: Path, digits_yaml: Callable[..., Path]) -> Path:
    """A copy of what the checkout holds, with a curation of two small nights."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for folder in ("flows", "tasks", "storage", "curations"):  # what runs, not what is tested
        shutil.copytree(
            REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "store")
        )
    for name in ("prefect.yaml", "pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    source = {"kind": "sklearn_digits", "days": 2, "start": "2026-01-01", "planted_noise": 0.08}
    digits_yaml(copy / "curations", source=source)
    return copy


def with_upstream(checkout: Path) -> None:
    """Make the copy a clone that is up to date with where it came from, and installed."""
    origin = checkout.parent / "origin.git"
    (checkout / ".gitignore").write_text(".venv/\nstore/\n*.log\n*.txt\n__pycache__/\n", encoding="utf-8")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", str(checkout)]
    for arguments in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "a version"],
        ["clone", "--quiet", "--bare", ".", str(origin)],
        ["remote", "add", "origin", str(origin)],
        ["fetch", "--quiet", "origin"],
        ["branch", "--quiet", "--set-upstream-to", "origin/main"],
    ):
        subprocess.run([*git, *arguments], check=True, cwd=checkout)
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "installed").touch()


class Shells:
    """Runs blocks, each in a new shell that begins with the document's own `shell` block."""

    def __init__(self, checkout: Path, environment: dict[str, str], url: str) -> None:
        self.checkout, self.environment, self.url = checkout, environment, url
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
            timeout=600,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    @contextmanager
    def background(self, commands: str) -> Iterator[tuple[subprocess.Popen[Any], Path]]:
        """Run beside the block; stopped, with all it started, when the block ends."""
        log = self.checkout / f"background-{commands.split()[-2]}.log"
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


def wait_for_night(shells: Shells) -> None:
    """Until the run that the schedule started has ended well."""
    assert ended_by_schedule(shells.url, 300) == "COMPLETED", shells.logs()


def hold_a_release(shells: Shells) -> None:
    """A change of method makes a release that a gate, which nothing can pass, holds back: the third."""
    file = shells.checkout / "curations" / "digits.yaml"
    kept = file.read_text(encoding="utf-8")
    curation = yaml.safe_load(kept)
    curation["relabel"] = {"kind": "threshold", "fix_at": 0.6, "review_at": 0.6}
    curation["gates"] = [{"metric": "share_changed", "at_least": 2}]
    file.write_text(yaml.safe_dump(curation), encoding="utf-8")
    said = shells.run("winnow run curations/digits.yaml --partition 2026-01-02 && exit 1 || true\n")
    assert "release 3 of 2026-01-02 is held" in said, said
    file.write_text(kept, encoding="utf-8")


PREPARED: dict[str, Callable[[Shells], None]] = {"night": wait_for_night, "held": hold_a_release}
"""What must have happened before a block, by the name that the document gives it."""


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
    with_upstream(checkout)
    shells = Shells(checkout, environment, url)
    said = ""
    with ExitStack() as stack:
        for block in blocks():
            if block.after:
                PREPARED[block.after](shells)
            if block.role == "background":
                process, log = stack.enter_context(shells.background(block.commands))
                if "server" in block.commands:
                    wait_for_server(url, process, log)
            elif block.role == "run":
                said += shells.run(block.commands)
    assert "nothing to do: all of digits that arrived is curated" in said

    curation = checkout / "curations" / "digits.yaml"
    listing = winnow("releases", curation)
    assert "held" in listing.out, listing
    assert "rolled_back_to_2" in listing.out, listing
    published = winnow("sql", curation, "SELECT DISTINCT partition FROM labels ORDER BY 1", "--format", "csv")
    assert published.out.split() == ['"partition"', '"2026-01-01"', '"2026-01-02"'], published.err


@pytest.mark.slow
def test_the_checkout_installs(checkout: Path) -> None:
    """Needs a package index, two gigabytes and some minutes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "typer"]
    if subprocess.run(probe, cwd=checkout.parent, env=environment, capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    commands = next(block.commands for block in blocks() if block.role == "install")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^winnow \d", done.stdout, re.MULTILINE)
