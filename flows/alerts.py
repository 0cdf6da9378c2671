"""Alerts: a small signed JSON to a webhook, for what happens while nobody looks.

`alert` is all there is. It says nothing unless the curation's `alerts` asks for that event, it sends no
row of anybody's data, and it never fails the run that it is about: a webhook that is down is logged, by
its host alone, since the path of a webhook is often its password.

The body is signed as `HMAC-SHA256(secret, timestamp + "." + body)`, so a receiver knows who wrote it,
that nobody changed it, and how old it is (docs/alerts.md). All tries carry the same signature: a message
that comes twice is the same message.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from storage.errors import Busy, Fenced
from tasks.config import Curation, Event
from tasks.errors import Held
from tasks.redaction import redact

TRIES, WAIT_SECONDS, TIMEOUT_SECONDS = 3, 1.0, 10.0
"""A webhook that hangs holds a run up for half a minute at most."""


class Redacted(logging.Filter):
    """httpx logs the whole address of every request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


logging.getLogger("httpx").addFilter(Redacted())


def alert(
    curation: Curation,
    event: Event,
    sentence: str,
    partition: str | None = None,
    release: int | None = None,
    figures: Mapping[str, float | None] | None = None,
    run: str | None = None,
) -> bool:
    """Tell the curation's webhook of an event; whether it was told.

    sentence: what happened, for people. figures: the numbers behind it, by name. run: the id of the
    Prefect flow run. Raises nothing.
    """
    wanted = curation.alerts
    if wanted is None or event not in wanted.on:
        return False
    message = {
        "dataset": curation.dataset,
        "partition": partition,
        "event": event,
        "sentence": redact(sentence),
        "release": release,
        "figures": {name: finite(value) for name, value in (figures or {}).items()},
        "run": run,
    }
    body = json.dumps(message, ensure_ascii=False).encode()
    headers = signed(body, wanted.secret.get_secret_value(), int(time.time()))
    return send(wanted.webhook.get_secret_value(), body, headers)


@contextmanager
def telling(curation: Curation, partition: str | None = None, run: str | None = None) -> Iterator[None]:
    """Alerts of the block's failure. Not of a release that is held, which was told as that, nor of work
    that another run has."""
    try:
        yield
    except (Busy, Fenced, Held):
        raise
    except Exception as error:
        alert(curation, "failed", str(error), partition, run=run)
        raise


def finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None


def signed(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """The headers that let a receiver check a body."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "Winnow-Timestamp": str(timestamp),
        "Winnow-Signature": f"sha256={digest}",
    }


def send(address: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """POST a body, again where that may help; whether the receiver took it."""
    import httpx

    host = urlsplit(address).hostname
    problem = ""
    for number in range(TRIES):
        if number:
            time.sleep(WAIT_SECONDS * 2 ** (number - 1))
        try:
            answer = httpx.post(address, content=body, headers=dict(headers), timeout=TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = type(error).__name__  # its text may hold the address
            continue
        if answer.is_success:
            return True
        problem = f"status {answer.status_code}"
        if answer.status_code < 500 and answer.status_code != 429:
            break
    logger().warning("the webhook at %s was not told (%s); the run goes on", host, problem)
    return False


def logger() -> Any:
    """The run's own logger inside of a run, so that the warning is seen beside what it is about."""
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
