"""winnow's own temporary Prefect server, for whoever has none.

Prefect would start one by itself, but a run that is killed then leaves it behind, since its child
never hears of it. Here the server reads from a pipe whose other end its owner holds: when the owner
is gone, by whatever signal, the pipe ends and so does the server. It runs in a session of its own, so
that Ctrl-C reaches the owner, which still has things to tell it. It begins while the owner is still
importing Prefect. Its database is the one that Prefect's own would use, so runs stay to be seen.

This file is also the server's program (`python -P flows/server.py`): it must import Prefect late.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

START_SECONDS = 180.0
"""The first start of all makes the database, which takes a while on a busy machine."""
STOP_SECONDS = 5.0

AS_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""What Prefect tells its own temporary server: no pages, and no services that only deployments need."""


class Server:
    """A Prefect server of this process, or the one that the settings name. `address` ends in /api."""

    def __init__(self, environment: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        """Starts it and returns once its address is known; `wait` until it answers. Its environment is
        this process's by default; what it prints goes to `log`, by default nowhere."""
        with open(log or os.devnull, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                env={**(os.environ if environment is None else environment), **AS_TEMPORARY},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        self._log = log
        assert self._process.stdout
        self.address = self._process.stdout.readline().decode().strip()
        if not self.address:
            self._give_up("it ended before it had an address")

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Returns once the server answers. Raises RuntimeError if it never does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self._process.poll()
            if ended:
                self._give_up("it ended while it started")
            if ended == 0:  # nothing to start: the settings name a server
                return
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        self._give_up(f"it did not answer at {self.address} within {seconds:.0f} s")

    def stop(self) -> None:
        """Lets it write down what it still holds, and ends it."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(2 * STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _give_up(self, why: str) -> None:
        self.stop()
        said = self._log.read_text(errors="replace")[-2000:] if self._log else ""
        raise RuntimeError(
            f"no temporary Prefect server could be started ({why}); give PREFECT_API_URL the address of a "
            f"running one\n{said}".strip()
        )


_own: Server | None = None


def begin() -> None:
    """Make sure that PREFECT_API_URL names a server, if only one that is still starting: see `ready`.

    Does nothing where the environment names one. Call it before Prefect is imported.
    """
    global _own
    if os.environ.get("PREFECT_API_URL"):
        return
    _own = Server()
    atexit.register(_own.stop)
    os.environ["PREFECT_API_URL"] = _own.address
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def ready() -> None:
    """Wait until the server that `begin` started answers."""
    if _own:
        _own.wait()


def ensure() -> None:
    """A server that answers, before the first flow."""
    begin()
    ready()


def serve() -> None:
    """The server's own program: say the address on standard output, and serve until the owner is gone."""
    threading.Thread(target=_end_with_owner, name="owner", daemon=True).start()
    from prefect.settings import PREFECT_API_URL

    named = PREFECT_API_URL.value()
    if named:  # by a profile or a file, which only Prefect reads
        _say(named)
        return
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    _say(f"http://127.0.0.1:{listening.getsockname()[1]}/api")
    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error")
    uvicorn.Server(config).run(sockets=[listening])


def _say(address: str) -> None:
    """Print the address; all that is printed later goes nowhere."""
    print(address, flush=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _end_with_owner() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock an exit of the program would want
        pass
    signal.raise_signal(signal.SIGTERM)  # uvicorn then closes what it has open
    time.sleep(STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    serve()
