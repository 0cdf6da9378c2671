"""What would run, and why: decided from fingerprints, without Prefect and without torch.

A fingerprint hashes what decides a stage's result: the methods with their parameters and
revisions, what has arrived from outside, the *content* of the tables it reads, and the class
vocabulary. Content, not history: a stage whose inputs were made again with the same result is still
up to date. A partition's plan costs the same whether ten partitions exist or ten thousand.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal

from storage.history import History, Life
from storage.snapshot import Snapshot, Window
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.stages import STAGES
from tasks.stages.base import Job, Stage

MAKERS = {table: stage.name for stage in STAGES.values() for table in stage.tables}


@dataclass(frozen=True, slots=True)
class Plan:
    """One stage of one partition: what is there, what it would take, and why.

    `current` is what the store holds. `parts` are the fingerprint's ingredients, hashed apart, so that
    a later plan can say which `changed`; empty while an input is still to be made.
    """

    stage: str
    partition: str
    verdict: Literal["up to date", "runs", "follows"]
    reason: str
    current: TableRef | None
    parts: Mapping[str, str]
    changed: tuple[str, ...] = ()
    inputs: Mapping[str, Window] | None = None


class Planner:
    """Plans any number of partitions of a curation from one look at its store.

    `given` are references of the partition that a flow hands over; others are looked up.
    """

    def __init__(self, curation: Curation, store: Store, given: Sequence[TableRef] = ()) -> None:
        self.curation = curation
        self.snapshot = Snapshot(store, given)
        self.stages = enabled(curation)
        self._made = frozenset(table for stage in self.stages for table in stage.tables)
        self._methods: dict[str, str] = {}
        self._pasts: dict[str, Past] = {}

    def partition(self, partition: str) -> list[Plan]:
        """All stages of a partition; after the first that runs, the rest follow it."""
        plans: list[Plan] = []
        first: str | None = None
        for stage in self.stages:
            plan = self.stage(stage, partition)
            if first and plan.verdict != "follows":
                up_to_date = plan.verdict == "up to date"
                reason = f"if {first} changes its input" if up_to_date else f"after {first}: {plan.reason}"
                plan = Plan(stage.name, partition, "follows", reason, plan.current, {}, plan.changed)
            if plan.verdict != "up to date":
                first = first or stage.name
            plans.append(plan)
        return plans

    def stage(self, stage: Stage, partition: str) -> Plan:
        """Compare what the stage would be made from with what the store holds."""
        current = self.snapshot.ref(stage.table, partition)
        if current is None and self._is_over(stage, partition):
            return Plan(stage.name, partition, "up to date", "there are no rows", None, {})
        found = stage.inputs(self.curation, self.snapshot, partition, self._made)
        missing = {MAKERS[table] for table, window in found.items() if window is None}
        if missing:
            needs = " and ".join(sorted(missing, key=list(STAGES).index))
            return Plan(stage.name, partition, "follows", f"needs {needs} first", current, {})
        inputs = {table: window for table, window in found.items() if window is not None}
        parts = self._parts(stage, partition, inputs)
        if current is None:
            return Plan(stage.name, partition, "runs", "has not run yet", None, parts, (), inputs)
        if current.fingerprint == fingerprint(stage.name, partition, parts):
            reason = f"{current.rows:,} rows"
            return Plan(stage.name, partition, "up to date", reason, current, parts, (), inputs)
        before = self.past(stage.table).parts(current)
        changed = tuple(name for name in parts if parts[name] != before.get(name))
        reason = ", ".join(in_words(stage, name) for name in changed) + " changed"
        return Plan(stage.name, partition, "runs", reason, current, parts, changed, inputs)

    def job(self, plan: Plan) -> Job | None:
        """What it takes to carry out a plan; None while an input is still to be made."""
        if plan.inputs is None:
            return None
        return Job(
            self.curation,
            plan.partition,
            plan.stage,
            fingerprint(plan.stage, plan.partition, plan.parts),
            tuple(self._classes(STAGES[plan.stage])),
            {name: window.refs for name, window in plan.inputs.items()},
            tuple(
                {"input": name, **noted} for name, window in plan.inputs.items() for noted in window.summary
            ),
        )

    def share_changed(self, partition: str) -> float:
        """The largest share, over the stages that run, of a stage's input rows that stand in partitions
        which changed since it last ran; 1 where something else changed too, or where it never ran."""
        shares = [0.0]
        for stage in self.stages:
            plan = self.stage(stage, partition)
            if plan.verdict == "follows" or not plan.current:
                return 1.0
            if plan.verdict == "runs":
                shares.append(self._share(stage, plan))
        return max(shares)

    def past(self, table: str) -> Past:
        """A table's past, read once."""
        if table not in self._pasts:
            self._pasts[table] = Past(History(self.snapshot.store, table))
        return self._pasts[table]

    def _share(self, stage: Stage, plan: Plan) -> float:
        """Of one stage: the rows in changed partitions over all rows, of the input that moved most."""
        assert plan.current
        assert plan.inputs is not None
        if not plan.changed or not set(plan.changed) <= plan.inputs.keys():
            return 1.0
        before = {parent["input"]: parent for parent in self.past(stage.table).parents(plan.current)}
        shares: list[float] = []
        for name in plan.changed:
            if name not in before:
                return 1.0
            window, since = plan.inputs[name], before[name]["version"]
            past = self.past(window.table)
            rows = sum(ref.rows for ref in window.refs if past.since(ref) > since)
            # A window that lost partitions has moved too, though none of those that are left has.
            lost = before[name].get("window", before[name])["rows"] - (window.rows - rows)
            shares.append(max(rows, lost) / max(window.rows, 1))
        return max(shares)

    def _is_over(self, stage: Stage, partition: str) -> bool:
        """Whether nothing is left to do for a partition that holds no row, and need not hold any."""
        rows = self.snapshot.ref("rows", partition)
        is_empty = rows is not None and not rows.rows
        return stage.name != "ingest" and is_empty and self.curation.may_be_empty(partition)

    def _parts(self, stage: Stage, partition: str, inputs: Mapping[str, Window]) -> dict[str, str]:
        if stage.name not in self._methods:
            self._methods[stage.name] = digest(stage.identity(self.curation))
        parts = {"methods": self._methods[stage.name], "classes": self._class_digests[stage.name == "ingest"]}
        arrival = stage.arrival(self.curation, partition)
        if arrival is not None:
            parts["input"] = arrival
        return parts | {table: window.digest for table, window in inputs.items()}

    def _classes(self, stage: Stage) -> Sequence[str]:
        """Ingest makes the vocabulary cover what is declared; the other stages take it as it is."""
        return (self.curation.vocabulary or ()) if stage.name == "ingest" else self.snapshot.classes

    @cached_property
    def _class_digests(self) -> tuple[str, str]:
        return digest(self.snapshot.first_classes), digest(self.curation.vocabulary)


class Past:
    """How the partitions of a table came to hold what they hold, from one reading of its log."""

    def __init__(self, history: History) -> None:
        self._lives: dict[str, list[Life]] = {}
        for life in history.all():
            self._lives.setdefault(life.partition, []).append(life)
        for lives in self._lives.values():
            lives.sort(key=lambda life: life.since, reverse=True)

    def parts(self, ref: TableRef) -> Mapping[str, str]:
        """The ingredients of the fingerprint that `ref` was made with; empty where nobody noted them."""
        found = self._made(ref)
        parts: Mapping[str, str] = found.info().get("parts", {}) if found else {}
        return parts

    def parents(self, ref: TableRef) -> list[dict[str, Any]]:
        """What `ref` was made from, as its commit noted."""
        found = self._made(ref)
        return found.parents() if found else []

    def since(self, ref: TableRef) -> float:
        """The version at which the partition came to hold what `ref` says, however its files were dealt
        since; infinity where the log knows nothing of it."""
        lives = takewhile(lambda life: life.content == ref.content, self._lives.get(ref.partition, []))
        return min((life.since for life in lives), default=math.inf)

    def _made(self, ref: TableRef) -> Life | None:
        lives = self._lives.get(ref.partition, [])
        return next((life for life in lives if life.fingerprint == ref.fingerprint), None)


def enabled(curation: Curation) -> list[Stage]:
    """The stages this curation has, in order."""
    return [stage for stage in STAGES.values() if stage.enabled(curation)]


def fingerprint(stage: str, partition: str, parts: Mapping[str, str]) -> str:
    """How a stage's result for a partition is made, from the digests of what decides it."""
    return digest([stage, partition, dict(parts)])


def in_words(stage: Stage, part: str) -> str:
    """An ingredient of a fingerprint as people call it."""
    if stage.name == "ingest" and part == "rows":
        return "earlier partitions"
    return {"methods": "its methods", "input": "the input"}.get(part, part)


def digest(value: Any) -> str:
    """32 hexadecimal digits of JSON-able data, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
