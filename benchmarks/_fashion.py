"""Fashion-MNIST as one night of the chain: `curations/fashion_mnist.yaml`, or a part of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks._chain import CURATIONS
from benchmarks._data import existing
from tasks.seeds import seed_of, uniform

NIGHT = "2026-01-01"


def one_night(folder: Path, share: float = 1.0, **sections: Any) -> Path:
    """The example curation's file in `folder`, with as much of its rows as if there were no others; without
    gates and distilled rows, and with a report as cheap as can be, unless `sections` say otherwise."""
    known: dict[str, Any] = yaml.safe_load((CURATIONS / "fashion_mnist.yaml").read_text(encoding="utf-8"))
    source = existing("fashion_mnist/train.parquet")
    if share < 1:
        table = pq.read_table(source)
        chosen = uniform(np.arange(len(table), dtype=np.uint64), seed_of("share")) < share
        source = folder / "rows.parquet"
        pq.write_table(table.filter(chosen), source)
    known["source"] |= {"path": str(source), "days": 1, "start": NIGHT}
    known |= {"distill": None, "gates": None, "report": {"seeds": 1, "steps": 1}}
    known |= {"runner": {"kind": "threads", "workers": 1}} | sections
    path = folder / "fashion_mnist.yaml"
    kept = {name: section for name, section in known.items() if section is not None}
    path.write_text(yaml.safe_dump(kept), encoding="utf-8")
    return path
