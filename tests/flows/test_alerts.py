"""Alerts, against a real web server: pytest tests/flows/test_alerts.py

The receiver's code is taken from docs/alerts.md and run as it stands there; the automation there is given
to a real Prefect server.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows import alerts
from flows.alerts import alert
from flows.backfill import Work
from flows.nightly import Night, alert_of
from flows.selection import Choice
from storage.store import TableRef
from tasks.config import Curation, load
from tasks.errors import BadInput
from tasks.plan import Plan
from tests.conftest import REPOSITORY, Finished

SECRET = "a-signing-secret-of-32-characters"
PAGE = (REPOSITORY / "docs/alerts.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block of a language in docs/alerts.md."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/alerts.md has no {language} block"
    return found[1]


@dataclass
class Receiver:
    """A web server that keeps what it is sent, and answers as it is told: the last answer for ever."""

    answers: list[int] = field(default_factory=lambda: [200])
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    address: str = ""
    delay_seconds: float = 0.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.received.append((dict(self.headers), body))
            time.sleep(kept.delay_seconds)
            status = kept.answers[min(len(kept.received), len(kept.answers)) - 1]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is to be printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kept.address = f"http://127.0.0.1:{server.server_port}/hooks/path-that-is-a-password"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "WAIT_SECONDS", 0.001)


@pytest.fixture
def curation(
    receiver: Receiver, tmp_path: Path, digits_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Curation:
    """Digits whose failures and held releases go to the receiver."""
    return told(receiver.address, tmp_path, digits_yaml, monkeypatch)


def told(
    address: str, folder: Path, digits_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Curation:
    monkeypatch.setenv("WINNOW_WEBHOOK", address)
    monkeypatch.setenv("WINNOW_WEBHOOK_SECRET", SECRET)
    section = {"webhook": "${WINNOW_WEBHOOK}", "secret": "${WINNOW_WEBHOOK_SECRET}"}
    return load(digits_yaml(folder, alerts=section))


def test_a_message_says_what_happened_in_figures_and_a_sentence(
    curation: Curation, receiver: Receiver
) -> None:
    figures = {"share_rejected": 0.5, "accuracy": float("nan"), "drift": None}
    assert alert(curation, "held", "release 3 is held", "2026-01-02", 3, figures, "run-7")
    [(_, body)] = receiver.received
    assert json.loads(body) == {
        "dataset": "digits",
        "partition": "2026-01-02",
        "event": "held",
        "sentence": "release 3 is held",
        "release": 3,
        "figures": {"share_rejected": 0.5, "accuracy": None, "drift": None},
        "run": "run-7",
    }


def test_the_documented_check_takes_what_was_signed_and_nothing_else(
    curation: Curation, receiver: Receiver
) -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    genuine = names["genuine"]
    alert(curation, "failed", "it failed")
    [(headers, body)] = receiver.received
    assert genuine(body, headers, SECRET)
    assert not genuine(body.replace(b"failed", b"worked"), headers, SECRET)
    assert not genuine(body, headers, SECRET + "x")
    stamp = int(headers["Winnow-Timestamp"])
    assert not genuine(body, {**headers, "Winnow-Timestamp": str(stamp + 1)}, SECRET)
    old = alerts.signed(body, SECRET, stamp - 3600)
    assert not genuine(body, old, SECRET)  # rightly signed, and played again an hour later


def test_only_the_events_that_were_asked_for_are_sent(curation: Curation, receiver: Receiver) -> None:
    assert not alert(curation, "empty", "nothing arrived")
    assert receiver.received == []


def test_without_alerts_nothing_is_sent(tmp_path: Path, digits_yaml: Callable[..., Path]) -> None:
    assert not alert(load(digits_yaml(tmp_path)), "failed", "it failed")


@pytest.mark.parametrize(
    ("answers", "tries", "delivered"),
    [
        ([503, 429, 200], 3, True),
        ([500], 3, False),
        ([404], 1, False),
        ([302], 1, False),  # a redirect would take the message to somebody else
    ],
)
def test_what_may_pass_is_tried_again_and_a_refusal_is_not(
    curation: Curation, receiver: Receiver, answers: list[int], tries: int, delivered: bool
) -> None:
    receiver.answers = answers
    assert alert(curation, "failed", "it failed") is delivered
    assert len(receiver.received) == tries
    assert len({(headers["Winnow-Signature"], body) for headers, body in receiver.received}) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/hooks/path-that-is-a-password", "refusing", "slow"])
def test_a_webhook_that_fails_is_logged_by_its_host_and_fails_nothing(
    address: str,
    receiver: Receiver,
    tmp_path: Path,
    digits_yaml: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    if address == "refusing":
        receiver.answers, address = [400], receiver.address
    if address == "slow":
        monkeypatch.setattr(alerts, "TIMEOUT_SECONDS", 0.05)
        receiver.delay_seconds, address = 0.3, receiver.address
    assert not alert(told(address, tmp_path, digits_yaml, monkeypatch), "failed", "it failed")
    assert "the webhook at 127.0.0.1 was not told" in caplog.text
    assert "path-that-is-a-password" not in caplog.text
    assert SECRET not in caplog.text


def test_a_delivered_message_leaves_no_address_in_the_log(
    curation: Curation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert alert(curation, "failed", "it failed")
    assert "HTTP Request: POST ${WINNOW_WEBHOOK}" in caplog.text
    assert "path-that-is-a-password" not in caplog.text


def test_a_sentence_that_quotes_a_secret_is_sent_without_it(
    curation: Curation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-sesame")
    alert(curation, "failed", "cannot open /data/hunter2-sesame/x.csv")
    assert json.loads(receiver.received[0][1])["sentence"] == "cannot open /data/${DB_PASSWORD}/x.csv"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (
            "secret",
            "in-clear-in-the-file-9999",
            r"alerts\.secret stands there in clear; write \$\{WINNOW_WEBHOOK_SECRET",
        ),
        ("webhook", "https://h/in-clear-9999", r"alerts\.webhook stands there in clear"),
        ("secret", "${SHORT_9}", r"alerts\.secret is not told here: value should have at least 16"),
        ("webhook", "${NO_URL}", r"alerts\.webhook: .*must be an address like https://host/path"),
        ("on", ["everything"], r"alerts\.on\[0\] is 'everything', must be 'failed'"),
    ],
)
def test_alerts_that_cannot_work_are_refused_without_showing_the_secret(
    key: str,
    value: Any,
    says: str,
    curation: Curation,
    tmp_path: Path,
    digits_yaml: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHORT_9", "short-9999")
    monkeypatch.setenv("NO_URL", "ftp://u:p@host-9999/")
    section = {"webhook": "${WINNOW_WEBHOOK}", "secret": "${WINNOW_WEBHOOK_SECRET}", key: value}
    with pytest.raises(BadInput, match=says) as refused:
        load(digits_yaml(tmp_path, alerts=section))
    assert "9999" not in str(refused.value)


@pytest.mark.slow
def test_the_documented_automation_calls_a_webhook_when_a_run_fails(
    prefect_api: str, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ON_CALL_WEBHOOK", receiver.address)
    made = execute([sys.executable, "-c", block('python title="block.py"')]).split()[-1]
    file = tmp_path / "automation.yaml"
    text = block('yaml title="automation.yaml"')
    file.write_text(text.replace("00000000-0000-0000-0000-000000000000", made), encoding="utf-8")
    execute([sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(file)])
    time.sleep(5)  # the server reads its automations again every few seconds
    failing = "import prefect\n@prefect.flow\ndef night(): 1 / 0\nwith prefect.tags('winnow'): night()"
    assert subprocess.run([sys.executable, "-c", failing], capture_output=True, timeout=120).returncode
    deadline = time.monotonic() + 60
    while not receiver.received and time.monotonic() < deadline:
        time.sleep(0.2)
    assert json.loads(receiver.received[0][1])["state"] == "Failed"


def execute(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def events(receiver: Receiver) -> list[tuple[str, str | None]]:
    return [
        (message["event"], message["partition"])
        for message in (json.loads(body) for _, body in receiver.received)
    ]


SMALL = {"teach": None, "detect": None, "relabel": None, "reinforce": None, "distill": None}


def test_a_night_tells_of_rows_that_came_late_and_of_nothing_at_all(
    curation: Curation, receiver: Receiver
) -> None:
    wanted = curation.alerts
    assert wanted is not None
    loud = curation.model_copy(update={"alerts": wanted.model_copy(update={"on": ("empty", "late")})})
    plan = Plan("ingest", "2026-01-01", "runs", "", None, {}, ("input",))
    night = Night(Work("nightly", {}, [Choice("2026-01-01", [plan])]), [])
    alert_of(loud, night, "nothing has arrived")
    assert [event for event, _ in events(receiver)] == ["empty"]
    held = dataclasses.replace(plan, current=TableRef("rows", "2026-01-01", 1, 3, "f", "c"))
    alert_of(loud, Night(Work("nightly", {}, [Choice("2026-01-01", [held])]), []), None)
    assert [event for event, _ in events(receiver)] == ["empty", "late"]


@pytest.mark.slow
def test_runs_tell_of_what_they_hold_back_and_of_what_fails(
    receiver: Receiver,
    tmp_path: Path,
    winnow: Callable[..., Finished],
    digits_yaml: Callable[..., Path],
    prefect_api: str,
) -> None:
    section = {"webhook": "${WINNOW_WEBHOOK}", "secret": "${WINNOW_WEBHOOK_SECRET}"}
    env = {"WINNOW_WEBHOOK": receiver.address, "WINNOW_WEBHOOK_SECRET": SECRET}
    gates = [{"metric": "rows", "at_most": 1}]
    held = digits_yaml(tmp_path, **SMALL, alerts=section, gates=gates)
    assert winnow("run", held, "--partition", "2026-01-01", env=env).code == 1
    assert events(receiver) == [("held", "2026-01-01")]
    assert json.loads(receiver.received[0][1])["figures"]["rows"] > 1
    assert winnow("run", held, "--partition", "2026-01-01", env=env).code == 1
    assert len(receiver.received) == 1  # held as it was before: told once
    failing = digits_yaml(tmp_path, **SMALL, alerts=section, classes=["zero", "one"])
    assert winnow("backfill", failing, "--from", "2026-01-02", "--to", "2026-01-02", env=env).code == 1
    assert events(receiver)[1:] == [("failed", "2026-01-02")]
