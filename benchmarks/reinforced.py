"""Fashion-MNIST with 10% label errors: the same student on given, on curated, and on reinforced rows.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023, at this size. The chain curates the 60,000 rows
of `curations/fashion_mnist.yaml` as one night and stores draws of each row; then 10% of the rows as if
there were no others, teachers included. The student is the three-block ConvNet of the condensation papers
with a linear head, the same steps, batches of the same size and the same first weights for every kind of
target: given labels; curated ones, as the report takes them; and one stored draw a row with the teachers'
opinion on it, redrawn from its numbers. It is judged by the true labels of the 10,000 test pictures, which
nobody saw, and its calibration by the expected calibration error over bins of equal mass.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from rich.progress import Progress

from benchmarks._chain import CURATIONS, run_chain
from benchmarks.figures import Figure
from tasks.config import Curation, load
from tasks.data import Examples, SoftLabels
from tasks.reinforce.redrawing import index_in, redrawn
from tasks.report.calibration import expected_calibration_error
from tasks.seeds import seed_of, uniform

NIGHT, SEEDS = "2026-01-01", 3
REINFORCE = {"kind": "reinforce", "draws": 8, "scale": [0.5, 1.0], "flip": True, "operations": 1}
REINFORCE |= {"mixup": 0.25, "cutmix": 0.25}
FILTERS, BATCH, RATE, DECAY = 16, 128, 1e-3, 1e-2
STEPS = {"all rows": 2000, "10% of the rows": 1000}


@dataclass(frozen=True)
class Lesson:
    """What a student learns from: pictures (m, 28, 28, 1) uint8, targets (m, 10) float32, and the picture of
    each row and turn, (n, turns): a step takes rows, and of each the picture of a random turn."""

    images: np.ndarray
    targets: np.ndarray
    turns: np.ndarray


def run(progress: Progress) -> list[Figure]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [figure for rows in STEPS for figure in compared(rows, progress)]
    finally:
        torch.set_num_threads(threads)


def compared(rows: str, progress: Progress) -> list[Figure]:
    """Accuracy and calibration error of each arm, means over seeds, and what reinforcement adds."""
    with tempfile.TemporaryDirectory() as folder:
        path = curation_of(rows, Path(folder))
        run_chain(path, [NIGHT], Path(folder) / "store", progress)
        lessons = arms(load(path, store=str(Path(folder) / "store")))
    images, truth = pictures(data() / "test.parquet")
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in lessons}
    for seed in progress.track(range(SEEDS), description=f"students of {rows}"):
        for arm, lesson in lessons.items():
            probs = student(lesson, images, STEPS[rows], seed)
            right = probs.argmax(axis=1) == truth
            error = expected_calibration_error(probs.max(axis=1), right)
            found[arm].append((float(right.mean()), error))
    accuracy = {arm: statistics.mean(a for a, _ in runs) for arm, runs in found.items()}
    error = {arm: statistics.mean(e for _, e in runs) for arm, runs in found.items()}
    gain = round(100 * (accuracy["reinforced"] - accuracy["curated"]), 6)
    return [
        *(Figure(f"{rows}: accuracy, {arm}", value) for arm, value in accuracy.items()),
        *(Figure(f"{rows}: calibration error, {arm}", value) for arm, value in error.items()),
        Figure(f"{rows}: reinforced above curated", gain, "points", "≥ 1"),
        Figure(f"{rows}: calibration error saved", 1 - error["reinforced"] / error["curated"], "", "≥ 0.3"),
    ]


def data() -> Path:
    return Path(os.environ.get("WINNOW_DATA", CURATIONS / "../../shared/data")).resolve() / "fashion_mnist"


def curation_of(rows: str, folder: Path) -> Path:
    """The example curation as one night, without what is not measured; its rows, or a tenth of them."""
    known: dict[str, Any] = yaml.safe_load((CURATIONS / "fashion_mnist.yaml").read_text(encoding="utf-8"))
    source = data() / "train.parquet"
    if rows != "all rows":
        table = pq.read_table(source)
        chosen = uniform(np.arange(len(table), dtype=np.uint64), seed_of("tenth")) < 0.1
        source = folder / "tenth.parquet"
        pq.write_table(table.filter(chosen), source)
    known["source"] |= {"path": str(source), "days": 1, "start": NIGHT}
    known |= {"ingest": {"filters": known["ingest"]["filters"]}, "reinforce": REINFORCE}
    known |= {"report": {"seeds": 1, "steps": 1}, "runner": {"kind": "threads", "workers": 1}}
    for section in ("distill", "gates"):
        known.pop(section)
    path = folder / "fashion_mnist.yaml"
    path.write_text(yaml.safe_dump(known), encoding="utf-8")
    return path


def arms(curation: Curation) -> dict[str, Lesson]:
    """What each kind of student learns from."""
    from storage.store import Store
    from tasks.plan import Planner
    from tasks.stages import STAGES
    from tasks.stages.reading import examples
    from tasks.stages.report import lessons

    planner = Planner(curation, Store(curation.store, curation.dataset))
    job = planner.job(planner.stage(STAGES["report"], NIGHT))
    assert job is not None
    rows = examples(job, [job.own("rows")], ["images"])
    assert rows.images is not None
    found = {}
    for arm in ("given", "curated"):
        targets, usable = lessons(job, arm, rows.labels)
        found[arm] = Lesson(rows.images, targets, np.flatnonzero(usable)[:, None])
    return found | {"reinforced": views(curation, rows, job.store.read([job.inputs["reinforcements"][0]]))}


def views(curation: Curation, rows: Examples, draws: Any) -> Lesson:
    """Every stored draw, redrawn, with the teachers' opinion on it."""
    assert curation.reinforce is not None
    images, places = redrawn(curation.reinforce, rows, draws)
    assert len(places) == len(draws)
    n = len(draws)
    soft = SoftLabels.from_arrow(
        draws.append_column("given_weight", [np.zeros(n, np.int16)]), np.full(n, -1, np.int32), 10
    )
    owners = index_in(draws["id"], rows.ids)
    turns = np.flatnonzero(np.diff(owners, prepend=-1))[:, None] + np.arange(curation.reinforce.draws)
    targets = soft.pred_probs()
    return Lesson(images, targets / targets.sum(axis=1, keepdims=True), turns)


def student(lesson: Lesson, test: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Train one for `steps` with a one-cycle rate; its probabilities on the test pictures, (t, 10)."""
    from tasks.distill.convnet import ConvNet

    generator = torch.Generator().manual_seed(seed)
    random = np.random.Generator(np.random.PCG64(seed))
    body = ConvNet(1, 28, 28, FILTERS, generator)
    head = torch.nn.Linear(body.features, 10, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-(body.features**-0.5), body.features**-0.5, generator=generator)
    network = torch.nn.Sequential(body, head)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * RATE, total_steps=steps)
    n, turns = lesson.turns.shape
    for _ in range(steps):
        chosen = lesson.turns[random.integers(0, n, BATCH), random.integers(0, turns, BATCH)]
        log_probs = network(inputs(lesson.images[chosen])).log_softmax(dim=1)
        loss = -(torch.from_numpy(lesson.targets[chosen]) * log_probs).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        parts = [network(inputs(test[at : at + 1000])).softmax(dim=1) for at in range(0, len(test), 1000)]
    return np.asarray(torch.cat(parts).numpy())


def inputs(images: np.ndarray) -> torch.Tensor:
    """Pictures (b, 28, 28, 1) uint8 as the network reads them."""
    return torch.from_numpy((images.transpose(0, 3, 1, 2).astype(np.float32) - 72.94) / 90.02)


def pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28, 1) uint8 and their labels."""
    table = pq.read_table(path)
    pixels = np.frombuffer(b"".join(table["image"].to_pylist()), np.uint8)
    return pixels.reshape(len(table), 28, 28, 1), table["label"].to_numpy()
