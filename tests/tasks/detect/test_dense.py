"""Dense blocks of stored soft labels: pytest tests/tasks/detect/test_dense.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data import SoftLabels
from tasks.detect import Window, dense
from tasks.detect import blocks as dealt
from tests.tasks.detect.rows import labelled


def stored(seed: int, n: int, k: int, top_k: int, unlabelled: bool = True) -> SoftLabels:
    rng = np.random.default_rng(seed)
    ids = np.array([f"row{i}" for i in range(n)], dtype=object)
    labels = rng.integers(-1 if unlabelled else 0, k, n)
    pred_probs = rng.dirichlet(np.full(k, rng.choice([0.05, 0.5, 5.0])), n)
    return SoftLabels.from_pred_probs(ids, labels, pred_probs, top_k)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30), st.integers(1, 12), st.integers(1, 13))
def test_the_bits_are_those_of_the_soft_labels(seed: int, n: int, k: int, top_k: int) -> None:
    soft = stored(seed, n, k, top_k)
    assert dense.pred_probs(soft).tobytes() == soft.pred_probs().tobytes()
    known = soft.take(soft.labels >= 0)
    rows = np.arange(len(known))
    assert np.array_equal(dense.given_probs(known), known.pred_probs()[rows, known.labels])


def test_a_windows_blocks_are_its_labelled_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealt, "NUMBERS", 35)
    soft = stored(1, 50, 5, 3)
    window = Window.of(labelled(soft.take(np.arange(20))), labelled(soft.take(np.arange(20, 50))))
    blocks, known = list(dense.blocks(window)), soft.take(soft.labels >= 0)
    assert max(len(block.labels) for block in blocks) == 7
    assert np.concatenate([block.labels for block in blocks]).tolist() == known.labels.tolist()
    assert np.array_equal(np.concatenate([block.read() for block in blocks]), known.pred_probs())
    given = np.concatenate([block.given() for block in blocks])
    assert np.array_equal(given, known.pred_probs()[np.arange(len(known)), known.labels])


def test_places_count_labelled_rows_across_shards() -> None:
    soft = stored(2, 40, 4, 4)
    window = Window.of(labelled(soft.take(np.arange(15))), labelled(soft.take(np.arange(15, 40))))
    known = soft.ids[soft.labels >= 0]
    places = np.array([0, 3, len(known) - 1])
    assert dense.ids_at(window, places).tolist() == known[places].tolist()
    assert len(dense.ids_at(window, places[:0])) == 0
