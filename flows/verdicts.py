"""What gates said of a partition, from the releases that judged it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows import show
from storage import releases
from storage.store import Store

Checks = Sequence[Mapping[str, Any]]


def show_verdicts(store: Store, partition: str) -> None:
    """The newest verdict on each gate of a partition; one line where no release judged it."""
    for release in releases.newest(store):
        checks = of_partition(release.checks, partition, release.partition)
        if checks:
            rows = [
                (check["name"].split()[-1], check["value"], check["bound"], outcome(check))
                for check in checks
            ]
            title = f"gates of {partition}, release {release.number}: {release.status}"
            show.table(("gate", "value", "must be", "outcome"), rows, title=title)
            return
        if release.partition == partition:
            break
    show.line(f"no gate has judged {partition}")


def of_partition(checks: Checks, partition: str, run: str) -> Checks:
    """Those on one partition, of a release that the run of partition `run` made: a check on any other
    carries that one's name in front."""
    return [check for check in checks if (check["name"].rpartition(" ")[0] or run) == partition]


def outcome(check: Mapping[str, Any]) -> str:
    return "passed" if check["passed"] else "failed"


def in_short(checks: Checks) -> str:
    """The gates that failed, in words, and how many did not."""
    failed = [check for check in checks if not check["passed"]]
    passed = len(checks) - len(failed)
    return "; ".join([*map(in_words, failed), *([f"{passed} passed"] if passed else [])])


def in_words(check: Mapping[str, Any]) -> str:
    """A gate in words: what was measured, what was wanted, and whether that failed."""
    measured = show.cell(check["value"]) or "not measured"
    return f"{check['name']} {measured}, {check['bound']}{'' if check['passed'] else ' FAILED'}"
