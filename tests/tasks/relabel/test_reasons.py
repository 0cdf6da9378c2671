"""Sentences built by columns: pytest tests/tasks/relabel/test_reasons.py"""

from __future__ import annotations

import numpy as np
import pytest

from tasks.relabel.reasons import decimals, opinions


def test_each_kind_of_row_gets_its_sentence() -> None:
    text = opinions(
        given=np.array([0, 1, -1]),
        p_given=np.array([0.004, 0.5, 0.0]),
        other=np.array([1, 0, 0]),
        p_other=np.array([0.981, 0.4996, 1.0]),
        doubted=np.array([True, False, False]),
        ending=np.array(["", "!", "?"]),
        class_names=("o'clock {}", "coat"),
    )
    assert text.tolist() == [
        "teachers give 'coat' 0.981 and the given 'o'clock {}' 0.004",
        "teachers give the given 'coat' 0.500!",
        "no label was given and teachers give 'o'clock {}' 1.000?",
    ]


def test_no_rows_give_no_sentences() -> None:
    none = np.zeros(0, int)
    assert len(opinions(none, none, none, none, none.astype(bool), none.astype(str), ("a",))) == 0


@pytest.mark.parametrize("p", [0.0, 0.0004, 0.01, 0.123, 0.9996, 1.0])
def test_probabilities_have_three_decimals(p: float) -> None:
    assert decimals(np.array([p], np.float32)).to_list() == [f"{p:.3f}"]
