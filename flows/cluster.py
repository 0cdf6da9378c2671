"""The Ray cluster that a curation's shards run on: one already there, or one of this process's own.

A process connects once, however many partitions it curates: starting a local cluster takes seconds.
The cluster is Ray's; nothing here schedules, retries or moves data. Ray itself speaks up at start-up,
repeats its workers' output, serves a dashboard and reports its usage; a night's terminal needs none of
these.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.config import Runner
from tasks.errors import StageFailed

if TYPE_CHECKING:
    from prefect_ray import RayTaskRunner

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # told on standard output, whatever log_to_driver says
    "RAY_task_oom_retries": "3",  # without end by default: a shard that is too large would never fail
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray warns will be its default
}
"""For Ray, which reads them when it is imported; what the user has set wins."""

OBJECT_STORE_BYTES = 80 * 2**20
"""Near the least that Ray takes: only references move, tables are read and written by the workers."""

connecting = threading.Lock()


def ray_runner(runner: Runner) -> RayTaskRunner[object]:
    """A task runner on the curation's Ray cluster. Raises StageFailed if there is none at its address."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray
    from prefect_ray import RayTaskRunner

    with connecting, own_sigterm():
        if not ray.is_initialized():
            connect(runner.address) if runner.address else start(runner.workers)
    return RayTaskRunner()  # it takes the connection that is there


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Ray makes SIGTERM an ordinary exit of the main thread, which `winnow` would take for a good end."""
    heard = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)


def connect(address: str) -> None:
    """Raises StageFailed where no cluster lets this process in."""
    import ray

    try:
        with warnings.catch_warnings(action="ignore"):
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise StageFailed(
            f"no Ray cluster answers at runner.address {address} ({why}); start it, and give winnow the "
            "RAY_AUTH_MODE and the token that it was started with"
        ) from None


def start(workers: int) -> None:
    """Start a cluster of `workers` cores on this machine, which ends with this process."""
    import ray

    # Sockets lie in this folder, and a socket's path may have 107 characters: not below a long TMPDIR.
    folder = tempfile.mkdtemp(prefix="winnow-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)

    def stop() -> None:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    try:
        ray.init(
            "local",
            num_cpus=workers,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _temp_dir=folder,
        )
    except Exception as error:  # Ray has no type for it
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise StageFailed(
            f"no local Ray cluster could be started ({why}); try again, or use threads"
        ) from error
