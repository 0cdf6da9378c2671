"""What `kind: standard` stands for. Run: python -m pytest tests/tasks/gates/test_standard.py"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from tasks.config import Curation
from tasks.gates import Evidence, Measured, judge
from tasks.gates.standard import expanded, standard

REPOSITORY = Path(__file__).resolve().parents[3]


def curation(**changes: Any) -> Curation:
    whole = {
        "dataset": "digits",
        "store": "store",
        "source": {"kind": "sklearn_digits"},
        "ingest": {"encoder": {"kind": "pixels"}},
        "teach": {"teachers": [{"kind": "linear"}]},
        "detect": [{"kind": "confident_learning"}],
        "relabel": {"kind": "threshold"},
        "gates": "standard",
    }
    return Curation.model_validate({k: v for k, v in (whole | changes).items() if v is not None})


def test_every_teacher_is_bounded_and_so_is_their_mean() -> None:
    metrics = {gate.metric for gate in standard(curation())}
    assert {"teacher_linear_accuracy_given", "teacher_mean_accuracy_given"} <= metrics


def test_a_stage_that_is_left_out_is_not_bounded() -> None:
    metrics = {gate.metric for gate in standard(curation(teach=None, detect=None, relabel=None))}
    assert not {m for m in metrics if re.match("teacher|share_flagged|share_changed|curation_loss", m)}
    assert "share_rejected" in metrics


def test_a_curation_without_gates_gets_none() -> None:
    assert expanded(curation(gates=[])) == ()


def test_one_word_is_short_for_a_list_of_it() -> None:
    assert expanded(curation()) == expanded(curation(gates=[{"kind": "standard"}])) == standard(curation())


def test_a_gate_of_ones_own_replaces_the_standard_ones_of_its_metric() -> None:
    own = {"metric": "class_shift", "at_most": 0.9}
    for gates in ([{"kind": "standard"}, own], [own, {"kind": "standard"}]):
        found = expanded(curation(gates=gates))
        assert [gate.at_most for gate in found if gate.metric == "class_shift"] == [0.9]
        assert len(found) == len(standard(curation())) - 1


def test_the_first_night_passes_with_nothing_to_compare_with() -> None:
    first = {
        "rows": Measured(200, "rows"),
        "share_not_summing_to_one": Measured(0, "share"),
        **{
            name: Measured(0.05, "share")
            for name in ("share_rejected", "share_unlabelled", "share_flagged", "share_changed")
        },
        **{
            f"teacher_{name}_{figure}_given": Measured(0.5, "share")
            for name in ("linear", "mean")
            for figure in ("accuracy", "ece")
        },
    }
    outcomes = judge(standard(curation()), Evidence(first), date(2026, 1, 1))
    assert [o.metric for o in outcomes if not o.passed] == []


def test_each_is_in_the_documentation() -> None:
    text = (REPOSITORY / "docs" / "gates.md").read_text(encoding="utf-8")
    names = {re.sub("teacher_(linear|mean)", "teacher_NAME", gate.metric) for gate in standard(curation())}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
