"""A Prefect server for a benchmark's commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own; the environment in which commands use it."""
    from flows.server import Server

    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    environment.pop("PREFECT_API_URL", None)
    server = Server(environment)
    try:
        server.wait()
        yield {**environment, "PREFECT_API_URL": server.address}
    finally:
        server.stop()
