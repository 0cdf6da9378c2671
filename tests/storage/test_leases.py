"""Leases, with real processes. Run with: python -m pytest tests/storage/test_leases.py"""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import pytest

from storage import leases
from storage.errors import Busy, Fenced
from storage.leases import lease, live
from storage.store import Store
from tests.storage.helpers import at_once, kill, python, says

HOLDER = """
import sys, time
from storage import leases
from storage.errors import Fenced
from storage.store import Store
leases.BEAT_SECONDS = float(sys.argv[2])
with leases.lease(Store(sys.argv[1], "digits"), "p", 0, "the other run") as held:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        held.check()
        print("still mine", flush=True)
    except Fenced as error:
        print(error, flush=True)
    sys.stdin.readline()
"""


def say(process: object, line: str = "go") -> None:
    process.stdin.write(line + "\n")  # type: ignore[attr-defined]
    process.stdin.flush()  # type: ignore[attr-defined]


def test_a_lease_is_free_again_after_the_block_even_if_it_failed(store: Store) -> None:
    assert live(store, "p") is None
    with pytest.raises(ZeroDivisionError), lease(store, "p", 0, "a run"):
        raise ZeroDivisionError
    assert live(store, "p") is None
    with lease(store, "p", 0, "another") as held:
        assert held.generation == 2
        held.check()
    assert [path.name for path in (Path(store.path) / "_leases/p").iterdir()] == ["00000002.json"]


def test_a_held_lease_is_busy_and_says_who_has_it(store: Store) -> None:
    with (
        lease(store, "p", 0, "nightly run abc"),
        pytest.raises(Busy, match="being worked on by") as caught,
        lease(store, "p", 0, "b"),
    ):
        pass
    assert "nightly run abc" in caught.value.holder
    assert str(os.getpid()) in caught.value.holder
    assert pickle.loads(pickle.dumps(caught.value)).holder == caught.value.holder  # noqa: S301


def test_leases_of_different_names_do_not_meet(store: Store) -> None:
    with lease(store, "p", 0, "a") as one, lease(store, "q", 0, "b") as two:
        one.check()
        two.check()


def test_waiting_ends_when_the_holder_does(store: Store) -> None:
    process = python(HOLDER, store.root, "2")
    assert says(process) == "ready"
    say(process)
    assert says(process) == "still mine"
    say(process)
    with lease(store, "p", 20, "patient"):
        assert process.wait(5) == 0
    process.communicate()


def test_a_holder_that_was_killed_is_replaced_at_once(store: Store) -> None:
    process = python(HOLDER, store.root, "2")
    assert says(process) == "ready"
    with pytest.raises(Busy, match="the other run"), lease(store, "p", 0, "me"):
        pass
    kill(process)
    began = time.monotonic()
    with lease(store, "p", 0, "me") as held:
        held.check()
    assert time.monotonic() - began < 2 < leases.EXPIRES_SECONDS


def test_a_process_number_used_again_is_not_taken_for_the_holder(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = leases._started(os.getpid())
    monkeypatch.setattr(leases, "_started", lambda pid: "12345")
    with lease(store, "p", 0, "its number was given to another process"):
        monkeypatch.setattr(leases, "_started", lambda pid: real)
        assert live(store, "p") is None


def test_a_stopped_holder_is_replaced_after_the_expiry_and_fenced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = python(HOLDER, store.root, "0.2")
    assert says(process) == "ready"
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(leases, "EXPIRES_SECONDS", 1.0)
    with pytest.raises(Busy), lease(store, "p", 0, "too early"):
        pass
    with lease(store, "p", 10, "me") as held:
        os.kill(process.pid, signal.SIGCONT)
        say(process)
        assert "was taken over while this process was away" in says(process)
        say(process)
        assert process.wait(10) == 0
        held.check()  # its end released nothing of ours
        with pytest.raises(Busy, match="by me"), lease(store, "p", 0, "third"):
            pass
    process.communicate()


def test_a_slow_holder_that_nobody_replaced_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 60.0)
    monkeypatch.setattr(leases, "EXPIRES_SECONDS", 0.0)
    with lease(store, "p", 0, "slow") as held:
        time.sleep(0.05)
        assert live(store, "p") is None
        held.check()
        with lease(store, "p", 0, "next"), pytest.raises(Fenced):
            held.check()


def test_the_heart_beats(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    with lease(store, "p", 0, "a"):
        [path] = (Path(store.path) / "_leases/p").iterdir()
        first = path.stat().st_mtime_ns
        deadline = time.monotonic() + 5
        while path.stat().st_mtime_ns == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_late_put_of_a_generation_long_past_wins_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with lease(store, "p", 0, "earlier"):
            pass
    real, looks = leases._generations, []

    def stale_at_first(store: Store, name: str) -> list[int]:
        looks.append(name)
        return [] if len(looks) == 1 else real(store, name)

    with lease(store, "p", 0, "holder") as holder:
        monkeypatch.setattr(leases, "_generations", stale_at_first)
        with pytest.raises(Busy, match="by holder"), lease(store, "p", 0, "late"):
            pass
        holder.check()
        assert real(store, "p") == [holder.generation]


TAKER = """
import sys, time
from storage import leases
from storage.errors import Busy
from storage.store import Store
store = Store(sys.argv[1], "digits")
print("ready", flush=True)
sys.stdin.readline()
try:
    with leases.lease(store, "p", 0, "a taker") as held:
        time.sleep(1)
        held.check()
    print("held")
except Busy:
    print("busy")
"""


def test_of_processes_that_take_it_at_once_exactly_one_does(store: Store) -> None:
    process = python(HOLDER, store.root, "2")
    assert says(process) == "ready"
    kill(process)
    assert sorted(at_once([python(TAKER, store.root) for _ in range(3)])) == ["busy", "busy", "held"]
