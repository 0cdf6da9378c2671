"""How fast and in how much memory confident_learning flags and scores, beside cleanlab on the same cores.

In memory: `label_issues.judge` beside `filter.find_label_issues` and `rank.get_label_quality_scores`, on
float32 softmax probabilities with a fifth of the labels moved, in turn, medians of five. From Parquet:
the detector over files of the soft_labels layout, read a row group at a time; peak memory is that of a
process which does nothing else. Growth with rows and classes is drawn in docs/images/detection_speed.svg.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from benchmarks.figures import Figure
from tasks.data import Labelled, SoftLabels
from tasks.detect import Window
from tasks.detect.confident_learning import ConfidentLearning
from tasks.detect.label_issues import judge

REPOSITORY = Path(__file__).resolve().parent.parent
PICTURE = REPOSITORY / "docs" / "images" / "detection_speed.svg"
ROUNDS = 5
CORES = 2
BATCH_ROWS = 1 << 13
IN_MEMORY = ((1_000_000, 100), (50_000, 1_000))
ON_DISK = ((10_000_000, 10), (1_000_000, 1_000))
ROWS, CLASSES = (31_250, 62_500, 125_000, 250_000, 500_000, 1_000_000), (10, 30, 100, 300, 1_000)
BESIDE = 50_000
"""Rows where classes grow; rows grow at 100 classes."""


def run(progress: Progress) -> list[Figure]:
    import cleanlab

    peer = f"cleanlab {cleanlab.__version__}, n_jobs {CORES}"
    figures = []
    for n, k in IN_MEMORY:
        figures += beside(n, k, peer, progress)
    for n, k in ON_DISK:
        figures += from_disk(n, k, progress)
    figures += growth(progress)
    return figures


def rows_of(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) int64, a fifth of them moved, and softmax probabilities (n, k) float32 of a teacher that
    is right on most rows."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    labels = np.where(rng.random(n) < 0.2, (truth + rng.integers(1, k, n)) % k, truth)
    pred_probs = np.empty((n, k), dtype=np.float32)
    for start in range(0, n, BATCH_ROWS):
        part = slice(start, min(start + BATCH_ROWS, n))
        logits = 2 * rng.standard_normal((part.stop - start, k), dtype=np.float32)
        logits[np.arange(len(logits)), truth[part]] += 4 + np.log(k)
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        pred_probs[part] = logits / logits.sum(axis=1, keepdims=True)
    return labels, pred_probs


def cleanlabs(labels: np.ndarray, pred_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = find_label_issues(labels, pred_probs, n_jobs=CORES)
    return flags, get_label_quality_scores(labels, pred_probs)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(labels: np.ndarray, pred_probs: np.ndarray, rounds: int) -> tuple[float, float]:
    """Median seconds of winnow and of cleanlab."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: judge(labels, pred_probs)))
        theirs.append(timed(lambda: cleanlabs(labels, pred_probs)))
    return median(ours), median(theirs)


def beside(n: int, k: int, peer: str, progress: Progress) -> list[Figure]:
    """Arrays in memory."""
    task = progress.add_task(f"{n:,} x {k:,} in memory", total=None)
    labels, pred_probs = rows_of(n, k)
    flags, scores, _ = judge(labels, pred_probs)
    their_flags, their_scores = cleanlabs(labels, pred_probs)
    ours, theirs = in_turn(labels, pred_probs, ROUNDS)
    progress.remove_task(task)
    name = f"{n:,} x {k:,}"
    return [
        Figure(f"{name}: times as fast as cleanlab", theirs / ours, "", "≥ 10", peer),
        Figure(f"{name}: winnow", ours, "seconds"),
        Figure(f"{name}: cleanlab", theirs, "seconds", None, peer),
        Figure(f"{name}: rows flagged", int(flags.sum()), "rows"),
        Figure(f"{name}: rows flagged otherwise", int((flags != their_flags).sum()), "rows", "= 0", peer),
        Figure(
            f"{name}: largest difference of a score",
            float(np.abs(scores - their_scores).max()),
            "",
            "≤ 0.000001",
        ),
    ]


def from_disk(n: int, k: int, progress: Progress) -> list[Figure]:
    """Files of stored soft labels, by a process of its own."""
    task = progress.add_task(f"{n:,} x {k:,} from Parquet", total=None)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n, k)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.detection_speed", folder, str(k)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
    progress.remove_task(task)
    if done.returncode:
        raise RuntimeError(f"judging {n:,} x {k:,} from Parquet failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    name = f"{n:,} x {k:,} from Parquet"
    return [
        Figure(f"{name}: peak memory", found["peak"] / 1e6, "MB", "≤ 600"),
        Figure(f"{name}: fit", found["fit"], "seconds"),
        Figure(f"{name}: flags and scores of every row", found["apply"], "seconds"),
        Figure(f"{name}: rows flagged", found["flagged"], "rows"),
    ]


def write(folder: Path, n: int, k: int) -> None:
    """`rows.parquet` with the given labels and `soft_labels.parquet`, row for row."""
    with Files(folder) as files:
        for number, start in enumerate(range(0, n, BATCH_ROWS)):
            labels, pred_probs = rows_of(min(BATCH_ROWS, n - start), k, seed=number)
            ids = np.array([f"row{place:08d}" for place in range(start, start + len(labels))], dtype=object)
            soft = SoftLabels.from_pred_probs(ids, labels, pred_probs, top_k=10)
            files.add(soft)


class Files:
    """The two files, while they are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: list[pq.ParquetWriter] = []

    def __enter__(self) -> Files:
        return self

    def add(self, soft: SoftLabels) -> None:
        rows = pa.table({"id": pa.array(soft.ids, pa.string()), "label": pa.array(soft.labels, pa.int32())})
        tables = (rows, soft.to_arrow("mean", np.full(len(soft), -1, dtype=np.int16)))
        if not self.writers:
            names = ("rows.parquet", "soft_labels.parquet")
            self.writers = [
                pq.ParquetWriter(self.folder / name, table.schema, compression="zstd")
                for name, table in zip(names, tables, strict=True)
            ]
        for writer, table in zip(self.writers, tables, strict=True):
            writer.write_table(table)

    def __exit__(self, *_: object) -> None:
        for writer in self.writers:
            writer.close()


def read(folder: Path, k: int) -> Iterator[Labelled]:
    """The rows, a row group of both files at a time, anew each time: a reader of whole files reads ahead."""
    given, said = (pq.ParquetFile(folder / name) for name in ("rows.parquet", "soft_labels.parquet"))
    for group in range(said.num_row_groups):
        labels = given.read_row_group(group, ["label"], use_threads=False)["label"].to_numpy()
        n = len(labels)
        soft = SoftLabels.from_arrow(said.read_row_group(group, use_threads=False), labels, k)
        yield Labelled(soft.ids, np.arange(n, dtype=np.uint64), np.ones(n, dtype=bool), soft)


def alone(folder: Path, k: int) -> None:
    """Judge the files, and print seconds, rows flagged and the peak memory in bytes."""
    none = Labelled.concat([next(read(folder, k))]).take(np.arange(0))
    window, detector = Window(k, lambda: read(folder, k), lambda: none), ConfidentLearning()
    started = time.perf_counter()
    state = detector.fit(window)
    fitted = time.perf_counter()
    flagged = sum(int(detector.apply(shard, state, window).is_issue.sum()) for shard in window)
    ended = time.perf_counter()
    found = {"fit": fitted - started, "apply": ended - fitted, "flagged": flagged, "peak": peak_memory()}
    print(json.dumps(found))


def peak_memory() -> int:
    """Bytes, of this process since it began. What getrusage says is kept from the process that started
    this one, so Linux's own count goes first."""
    import resource

    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    unit = 1 if sys.platform == "darwin" else 1024
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def growth(progress: Progress) -> list[Figure]:
    """Time against rows, at 100 classes, and against classes, at 50,000 rows; one round each."""
    by_rows, by_classes = [], []
    for n in progress.track(ROWS, description="growth with rows"):
        by_rows.append((n, *in_turn(*rows_of(n, 100), 1)))
    for k in progress.track(CLASSES, description="growth with classes"):
        by_classes.append((k, *in_turn(*rows_of(BESIDE, k), 1)))
    PICTURE.write_text(picture(by_rows, by_classes), encoding="utf-8")
    return [
        Figure("seconds grow as rows to the power of", exponent(by_rows)),
        Figure("seconds grow as classes to the power of", exponent(by_classes)),
    ]


def exponent(points: list[tuple[int, float, float]]) -> float:
    """The slope of winnow's seconds on logarithmic axes."""
    sizes, ours = np.log([point[0] for point in points]), np.log([point[1] for point in points])
    return float(np.polyfit(sizes, ours, 1)[0])


def picture(by_rows: list[tuple[int, float, float]], by_classes: list[tuple[int, float, float]]) -> str:
    """Two panels with logarithmic axes, as SVG."""
    seconds = [value for point in by_rows + by_classes for value in point[1:]]
    low, high = np.floor(np.log10(min(seconds))), np.ceil(np.log10(max(seconds)))
    panels = (
        panel(by_rows, "rows, of 100 classes", 60, low, high),
        panel(by_classes, f"classes, of {BESIDE:,} rows", 400, low, high),
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300" role="img" '
        'font-family="sans-serif" font-size="12" fill="#333">\n'
        "<title>Seconds to flag and score rows in memory: winnow and cleanlab, logarithmic axes</title>\n"
        '<rect width="720" height="300" fill="#fff"/>\n' + "".join(panels) + "</svg>\n"
    )


def panel(points: list[tuple[int, float, float]], title: str, left: int, low: float, high: float) -> str:
    """One panel, 280 by 200 from (left, 40); seconds from 10**low to 10**high."""
    first, last = np.log10(points[0][0]), np.log10(points[-1][0])

    def x(size: float) -> float:
        return float(left + 280 * (np.log10(size) - first) / (last - first))

    def y(value: float) -> float:
        return float(240 - 200 * (np.log10(value) - low) / (high - low))

    drawn = [f'<text x="{left + 140}" y="284" text-anchor="middle">{title}</text>\n']
    for power in range(int(low), int(high) + 1):
        height = y(10.0**power)
        drawn.append(f'<path d="M{left} {height:.1f}h280" stroke="#ddd"/>\n')
        drawn.append(
            f'<text x="{left - 6}" y="{height + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>\n'
        )
    for size, *_ in points:
        drawn.append(
            f'<text x="{x(size):.1f}" y="258" text-anchor="middle" font-size="10">{short(size)}</text>\n'
        )
    for column, (name, colour) in enumerate((("winnow", "#0b6e4f"), ("cleanlab", "#b3541e")), 1):
        path = " ".join(f"{x(point[0]):.1f},{y(point[column]):.1f}" for point in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>\n')
        at = f'x="{x(points[-1][0]):.1f}" y="{y(points[-1][column]) - 8:.1f}"'
        drawn.append(f'<text {at} text-anchor="end" fill="{colour}">{name}</text>\n')
    return "".join(drawn)


def short(size: int) -> str:
    """1_000_000 -> 1M, 62_500 -> 62k."""
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k" if size >= 1000 else str(size)


if __name__ == "__main__":
    alone(Path(sys.argv[1]), int(sys.argv[2]))
