"""Fashion-MNIST as an encoder of winnow sees it: real rows for benchmarks of what works on embeddings."""

from __future__ import annotations

import numpy as np

from benchmarks._data import fashion_mnist
from tasks import seeds
from tasks.data import Examples
from tasks.ingest.convnet_embedding import ConvnetEmbedding


def fashion(n: int, dimension: int) -> Examples:
    """The first n pictures of the training file, embedded without having learnt anything, and their labels.
    Each has a content of its own. Exits where the file is not there."""
    found = fashion_mnist("train")
    keys = seeds.mix(np.arange(n, dtype=np.uint64), 0)
    rows = Examples(found.ids[:n], keys, found.labels[:n], images=found.images[:n])
    embedding = ConvnetEmbedding(dimension=dimension).encode(rows)
    return Examples(rows.ids, rows.keys, rows.labels, embedding=embedding)
