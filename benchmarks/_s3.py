"""An S3-compatible server for benchmarks and tests: moto's, in a process of its own, with faults to order.

moto answers as S3 does and keeps everything in memory. Three things are added here, because promises
hang on them: a conditional put looks and writes in one step (moto's threads look first and write
later), an upload that broke off makes no object, and the answer to a head has the object's time.

A faulty server counts its requests: every `slow_down`-th is answered 503 and not carried out; every
`hang`-th is never answered, and every other one of those is carried out all the same, which is the
worst that a time-out can mean.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

REPOSITORY = Path(__file__).resolve().parent.parent
BUCKET = "winnow"
ACCESS_KEY, SECRET_KEY = "AKIAWINNOWTESTSERVER", "kept/out+of+every+log+and+table+0123456789"
HANG_SECONDS = 5.0
TIMEOUT_SECONDS = 2.0
"""How long clients of the server wait for an answer; shorter than a hanging request hangs."""

FAULTS = "/-/faults"
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
)

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Strict:
    """Carries requests out one at a time, and only those whose body came whole."""

    def __init__(self, application: Application) -> None:
        self._application, self._lock = application, threading.Lock()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = received(environ)
        if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        with self._lock:
            answer = self._application({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
            return [b"".join(answer)]


class Faulty:
    """Passes requests on, except for some; counts them all. `/-/faults` gives the counts."""

    def __init__(self, application: Application, slow_down: int, hang: int) -> None:
        self._application, self._slow_down, self._hang = application, slow_down, hang
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self.counts = {"requests": 0, "slow_down": 0, "hang": 0}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == FAULTS:
            told = json.dumps(self.counts).encode()
            start_response("200 OK", [("Content-Length", str(len(told)))])
            return [told]
        with self._lock:
            self.counts["requests"] = number = next(self._numbers)
            hangs = bool(self._hang) and number % self._hang == 0
            slow = bool(self._slow_down) and number % self._slow_down == 0 and not hangs
            self.counts["hang"] += hangs
            self.counts["slow_down"] += slow
        if hangs:
            if number // self._hang % 2:
                self._application(environ, lambda *arguments: None)
            time.sleep(HANG_SECONDS)
            raise ConnectionError("never answered")  # the server closes the connection
        if slow:
            received(environ)
            start_response("503 Slow Down", [("Content-Length", str(len(SLOW_DOWN)))])
            return [SLOW_DOWN]
        return self._application(environ, start_response)


def received(environ: Environ) -> bytes:
    """A request's body; shorter than announced if the client went away."""
    source, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    if environ.get("wsgi.input_terminated"):  # sent in chunks, with an end of its own
        return bytes(source.read())
    return bytes(source.read(int(length))) if length else b""


def serve(slow_down: int, hang: int) -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as S3 does

        def log(self, *arguments: object) -> None:
            """Requests are counted, not printed."""

    application = Faulty(Strict(DomainDispatcherApplication(create_backend_app)), slow_down, hang)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def s3_server(slow_down: int = 0, hang: int = 0) -> Iterator[dict[str, str]]:
    """A server with an empty bucket; the environment in which winnow uses it."""
    command = [sys.executable, "-m", "benchmarks._s3", "--slow-down", str(slow_down), "--hang", str(hang)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
            make_bucket(endpoint)
            yield {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "WINNOW_S3_TIMEOUT": str(TIMEOUT_SECONDS if hang else 30),
            }
        finally:
            server.kill()


def make_bucket(endpoint: str) -> None:
    """Put the bucket; a server that counts its faults may need to be asked twice."""
    for _ in range(3):
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=60):
                return
        except OSError as error:
            problem = error
    raise RuntimeError(f"the S3 server made no bucket: {problem}")


def faults(environment: dict[str, str]) -> dict[str, int]:
    """How many requests a server had, and how many of them it answered 503 or never."""
    with urllib.request.urlopen(environment["AWS_ENDPOINT_URL"] + FAULTS, timeout=60) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slow-down", type=int, default=0)
    parser.add_argument("--hang", type=int, default=0)
    chosen = parser.parse_args()
    serve(chosen.slow_down, chosen.hang)
