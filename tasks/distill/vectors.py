"""What selections look at: embeddings, checked once."""

from __future__ import annotations

import numpy as np

from tasks.data import Examples


def embedding_of(examples: Examples, kind: str) -> np.ndarray:
    """The embedding, float32 (n, d). ValueError where there is none, or one is not finite."""
    vectors = examples.embedding
    if vectors is None:
        raise ValueError(f"{kind} needs embeddings and these rows have none; set ingest.encoder")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        row = examples.ids[broken[0]]
        raise ValueError(f"{kind}: the embedding of row {row} is not finite; reject such rows at ingest")
    return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row of (n, d) float scaled to length one; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1))
