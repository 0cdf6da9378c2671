"""Whether a result may be published: metrics against bounds, the last release, and their own history.

Pure: figures in, verdicts out. What is compared with what, and when, is `flows.publish`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from tasks.gates.history import usual
from tasks.report.comparison import COMPARED

if TYPE_CHECKING:
    from tasks.config import Gate


class Measured(NamedTuple):
    """A row of the metrics table."""

    value: float
    unit: str


Figures = Mapping[str, Measured]


@dataclass(frozen=True)
class Evidence:
    """What the gates of one partition are judged on.

    figures: its own, by name. history: those of earlier partitions, oldest first. last: what the last
    release holds in the partition's place, None if nothing is released that is not later by name.
    """

    figures: Figures
    history: Sequence[Figures] = ()
    last: Figures | None = None


@dataclass(frozen=True)
class Outcome:
    """One gate judged. value: None where the metric was not measured. bound: in words, for people.
    waived: why, and until when, a failure holds nothing back; empty where it does. keeps: the table that
    a failure keeps as it was in place of holding all back; empty for none."""

    metric: str
    value: float | None
    bound: str
    passed: bool
    waived: str = ""
    keeps: str = ""


class Verdict(NamedTuple):
    passed: bool
    bound: str


def judge(gates: Sequence[Gate], evidence: Evidence, today: date) -> list[Outcome]:
    """One outcome a gate; `today` decides nothing but whether a waiver still holds.

    A metric or bound that the run did not measure fails its gate, since silence is no evidence that all
    is well; but for figures that compare with earlier nights, which the first nights cannot have.
    """
    return [outcome(gate, evidence, today) for gate in gates]


def outcome(gate: Gate, evidence: Evidence, today: date) -> Outcome:
    measured = evidence.figures.get(gate.metric)
    if measured is None:
        nothing_to_compare = gate.metric in COMPARED
        why = "not judged: nothing to compare with" if nothing_to_compare else "not measured"
        verdict = Verdict(nothing_to_compare, f"{requirement(gate)} ({why})")
    else:
        verdict = against(gate, measured, evidence)
    waiver = gate.waived
    waived = ""
    if waiver and not verdict.passed and today < waiver.until:
        waived = f"waived until {waiver.until}: {waiver.why}"
    value = None if measured is None else measured.value
    return Outcome(gate.metric, value, verdict.bound, verdict.passed, waived, gate.keeps or "")


def against(gate: Gate, measured: Measured, evidence: Evidence) -> Verdict:
    if gate.at_least is not None or gate.at_most is not None or gate.above is not None:
        return against_bound(gate, measured.value, evidence.figures)
    if gate.at_most_below_last is not None or gate.at_most_above_last is not None:
        return against_last(gate, measured.value, evidence.last)
    return against_history(gate, measured, evidence)


def against_bound(gate: Gate, value: float, figures: Figures) -> Verdict:
    """A number, or another metric of the same partition."""
    limit = next(limit for limit in (gate.at_least, gate.at_most, gate.above) if limit is not None)
    if isinstance(limit, str):
        other = figures.get(limit)
        bound = None if other is None else other.value
        text = f"{requirement(gate)} ({'not measured' if bound is None else shown(bound)})"
    else:
        bound, text = limit, requirement(gate)
    if bound is None:
        return Verdict(False, text)
    if gate.above is not None:
        return Verdict(value > bound, text)
    return Verdict(value >= bound if gate.at_least is not None else value <= bound, text)


def against_last(gate: Gate, value: float, last: Figures | None) -> Verdict:
    """How far the metric moved since the last release."""
    before = last.get(gate.metric) if last is not None else None
    if before is None:
        return Verdict(True, f"{requirement(gate)} (not judged: no release has it)")
    text = f"{requirement(gate)} ({shown(before.value)})"
    if gate.at_most_below_last is not None:
        return Verdict(value >= before.value - gate.at_most_below_last, text)
    assert gate.at_most_above_last is not None
    return Verdict(value <= before.value + gate.at_most_above_last, text)


def against_history(gate: Gate, measured: Measured, evidence: Evidence) -> Verdict:
    """How unusual the value is among the metric's own in earlier partitions."""
    earlier = [figures[gate.metric].value for figures in evidence.history if gate.metric in figures]
    earlier = earlier[-gate.history :]
    if len(earlier) < gate.min_history:
        few = f"{len(earlier)} of {gate.min_history} earlier partitions"
        return Verdict(True, f"{requirement(gate)} (not judged: {few})")
    rows = evidence.figures.get("rows", Measured(0.0, "rows")).value
    median, scale = usual(earlier, measured.unit, rows, gate.floor)
    z = (measured.value - median) / scale
    least = gate.z_at_least if gate.z_at_least is not None else -(gate.z_within or float("inf"))
    most = gate.z_at_most if gate.z_at_most is not None else (gate.z_within or float("inf"))
    past = f"{shown(median)} ± {shown(scale)}, {len(earlier)} partitions"
    return Verdict(least <= z <= most, f"{requirement(gate)} (is {z:+.1f}: usually {past})")


def requirement(gate: Gate) -> str:
    """What a gate asks for, in words."""
    texts = {
        "at_least": "at least {}",
        "at_most": "at most {}",
        "above": "above {}",
        "at_most_below_last": "at most {} below the last release",
        "at_most_above_last": "at most {} above the last release",
        "z_at_least": "z at least {}",
        "z_at_most": "z at most {}",
        "z_within": "z within {}",
    }
    name = next(name for name in texts if getattr(gate, name) is not None)
    bound = getattr(gate, name)
    return texts[name].format(bound if isinstance(bound, str) else shown(bound))


def shown(value: float) -> str:
    return f"{value:.4g}"
