"""Exact nearest neighbours of 60,000 x 384 rows against the libraries for it, and an approximate index.

Rows are the encoder `convnet_embedding` on Fashion-MNIST, of unit length; the ten nearest others of every
row. One thread for everybody, hence processor seconds, which hardly feel what else a machine does. A fifth
of the rows is asked for at a time, by each in turn, and a time is five times the median fifth. Winnow
reads the rows as a stream of runs, as a detector reads its window; the libraries hold them. FAISS is no
dependency of winnow: where it is not installed, a figure says so and is missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from statistics import median

import numpy as np
from rich.progress import Progress

from benchmarks._embeddings import fashion
from benchmarks.figures import Figure
from tasks.detect.nearest import Points, nearest
from tasks.teach.rowwise import one_thread

ROWS, DIMENSION, K, PARTS, RUN_ROWS = 60_000, 384, 10, 5, 10_000
Search = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""All rows (n, d), the places of those asked for (q,) -> the places of their K nearest others (q, K)."""


def run(progress: Progress) -> list[Figure]:
    embedding = fashion(ROWS, DIMENSION).embedding
    assert embedding is not None
    rows = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    here = find_spec("faiss") is not None
    searches: dict[str, Search] = {"winnow": winnow, "scikit-learn": scikit_learn, "torch": torch_blocks}
    if here:
        searches["faiss IndexFlatIP"] = faiss_flat
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    found: dict[str, list[np.ndarray]] = {name: [] for name in searches}
    with one_thread():
        for asked in progress.track(np.array_split(np.arange(ROWS), PARTS), description="fifths in turn"):
            for name, search in searches.items():
                started = time.process_time()
                found[name].append(search(rows, asked))
                seconds[name].append(time.process_time() - started)
        whole = {name: PARTS * median(each) for name, each in seconds.items()}
        answers = {name: np.concatenate(each) for name, each in found.items()}
        ours = whole.pop("winnow")
        fastest = min(whole, key=whole.__getitem__)
        figures = [
            Figure("winnow, exact", ours, "s"),
            *(Figure(f"{name}, exact", each, "s", peer=name) for name, each in whole.items()),
            Figure("winnow relative to the fastest library", ours / whole[fastest], "", "≤ 1.3", fastest),
            Figure("neighbours shared", shared(answers["winnow"], answers[fastest]), "", "≥ 0.9999", fastest),
            Figure("libraries not installed (pip install faiss-cpu)", 0 if here else 1, "of 3", "= 0"),
        ]
        return figures + (approximate(rows, answers["winnow"], ours) if here else [])


def approximate(rows: np.ndarray, exact: np.ndarray, ours: float) -> list[Figure]:
    """A graph index (HNSW) over the rows, built once and asked for all of them."""
    faiss = import_module("faiss")
    peer = "faiss IndexHNSWFlat, M 32, efSearch 64"
    started = time.process_time()
    index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    built = time.process_time() - started
    index.hnsw.efSearch = 64
    found = without_itself(index.search(rows, K + 1)[1], np.arange(len(rows)))
    asked = time.process_time() - started - built
    return [
        Figure("approximate index, built", built, "s", peer=peer),
        Figure("approximate index, asked", asked, "s", peer=peer),
        Figure("winnow relative to building and asking it", ours / (built + asked), peer=peer),
        Figure("neighbours that the approximate index finds", shared(exact, found), peer=peer),
    ]


def winnow(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    points = Points(rows, np.arange(len(rows), dtype=np.uint64), np.arange(len(rows), dtype=np.int32))
    runs = (points.take(slice(start, start + RUN_ROWS)) for start in range(0, len(rows), RUN_ROWS))
    return nearest(points.take(asked), runs, K)[1]


def scikit_learn(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Euclidean on rows of unit length: the same order as cosine, and its fastest kernel."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=K + 1, algorithm="brute", metric="euclidean").fit(rows)
    return without_itself(search.kneighbors(rows[asked], return_distance=False), asked)


def torch_blocks(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """A matrix product and topk, 1,024 rows at a time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    held, queries = torch.from_numpy(rows), torch.from_numpy(rows[asked])
    parts = (queries[start : start + 1024] for start in range(0, len(queries), 1024))
    found = [(part @ held.T).topk(K + 1).indices.numpy() for part in parts]
    torch.set_num_threads(before)
    return without_itself(np.concatenate(found), asked)


def faiss_flat(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    faiss = import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return without_itself(index.search(rows[asked], K + 1)[1], asked)


def without_itself(found: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(q, K + 1) places, the row's own among them or not, -> (q, K)."""
    order = np.argsort(found == asked[:, None], axis=1, kind="stable")[:, :K]
    return np.take_along_axis(found, order, axis=1)


def shared(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The share of our neighbours that are among theirs."""
    return float((ours[:, :, None] == theirs[:, None, :]).any(axis=2).mean())
