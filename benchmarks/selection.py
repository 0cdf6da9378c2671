"""k-center and facility location of 50,000 x 384 against the public packages for them; 1,000,000 x 256 to 1%.

Rows are generated: clusters of very different sizes and spreads on a plane of 48 dimensions, with noise in
all, of unit length. Every call is a process of its own with one thread, so that processor seconds are
compared; a time is the median of 5, in turn. Peers live in an environment that the benchmark makes (see
`_peers`): apricot and submodlib for facility location, fpsample and scikit-activeml for k-center. They get
what they take fastest: the similarities as a matrix, which they would compute more slowly themselves, and
its product is counted, as winnow's is.

- k-center: all 50,000 rows, to 1%. All start at the same row; so the radii must be equal.
- Facility location by class, as a distiller runs: ten classes of 5,000 rows, each to 1%.
- Facility location of all 50,000 at once, to 1%: the packages' matrices (20 GB and 10 GB) are more than
  most machines have. apricot's own way out, the 100 nearest neighbours of each row, is run once; winnow is
  run with cells, and its value is held to the greater of apricot's and of winnow's exact greedy.
- 1,000,000 x 256 to 10,000 rows: minutes of one thread, and the peak memory of its process, rows included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks._peers import HERE, call, environment
from benchmarks.figures import Figure

REPEATS, CLASSES = 5, 10
PEERS = ("apricot-select==0.6.1", "submodlib-py==0.0.3", "fpsample==1.0.2", "scikit-activeml==1.0.1", "numpy")


def embeddings(n: int, d: int, seed: int, clusters: int = 1000) -> np.ndarray:
    """(n, d) float32 of unit length."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(48, d)).astype(np.float32)
    share = rng.dirichlet(np.full(clusters, 0.5))
    spread = rng.gamma(4, 0.15, clusters).astype(np.float32)
    middle = 1.2 * rng.normal(size=(clusters, 48)).astype(np.float32)
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 50_000):
        own = rng.choice(clusters, min(50_000, n - start), p=share)
        flat = middle[own] + spread[own, None] * rng.standard_normal((len(own), 48), dtype=np.float32)
        block = flat @ plane + 0.5 * rng.standard_normal((len(own), d), dtype=np.float32)
        rows[start : start + len(own)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def run(progress: Progress) -> list[Figure]:
    python = environment("selection-peers", PEERS)
    steps = progress.add_task("selections", total=REPEATS * 2 + 6)
    with tempfile.TemporaryDirectory() as folder:

        def kept(name: str, rows: np.ndarray) -> str:
            path = str(Path(folder) / f"{name}.npy")
            np.save(path, rows)
            return path

        def step() -> None:
            progress.advance(steps)

        rows = embeddings(50_000, 384, seed=0)
        figures = covering(rows, kept("rows", rows), python, step)
        figures += by_class(
            [embeddings(5_000, 384, seed=1 + c, clusters=100) for c in range(CLASSES)], kept, python, step
        )
        figures += at_once(rows, str(Path(folder) / "rows.npy"), python, step)
        return figures + many(kept("many", embeddings(1_000_000, 256, seed=20, clusters=5000)), step)


def covering(rows: np.ndarray, path: str, python: Path, step: Any) -> list[Figure]:
    """k-center of 50,000 rows to 500."""
    m = len(rows) // 100
    seconds: dict[str, list[float]] = {}
    radius: dict[str, float] = {}
    for _ in range(REPEATS):
        ours = call(HERE, winnow, path, {"kind": "k_center", "per_class": m})
        first = ours["picks"][0]
        found = {
            "winnow": ours,
            "fpsample": call(python, fpsample, path, m, first),
            "scikit-activeml": call(python, scikit_activeml, path, m, first),
        }
        for name, each in found.items():
            seconds.setdefault(name, []).append(each["seconds"])
            radius[name] = covering_radius(rows, each["picks"])
        step()
    figures = times("k_center, 50,000 x 384 to 500", seconds)
    best = min(value for name, value in radius.items() if name != "winnow")
    return [
        *figures,
        Figure("k_center, radius relative to the peers' smallest", radius["winnow"] / best, "", "≤ 1.000001"),
    ]


def by_class(classes: list[np.ndarray], kept: Any, python: Path, step: Any) -> list[Figure]:
    """Facility location of ten classes of 5,000 rows to 50 each; in each of the repeats two of them."""
    seconds: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}
    same: list[float] = []
    for repeat in range(REPEATS):
        pair = classes[2 * repeat : 2 * repeat + 2]
        paths = [kept(f"class-{2 * repeat + number}", rows) for number, rows in enumerate(pair)]
        m = len(pair[0]) // 100
        found = {
            "winnow": call(HERE, winnow, paths, {"kind": "facility_location", "per_class": m}),
            "apricot": call(python, apricot, paths, m),
            "submodlib": call(python, submodlib, paths, m),
        }
        for name, each in found.items():
            seconds.setdefault(name, []).append(each["seconds"] * len(classes) / len(pair))
            values.setdefault(name, []).append(
                sum(value(rows, rows[picks]) for rows, picks in zip(pair, each["picks"], strict=True))
            )
        same += [
            float(a == b) for a, b in zip(found["winnow"]["picks"], found["apricot"]["picks"], strict=True)
        ]
        step()
    best = max(sum(each) for name, each in values.items() if name != "winnow")
    return [
        *times("facility_location, ten classes of 5,000 x 384 to 50", seconds),
        Figure(
            "facility_location by class, value relative to the peers'",
            sum(values["winnow"]) / best,
            "",
            "≥ 0.999999",
        ),
        Figure("classes with apricot's very picks, in its order", sum(same), "of 10"),
    ]


def at_once(rows: np.ndarray, path: str, python: Path, step: Any) -> list[Figure]:
    """Facility location of all 50,000 rows to 500."""
    m = len(rows) // 100
    name = "facility_location, 50,000 x 384 to 500"
    exact = call(HERE, winnow, path, {"kind": "facility_location", "per_class": m})
    step()
    sparse = call(python, apricot_neighbours, path, m, 100)
    step()
    fields = {"kind": "facility_location", "per_class": m, "cells": 50, "rounds": 2}
    fast = [call(HERE, winnow, path, fields) for _ in range(REPEATS)]
    step()
    ours = median(each["seconds"] for each in fast)
    values = [value(rows, rows[each["picks"]]) for each in (fast[0], exact, sparse)]
    peer = "apricot, 100 neighbours"
    return [
        Figure(f"{name}, winnow, exact", exact["seconds"], "s"),
        Figure(f"{name}, winnow, 50 cells", ours, "s"),
        Figure(f"{name}, apricot, 100 neighbours", sparse["seconds"], "s", peer=peer),
        Figure(f"{name}, speed of cells", sparse["seconds"] / ours, "", "≥ 5", peer),
        Figure(f"{name}, value of cells", values[0] / values[2], "", "≥ 1", peer),
        Figure(f"{name}, value of cells relative to exact greedy", values[0] / values[1], "", "≥ 0.999"),
        Figure(f"{name}, peak memory of exact greedy", exact["gigabytes"], "GB"),
    ]


def many(path: str, step: Any) -> list[Figure]:
    """1,000,000 x 256 to 10,000 rows."""
    m = 10_000
    figures = []
    asked = np.load(path, mmap_mode="r")[::50]
    every = np.load(path, mmap_mode="r")
    blind = value(asked, every[np.random.default_rng(0).permutation(len(every))[:m]])
    for kind, fields in (("k_center", {}), ("facility_location", {"cells": 1000, "rounds": 1})):
        found = call(HERE, winnow, path, {"kind": kind, "per_class": m, **fields})
        step()
        name = f"{kind}, 1,000,000 x 256 to 10,000"
        figures += [
            Figure(name, found["seconds"] / 60, "minutes", "≤ 10"),
            Figure(f"{name}, peak memory", found["gigabytes"], "GB", "≤ 4"),
        ]
    return [
        *figures,
        Figure(
            "facility_location, value relative to as many random rows",
            value(asked, every[found["picks"]]) / blind,
        ),
    ]


def times(name: str, seconds: dict[str, list[float]]) -> list[Figure]:
    """The medians, and how many times winnow's the fastest peer's is."""
    middle = {who: median(each) for who, each in seconds.items()}
    ours = middle.pop("winnow")
    fastest = min(middle, key=middle.__getitem__)
    return [
        Figure(f"{name}, winnow", ours, "s"),
        *(Figure(f"{name}, {who}", each, "s", peer=who) for who, each in middle.items()),
        Figure(f"{name}, speed", middle[fastest] / ours, "", "≥ 5", fastest),
    ]


def value(rows: np.ndarray, chosen: np.ndarray) -> float:
    """Facility location of (m, d) chosen rows over (n, d): the sum of the greatest cosines."""
    parts = (rows[start : start + 1000] @ chosen.T for start in range(0, len(rows), 1000))
    return float(sum(np.maximum(part.max(axis=1), 0).sum(dtype=np.float64) for part in parts))


def covering_radius(rows: np.ndarray, picks: list[int]) -> float:
    """The greatest distance of a row to its nearest pick."""
    parts = (rows[start : start + 1000] @ rows[picks].T for start in range(0, len(rows), 1000))
    nearest = rows[picks][np.concatenate([part.argmax(axis=1) for part in parts])]
    return float(np.sqrt(np.square(rows - nearest.astype(np.float64)).sum(axis=1).max()))


def winnow(paths: str | list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """One distiller on one class, or several after each other; the picks of each."""
    import resource
    import time

    import numpy as np
    from pydantic import TypeAdapter

    from tasks.data import Examples
    from tasks.distill import AnyDistiller

    def nobody(examples: Examples) -> np.ndarray:
        raise AssertionError("selections ask no teachers")

    method: Any = TypeAdapter(AnyDistiller).validate_python(fields)
    some = [paths] if isinstance(paths, str) else paths
    classes = []
    for path in some:
        rows = np.load(path)
        names = np.arange(len(rows)).astype(str).astype(object)
        keys = np.arange(len(rows), dtype=np.uint64)
        classes.append(Examples(names, keys, np.zeros(len(rows), np.int32), embedding=rows))
    method.distill(classes[0].take(np.arange(300)), nobody, 0, "cpu")
    started = time.process_time()
    picks = [[row for (row,) in method.distill(each, nobody, 0, "cpu").origins] for each in classes]
    return {
        "seconds": time.process_time() - started,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "picks": picks[0] if isinstance(paths, str) else picks,
    }


def fpsample(path: str, m: int, first: int) -> dict[str, Any]:
    import time

    import fpsample
    import numpy as np

    rows = np.load(path)
    fpsample.fps_sampling(rows[:300], 10, start_idx=0)
    started = time.process_time()
    picks = fpsample.fps_sampling(rows, m, start_idx=first).tolist()
    return {"seconds": time.process_time() - started, "picks": picks}


def scikit_activeml(path: str, m: int, first: int) -> dict[str, Any]:
    import time

    import numpy as np
    from skactiveml.pool import CoreSet

    rows = np.load(path)
    labels = np.full(len(rows), np.nan)
    labels[first] = 0
    CoreSet().query(rows[:300], np.append(0, labels[:299]), batch_size=10)
    started = time.process_time()
    picks = CoreSet().query(rows, labels, batch_size=m - 1).tolist()
    return {"seconds": time.process_time() - started, "picks": [first, *picks]}


def apricot(paths: list[str], m: int) -> dict[str, Any]:
    import time

    import numpy as np
    from apricot import FacilityLocationSelection

    classes = [np.load(path) for path in paths]
    FacilityLocationSelection(5, metric="precomputed", optimizer="lazy").fit(np.eye(300))
    started, picks = time.process_time(), []
    for rows in classes:
        exact = rows.astype(np.float64)
        similar = exact @ exact.T
        np.maximum(similar, 0, out=similar)
        fitted = FacilityLocationSelection(m, metric="precomputed", optimizer="lazy").fit(similar)
        picks.append(fitted.ranking.tolist())
    return {"seconds": time.process_time() - started, "picks": picks}


def apricot_neighbours(path: str, m: int, k: int) -> dict[str, Any]:
    """On the similarities of each row with its k nearest alone, which scikit-learn finds."""
    import time

    import numpy as np
    from apricot import FacilityLocationSelection
    from sklearn.neighbors import NearestNeighbors

    rows = np.load(path)
    started = time.process_time()
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    similar = found.kneighbors_graph(rows, mode="distance").astype(np.float64)
    similar.data = np.maximum(1 - similar.data**2 / 2, 0)
    fitted = FacilityLocationSelection(m, metric="precomputed", optimizer="lazy").fit(similar)
    return {"seconds": time.process_time() - started, "picks": fitted.ranking.tolist()}


def submodlib(paths: list[str], m: int) -> dict[str, Any]:
    import time

    import numpy as np
    from submodlib import FacilityLocationFunction

    classes = [np.load(path) for path in paths]
    started, picks = time.process_time(), []
    for rows in classes:
        similar = np.maximum(rows @ rows.T, 0)
        function = FacilityLocationFunction(n=len(rows), mode="dense", sijs=similar, separate_rep=False)
        found = function.maximize(
            budget=m,
            optimizer="LazyGreedy",
            stopIfZeroGain=False,
            stopIfNegativeGain=False,
            show_progress=False,
        )
        picks.append([row for row, _ in found])
    return {"seconds": time.process_time() - started, "picks": picks}
