"""Training from stored views: seconds an epoch beside plain training, and beside asking the teacher.

Fashion-MNIST's pictures (from where WINNOW_DATA says) as PNG files of 32 x 32 in three channels, curated
by a chain that draws 8 views a row. A student of three convolutions then learns for one epoch at a time, in
turn: from the stored views; plainly, from the same pictures decoded in memory once, with labels and
the same augmentation drawn anew by the same code; and from those views with a ResNet-18 asked about each
batch, in evaluation mode and without gradients. All three have one loading process and one thread to
compute with. Epochs are timed from the first batch's being asked for to the last step. The loaders' own speed
is that of one process that does nothing but load.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks._chain import run_chain
from benchmarks._data import fashion_mnist
from benchmarks._resnet import resnet18, student
from benchmarks.figures import Figure
from tasks.config import load
from tasks.ingest.images import encode_png
from tasks.reinforce.crops import Crops
from tasks.seeds import mix, seed_of
from tasks.teach.rowwise import one_thread
from tasks.train import ReleaseLoader

ROWS, SIDE, BATCH, REPEATS, DRAWS = 1024, 32, 128, 5, 8
NIGHT = "2026-01-01"
AUGMENTATION = {"kind": "crops", "draws": DRAWS, "flip": True, "saturation": 0.2}
Epoch = Callable[[], Iterable[tuple[torch.Tensor, torch.Tensor]]]


def run(progress: Progress) -> list[Figure]:
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        curation, images, labels = curated(Path(folder), progress)
        return measured(curation, images, labels, progress)


def curated(folder: Path, progress: Progress) -> tuple[Path, np.ndarray, np.ndarray]:
    """A published release of the pictures; the curation, the pixels (n, 32, 32, 3) and the labels (n,)."""
    from PIL import Image

    ids, small, labels = (values[:ROWS] for values in fashion_mnist("test"))
    images = np.stack(
        [
            np.asarray(Image.fromarray(picture[:, :, 0]).resize((SIDE, SIDE)).convert("RGB"))
            for picture in small
        ]
    )
    labels = labels.astype(np.int64)
    named = {"id": pa.array(ids, pa.string()), "label": labels.astype(str), "image": encode_png(images)}
    pq.write_table(pa.table(named), folder / "pictures.parquet")
    curation = folder / "pictures.yaml"
    curation.write_text(
        yaml.safe_dump(
            {
                "dataset": "pictures",
                "store": "./store",
                "classes": [str(c) for c in range(10)],
                "source": {
                    "kind": "parquet",
                    "path": "pictures.parquet",
                    "days": 1,
                    "start": NIGHT,
                    **{role: role for role in ("id", "label", "image")},
                    "image_shape": [SIDE, SIDE, 3],
                },
                "teach": {"teachers": [{"kind": "convnet", "min_steps": 100, "max_steps": 100}], "folds": 2},
                "detect": [{"kind": "confident_learning"}],
                "relabel": {"kind": "threshold"},
                "reinforce": AUGMENTATION,
                "report": {"steps": 20, "seeds": 1},
            }
        )
    )
    run_chain(curation, [NIGHT], folder / "store", progress)
    return curation, images, labels


class Plain(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches of pictures in memory, shuffled and augmented anew each epoch, as one writes it by hand."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.method = Crops.model_validate({**AUGMENTATION, "draws": 1})
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.epoch += 1
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        n = len(self.images)
        order = np.random.default_rng(self.epoch).permutation(n)
        for start in range(worker * BATCH, n, workers * BATCH):
            rows = order[start : start + BATCH]
            keys = mix(rows.astype(np.uint64), self.epoch)
            numbers = self.method.sample(keys, self.images.shape[1:], seed_of("plain", self.epoch))
            views = self.method.replay(self.images[rows], numbers).transpose(0, 3, 1, 2)
            yield torch.from_numpy(np.ascontiguousarray(views)), torch.from_numpy(self.labels[rows])


def measured(curation: Path, images: np.ndarray, labels: np.ndarray, progress: Progress) -> list[Figure]:
    torch.manual_seed(0)
    teacher = resnet18(10).eval()
    stored = ReleaseLoader(load(curation), BATCH, num_workers=1)
    kept = np.arange(stored.data.rows)  # as many as the chain kept, so that epochs are equally long
    plain: DataLoader[Any] = DataLoader(
        Plain(images[kept], labels[kept]), batch_size=None, num_workers=1, persistent_workers=True
    )

    def from_store() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return ((batch.inputs, batch.targets) for batch in stored)

    def asked() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for views, _ in plain:
            with torch.inference_mode():
                said = torch.softmax(teacher(views.float() / 255), dim=1)
            yield views, said.clone()

    epochs: dict[str, Epoch] = {"plain": lambda: plain, "stored": from_store, "asked": asked}
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    learners = {name: Learner() for name in epochs}
    for name in ("plain", "stored"):
        learners[name].epoch(epochs[name]())  # processes start, caches fill
    task = progress.add_task("epochs", total=REPEATS * len(epochs))
    for _ in range(REPEATS):
        for name, epoch in epochs.items():
            seconds[name].append(learners[name].epoch(epoch()))
            progress.advance(task)
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    in_turn = [s / p for s, p in zip(seconds["stored"], seconds["plain"], strict=True)]
    alone = {
        "stored views": ReleaseLoader(load(curation), BATCH),
        "plain pictures": DataLoader(Plain(images[kept], labels[kept]), batch_size=None),
    }
    speeds = {name: speed(loader, stored.data.rows) for name, loader in alone.items()}
    return [
        Figure("rows an epoch", stored.data.rows, "rows"),
        Figure(
            "epoch from stored views / plain epoch", statistics.median(in_turn), "", "≤ 1.05", "plain PyTorch"
        ),
        Figure(
            "epoch that asks the teacher / epoch from stored views",
            middle["asked"] / middle["stored"],
            "",
            "≥ 3",
            "ResNet-18",
        ),
        *(Figure(f"epoch, {name}", value, "s") for name, value in middle.items()),
        *(Figure(f"loading alone, {name}, one process", value, "rows/s") for name, value in speeds.items()),
    ]


class Learner:
    """A student of its own, and its optimizer."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.student: nn.Module = student(10)
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.05, momentum=0.9)

    def epoch(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Trains on all batches; the seconds that took."""
        started = time.perf_counter()
        for views, targets in batches:
            loss = nn.functional.cross_entropy(self.student(views.float() / 255), targets)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return time.perf_counter() - started


def speed(loader: Iterable[Any], rows: int) -> float:
    """Rows a second, the median of several epochs."""
    found = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in loader:
            pass
        found.append(rows / (time.perf_counter() - started))
    return statistics.median(found)
