"""Whether a result may be published: metrics against bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.report import GateOutcome

if TYPE_CHECKING:
    from tasks.config import Gate


def judge(gates: Sequence[Gate], metrics: Mapping[str, float]) -> list[GateOutcome]:
    """One outcome a gate. A metric or bound that the run did not measure fails its gate: silence is
    no evidence that all is well."""
    return [outcome(gate, metrics) for gate in gates]


def outcome(gate: Gate, metrics: Mapping[str, float]) -> GateOutcome:
    at_least = gate.at_least is not None
    limit = gate.at_least if at_least else gate.at_most
    value = metrics.get(gate.metric)
    bound = metrics.get(limit) if isinstance(limit, str) else limit
    passed = value is not None and bound is not None and (value >= bound if at_least else value <= bound)
    name = limit if isinstance(limit, str) else ""
    return GateOutcome(gate.metric, value, "at least" if at_least else "at most", bound, passed, name)


def describe(gate: GateOutcome) -> str:
    """The bound in words, for people: "at least accuracy_given (0.91)"."""
    figure = "not measured" if gate.bound is None else f"{gate.bound:.4g}"
    return (
        f"{gate.relation} {gate.bound_metric} ({figure})"
        if gate.bound_metric
        else f"{gate.relation} {figure}"
    )
