"""Fashion-MNIST with 10% label errors: the same student on given, on curated, and on reinforced rows.

Faghri et al., "Reinforce Data, Multiply Impact", ICCV 2023, with targets adapted as in Shen, "FerKD", ICCV
2023, at this size. The chain curates the 60,000 rows of `curations/fashion_mnist.yaml` as one night and
stores draws of each row, judged by two networks that learned the decided labels; then 10% of the rows as if
there were no others, teachers included, with more draws of each. The student is the three-block ConvNet of
the condensation papers with a linear head, the same steps, batches of the same size and the same first
weights for every kind of lesson: given labels; curated ones, as the report takes them; and the stored draws
of a release, as `tasks.train.ReleaseLoader` gives them. Beside them, one seed, the curated labels on the
same views as the draws are of, which tells what the views add from what their targets add. Students are
judged by the true labels of the 10,000 test pictures, which nobody saw, and their calibration by the
expected calibration error over bins of equal mass.

More than an hour on two cores. What is finished is kept under build/reinforced, so a run that was killed goes
on; remove the folder after a change of code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from rich.progress import Progress

from benchmarks._chain import REPOSITORY, run_chain
from benchmarks._data import fashion_mnist
from benchmarks._fashion import NIGHT, one_night
from benchmarks._pool import quick_students, side_by_side
from benchmarks.figures import Figure
from tasks.config import Curation, load
from tasks.report.calibration import expected_calibration_error
from tasks.seeds import seed_of
from tasks.stages.hashing import digest_of
from tasks.train import ReleaseLoader

SEEDS = 3
NETWORK = {"kind": "convnet", "flip": True, "epochs": 24, "max_steps": 4500}
TEACH = {
    "teachers": [{**NETWORK, "name": "narrow", "width": 16}, {**NETWORK, "name": "wide", "width": 24}],
    "folds": 4,
    "top_k": 10,
    "relearn": True,
}
# The decided label wherever teachers are not all but sure: it is right more often than networks of this size.
REINFORCE = {"kind": "ferkd", "lower": 0, "upper": 0.95, "smoothing": 0.05, "self_mix": 0}
# A student that sees a row ten times has not learned it by heart and loses by views, even by mild ones; one
# that sees it 85 times gains. Teachers of this size misjudge stronger ones.
DRAWN = {
    "all rows": {"draws": 1, "scale": [1.0, 1.0], "ratio": [1.0, 1.0]},
    "10% of the rows": {"draws": 32, "scale": [0.9, 1.0], "ratio": [0.95, 1.05], "flip": True},
}
FILTERS, BATCH, RATE, DECAY = 32, 128, 1e-3, 1e-2
SHARES = {"all rows": 1.0, "10% of the rows": 0.1}
STEPS = {"all rows": 5000, "10% of the rows": 4000}
GIVEN, CURATED, VIEWS, REINFORCED = "given", "curated", "curated, same views", "reinforced"
ARMS = (GIVEN, CURATED, VIEWS, REINFORCED)
FOLDER = REPOSITORY / "build" / "reinforced"

Batches = Iterator[tuple[np.ndarray, np.ndarray]]
"""Pictures (b, 1, 28, 28) uint8 and targets (b, 10) float32, without end."""


def run(progress: Progress) -> list[Figure]:
    for rows in SHARES:
        curate(rows, progress)
    pieces = [(rows, arm, seed) for rows in SHARES for arm in ARMS for seed in range(seeds_of(arm))]
    found = dict(zip(pieces, side_by_side(judged, pieces, "students", progress), strict=True))
    return [figure for rows in SHARES for figure in compared(rows, found)]


def seeds_of(arm: str) -> int:
    return 1 if arm == VIEWS else SEEDS


def curate(rows: str, progress: Progress) -> None:
    """The chain up to its release; up to date where an earlier run came that far."""
    place(rows).mkdir(parents=True, exist_ok=True)
    runner = {"kind": "threads", "workers": 2}
    reinforce = {**REINFORCE, **DRAWN[rows]}
    path = one_night(place(rows), SHARES[rows], teach=TEACH, reinforce=reinforce, runner=runner)
    run_chain(path, [NIGHT], place(rows) / "store", progress)


def place(rows: str) -> Path:
    return FOLDER / digest_of([rows, SHARES[rows], TEACH, REINFORCE, DRAWN[rows]])


def judged(rows: str, arm: str, seed: int) -> tuple[float, float]:
    """Accuracy and calibration error of a student."""
    path = place(rows) / f"{digest_of([arm, seed, FILTERS, BATCH, RATE, DECAY, STEPS[rows]])}.json"
    if not path.exists():
        _, test, truth = fashion_mnist("test")
        curation = load(place(rows) / "fashion_mnist.yaml", store=str(place(rows) / "store"))
        with quick_students():
            probs = student(arms(curation)[arm](seed), test, STEPS[rows], seed)
        right = probs.argmax(axis=1) == truth
        error = expected_calibration_error(probs.max(axis=1), right)
        path.write_text(json.dumps([float(right.mean()), error]), encoding="utf-8")
    accuracy, error = json.loads(path.read_text(encoding="utf-8"))
    return accuracy, error


def compared(rows: str, found: dict[tuple[str, str, int], tuple[float, float]]) -> list[Figure]:
    """Accuracy and calibration error of each arm, means over seeds, and what reinforcement adds."""
    accuracy, error = (
        {arm: [found[rows, arm, seed][which] for seed in range(seeds_of(arm))] for arm in ARMS}
        for which in range(2)
    )
    gains = [100 * (a - b) for a, b in zip(accuracy[REINFORCED], accuracy[CURATED], strict=True)]
    saved = 1 - mean(error[REINFORCED]) / mean(error[CURATED])
    return [
        *spread(f"{rows}: accuracy", accuracy),
        *spread(f"{rows}: calibration error", error),
        Figure(f"{rows}: reinforced above curated", round(mean(gains), 6), "points", "≥ 1"),
        Figure(f"{rows}: reinforced above curated (std)", stdev(gains), "points"),
        Figure(f"{rows}: calibration error saved", saved, "", "≥ 0.3"),
    ]


def spread(name: str, values: dict[str, list[float]]) -> Iterator[Figure]:
    for arm, each in values.items():
        yield Figure(f"{name}, {arm}", mean(each))
        if len(each) > 1:
            yield Figure(f"{name}, {arm} (std)", stdev(each))


def arms(curation: Curation) -> dict[str, Callable[[int], Batches]]:
    """What each kind of student learns from, by the student's seed."""
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
    images = rows.images.transpose(0, 3, 1, 2)
    (given, labelled), (curated, trusted) = (lessons(job, arm, rows) for arm in (GIVEN, CURATED))
    decided = dict(zip(rows.ids[trusted], curated[trusted], strict=True))
    return {
        GIVEN: lambda seed: as_they_are(images[labelled], given[labelled], seed),
        CURATED: lambda seed: as_they_are(images[trusted], curated[trusted], seed),
        VIEWS: lambda seed: views(curation, seed, decided),
        REINFORCED: lambda seed: views(curation, seed, None),
    }


def as_they_are(images: np.ndarray, targets: np.ndarray, seed: int) -> Batches:
    """Epochs of rows in an order of their own."""
    random = np.random.default_rng(seed_of("order", seed))
    while True:
        order = random.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield images[chosen], targets[chosen]


def views(curation: Curation, seed: int, decided: dict[str, np.ndarray] | None) -> Batches:
    """Epochs of the release, under the teachers' opinions or under what was decided of the rows."""
    loader = ReleaseLoader(curation, BATCH, seed=seed, drop_last=True)
    while True:
        for batch in loader:
            shown, targets = batch.inputs.numpy(), batch.targets.numpy()
            if decided is not None:
                known = [place for place, name in enumerate(batch.ids) if name in decided]
                shown, targets = shown[known], np.stack([decided[batch.ids[place]] for place in known])
            yield shown, targets


def student(batches: Batches, test: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Train one for `steps` with a one-cycle rate; its probabilities on the test pictures, (t, 10)."""
    from tasks.distill.convnet import ConvNet

    generator = torch.Generator().manual_seed(seed)
    body = ConvNet(1, 28, 28, FILTERS, generator)
    head = torch.nn.Linear(body.features, 10, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-(body.features**-0.5), body.features**-0.5, generator=generator)
    network = torch.nn.Sequential(body, head)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * RATE, total_steps=steps)
    for _, (images, targets) in zip(range(steps), batches, strict=False):
        log_probs = network(standardised(images)).float().log_softmax(dim=1)
        loss = -(torch.from_numpy(targets) * log_probs).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test = test.transpose(0, 3, 1, 2)
    with torch.no_grad():
        parts = [
            network(standardised(test[at : at + 1000])).float().softmax(dim=1)
            for at in range(0, len(test), 1000)
        ]
    return np.asarray(torch.cat(parts).numpy())


def standardised(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((images.astype(np.float32) - 72.94) / 90.02)
