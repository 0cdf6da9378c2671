"""Fashion-MNIST as an encoder of winnow sees it: real rows for benchmarks of what works on embeddings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks._chain import CURATIONS
from tasks import seeds
from tasks.data import Examples
from tasks.ingest.convnet_embedding import ConvnetEmbedding


def fashion(n: int, dimension: int) -> Examples:
    """The first n pictures of the training file, embedded without having learnt anything, and their labels.
    Each has a content of its own. Exits where the file is not there."""
    import pyarrow.parquet as pq

    folder = Path(os.environ.get("WINNOW_DATA", CURATIONS / "../../shared/data"))
    path = folder / "fashion_mnist" / "train.parquet"
    if not path.exists():
        raise SystemExit(
            f"{path} is not there; set WINNOW_DATA to the folder that holds fashion_mnist/train.parquet, "
            "60,000 rows of image and label"
        )
    table = pq.read_table(path).slice(0, n)
    images = np.frombuffer(b"".join(table["image"].to_pylist()), np.uint8).reshape(n, 28, 28, 1)
    rows = Examples(
        table["id"].to_numpy(),
        seeds.mix(np.arange(n, dtype=np.uint64), 0),
        table["label"].to_numpy().astype(np.int32),
        images=images,
    )
    embedding = ConvnetEmbedding(dimension=dimension).encode(rows)
    return Examples(rows.ids, rows.keys, rows.labels, embedding=embedding)
