"""What would run, and why: decided from fingerprints, without Prefect and without torch.

A fingerprint hashes what decides a stage's result: the methods with their parameters and
revisions, the *content* of the tables it reads, and the class vocabulary. Content, not history:
a stage whose inputs were made again with the same result is still up to date.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from storage.classes import vocabulary
from storage.store import Store, TableRef
from tasks.config import Curation
from tasks.stages import STAGES
from tasks.stages.base import Job, Stage


@dataclass(frozen=True)
class Plan:
    """One stage of one partition: what is there, what it would take, and why.

    `job` is None while an input is still to be made; `current` is what the store holds.
    """

    stage: str
    partition: str
    verdict: Literal["up to date", "runs", "follows"]
    reason: str
    job: Job | None
    current: TableRef | None
    parts: dict[str, str]
    """The fingerprint's ingredients, hashed apart, so that a later plan can say which changed."""


def plan_stage(
    stage: Stage, curation: Curation, store: Store, partition: str, given: Sequence[TableRef] = ()
) -> Plan:
    """Compare what the stage would be made from with what the store holds.

    `given` are the partition's own refs that the flow hands over; others are looked up.
    """
    current = store.ref(stage.table, partition)
    inputs, missing = gather(stage, curation, store, partition, {ref.table: ref for ref in given})
    if missing:
        return Plan(
            stage.name, partition, "follows", f"needs {' and '.join(missing)} first", None, current, {}
        )
    classes = curation.vocabulary if stage.name == "ingest" else vocabulary(store)
    parts = {
        "methods": digest(stage.identity(curation, partition)),
        "classes": digest(classes),
        **{table: digest([(ref.partition, ref.content) for ref in refs]) for table, refs in inputs.items()},
    }
    fingerprint = digest([stage.name, partition, parts])
    job = Job(curation, partition, stage.name, fingerprint, tuple(classes or ()), inputs)
    if current is None:
        return Plan(stage.name, partition, "runs", "has not run yet", job, None, parts)
    if current.fingerprint == fingerprint:
        return Plan(stage.name, partition, "up to date", f"{current.rows:,} rows", job, current, parts)
    before = store.info(current).get("parts", {})
    changed = [name for name in parts if parts[name] != before.get(name)]
    reason = ", ".join(in_words(stage, name) for name in changed) + " changed"
    return Plan(stage.name, partition, "runs", reason, job, current, parts)


def plan_partition(curation: Curation, store: Store, partition: str) -> list[Plan]:
    """All stages of a partition; after the first that runs, the rest follow it."""
    plans: list[Plan] = []
    for stage in enabled(curation):
        found = plan_stage(stage, curation, store, partition)
        first = next((p.stage for p in plans if p.verdict != "up to date"), None)
        if first and found.verdict == "up to date":
            found = Plan(
                stage.name, partition, "follows", f"if {first} changes its input", None, found.current, {}
            )
        elif first and found.verdict == "runs":
            found = Plan(
                stage.name, partition, "follows", f"after {first}: {found.reason}", None, found.current, {}
            )
        plans.append(found)
    return plans


def enabled(curation: Curation) -> list[Stage]:
    """The stages this curation has, in order."""
    return [stage for stage in STAGES.values() if stage.enabled(curation)]


def gather(
    stage: Stage, curation: Curation, store: Store, partition: str, given: Mapping[str, TableRef]
) -> tuple[dict[str, tuple[TableRef, ...]], list[str]]:
    """The refs a stage reads, and the names of the tables that are not there yet.

    A window holds the partitions that have every table the stage reads over it, so that a night
    that failed half-way is left out whole.
    """
    makers = {table: s.name for s in STAGES.values() for table in s.tables}
    before = {t: store.refs(t, up_to=partition) for t in stage.reads_before(curation)}
    made = {table for s in enabled(curation) for table in s.tables}
    inputs = {t: tuple(ref for ref in refs if ref.partition != partition) for t, refs in before.items()}
    missing = []
    for table in (*stage.reads, *stage.reads_if_there):
        ref = given.get(table) or (
            store.ref(table, partition) if table in made or table == "reviews" else None
        )
        if ref is not None:
            inputs[table] = (ref,)
        elif table in stage.reads:
            missing.append(makers[table])
    windows = {
        table: {r.partition: r for r in store.refs(table, up_to=partition)}
        for table in stage.reads_window
        if table in made
    }
    missing += [makers[table] for table, refs in windows.items() if partition not in refs]
    if windows and not missing:
        shared = sorted(set.intersection(*(set(refs) for refs in windows.values())))
        last = shared[-curation.window_size :] if curation.window_size else shared
        inputs.update({table: tuple(refs[p] for p in last) for table, refs in windows.items()})
    return inputs, sorted(set(missing), key=list(STAGES).index)


def in_words(stage: Stage, part: str) -> str:
    """An ingredient of a fingerprint as people call it."""
    if stage.name == "ingest":
        return {"methods": "the input or its mapping", "rows": "earlier partitions"}.get(part, part)
    return "its methods" if part == "methods" else part


def digest(value: Any) -> str:
    """32 hexadecimal digits of JSON-able data, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
