"""Running flows from the command line: quietly, and only when there is something to run.

Prefect takes seconds to import and a temporary server takes more to start, so the command line
decides first from fingerprints and comes here only with work to do.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tasks.config import Curation
from tasks.errors import BadInput

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""Settings for a terminal that belongs to the user; what the user has set wins."""


def quiet(verbose: bool) -> None:
    """Set Prefect up before it is imported."""
    for name, value in QUIET.items():
        if not (verbose and "LOGGING_LEVEL" in name):
            os.environ.setdefault(name, value)


def require_runner(curation: Curation) -> None:
    """Raises BadInput where the curation's runner is not installed; to be asked before a server starts."""
    if curation.runner.kind == "ray" and find_spec("prefect_ray") is None:
        raise BadInput("runner.kind is ray, but Ray is not installed here; pip install winnow[ray]")


def task_runner(curation: Curation) -> TaskRunner[Any]:
    """Where the curation wants its shards to run. Raises BadInput, and StageFailed if no cluster answers."""
    require_runner(curation)
    if curation.runner.kind == "ray":
        from flows.cluster import ray_runner

        runner: TaskRunner[Any] = ray_runner(curation.runner)
        return runner
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=curation.runner.workers)
