"""The gates that `{kind: standard}` stands for.

Data sets differ by nature in how much they reject, flag or drift from night to night, so most bounds
are on history: within six robust deviations of the metric's own past. Beside them stand loose fixed
bounds, for the weeks in which there is no past yet and for what no past excuses. Only what a curation
measures is bounded.
"""

from __future__ import annotations

from tasks.config import Curation, Gate
from tasks.report.comparison import OF_ONE_CLASS
from tasks.report.metrics import snake

Z = 6.0

COMPARISONS = {
    "class_shift": 0.5,
    "class_jump": 1.0,
    "new_classes": 0.1,
    "embedding_drift": 0.5,
    "label_shift": 0.2,
    "label_swap": 0.5,
}
"""What the night is held to against earlier ones, and the most that is let pass while there is no history."""


def standard(curation: Curation) -> tuple[Gate, ...]:
    """The set for a curation, by the stages it has."""
    gates = [
        Gate(metric="rows", z_within=Z),
        Gate(metric="share_rejected", at_most=0.5),
        Gate(metric="share_rejected", z_at_most=Z),
        Gate(metric="share_unlabelled", z_at_most=Z),
        Gate(metric="share_repeated", at_most=0.5),
        Gate(metric="share_leaked", at_most=0.01),
    ]
    one_class = curation.task == "single_label"
    for metric, most in COMPARISONS.items():
        if metric in OF_ONE_CLASS and not one_class:
            continue
        gates += [Gate(metric=metric, at_most=most), Gate(metric=metric, z_at_most=Z)]
    if curation.teach:
        if one_class:
            gates.append(Gate(metric="share_not_summing_to_one", at_most=0.0))
        names = [name for teacher in curation.teach.teachers for name in teacher.names()]
        for name in map(snake, [*names, curation.teach.ensemble.kind]):
            if curation.task == "regression":
                gates.append(Gate(metric=f"teacher_{name}_mae_given", z_at_most=Z))
                continue
            measure = "accuracy" if one_class else "f1_macro"
            gates.append(Gate(metric=f"teacher_{name}_{measure}_given", z_at_least=-Z))
            gates.append(Gate(metric=f"teacher_{name}_ece_given", z_at_most=Z))
    if curation.detect:
        gates.append(Gate(metric="share_flagged", z_at_most=Z))
    if curation.relabel:
        gates.append(Gate(metric="share_changed", z_at_most=Z))
        if one_class:
            gates.append(Gate(metric="curation_loss", at_most=0.02))
    if curation.trial:
        gates.append(Gate(metric="distilled_margin_low", above=0.0, keeps="distilled"))
    return tuple(gates)


def expanded(curation: Curation) -> tuple[Gate, ...]:
    """The curation's gates with the standard ones in their place; its own gates on a metric replace the
    standard ones on that metric."""
    own = {gate.metric for gate in curation.gates if gate.kind == "bound"}
    found: list[Gate] = []
    for gate in curation.gates:
        preset = standard(curation) if gate.kind == "standard" else (gate,)
        found += [g for g in preset if gate.kind == "bound" or g.metric not in own]
    return tuple(found)
