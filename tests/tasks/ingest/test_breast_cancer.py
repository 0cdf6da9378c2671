"""The table that ships with the curations. Run: python -m pytest tests/tasks/ingest/test_breast_cancer.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer

from tasks.ingest import RAW
from tasks.ingest.csv import Csv

PATH = Path(__file__).parents[3] / "curations" / "data" / "breast_cancer.csv"


def test_it_is_what_scikit_learn_has_dealt_over_two_dates() -> None:
    data = load_breast_cancer()
    features = [name.replace(" ", "_") for name in data.feature_names]
    source = Csv(
        path=str(PATH), partition_column="arrived", id="case", label="diagnosis", features=tuple(features)
    )
    assert source.partitions() == ["2026-01-01", "2026-01-02"]
    days = [pa.Table.from_batches(source.read(p), schema=RAW) for p in source.partitions()]
    assert [len(day) for day in days] == [285, 284]
    assert all(set(day["label"].to_pylist()) == {"malignant", "benign"} for day in days)
    rows = pa.concat_tables(days)
    assert rows["defect"].null_count == 569
    order = np.array([int(case.removeprefix("bc-")) for case in rows["id"].to_pylist()])
    assert sorted(order) == list(range(569))
    assert rows["label"].to_pylist() == data.target_names[data.target[order]].tolist()
    assert np.array_equal(
        np.array(rows["features"].to_pylist(), np.float32), data.data[order].astype(np.float32)
    )
