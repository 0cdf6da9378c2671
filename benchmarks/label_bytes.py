"""Labels of a distilled set in fewer bytes: one static label an image, a projector, or the whole teacher.

Stored draws are the measure: the labels of 300 views an image, ten int16 each. Their student is shown as many
views, no view twice, and for each asks the teacher: what stored draws would have told it. Students of lighter
labels learn for as long; those of static ones, which do not run out, also for five times as long, which is
what INFER's authors grant them over stored ones. Two sets
of Fashion-MNIST (from where WINNOW_DATA says), ten images a class from clean labels, and three seeds, each
with networks, rows and students of its own:

- INFER: the sums of `compensator`, whose static label is the mean of the networks that it trained; random
  rows beside them, as many as their bytes pay for, under the same labels. Views are the paper's, moved,
  mirrored and mixed by mixup: a static label says nothing of a view that shows something else.
- HeLlO: random rows. The teacher is the widest of the same networks, the projector learns from it, and
  shipping it whole is what the projector has to beat. Beside them one soft label an image.

Students are those of `tasks/distill/recipe.py`, 32 filters wide, judged on the 10,000 test images, which
decide nothing else: widths, steps, rank and temperature were not searched. A seed that was measured is
kept under build/label_bytes, so a run that was killed goes on; remove the folder after a change of code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev

import numpy as np
import torch
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks._data import existing, fashion_mnist
from benchmarks._pool import side_by_side
from benchmarks.figures import Figure
from tasks.data import Examples, State
from tasks.distill import networks
from tasks.distill.compensator import Compensator
from tasks.distill.look import Look
from tasks.distill.projector import Projector, answers
from tasks.distill.random import draw_rows
from tasks.distill.recipe import BATCH, AskView, train_and_score
from tasks.seeds import mix, seed_of
from tasks.stages.hashing import digest_of
from tasks.teach.convnet import Convnet, network_of
from tasks.teach.resnet import ResNet

SEEDS, CLASSES, SIDE, PER_CLASS, DRAWS, WIDTH, LONGER = 3, 10, 28, 10, 300, 32, 5
FROZEN = Look(flip=True)
PAPERS = Look(flip=True, turn=0.0, zoom=1.0, move=4 / 28, light=0.0, cutmix=0.0, mixup=1.0)
FOLDER = REPOSITORY / "build" / "label_bytes"
TRAINING = Convnet(epochs=8, max_steps=1500, flip=True)
METHOD = Compensator(
    per_class=PER_CLASS,
    rows=60_000,
    networks=tuple(TRAINING.model_copy(update={"width": width}) for width in (8, 12, 16)),
    steps=300,
)
PROJECTOR = Projector(rank=32, steps=5000, rows=60_000, flip=True)


@dataclass(frozen=True)
class Pictures:
    rows: Examples
    test: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Set:
    """images (n, h, w, c) uint8 and the class of each."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def draws(self) -> int:
        """Bytes of the stored draws."""
        return DRAWS * label_bytes(len(self.images))

    @property
    def steps(self) -> int:
        """Of a student that is shown each stored draw once."""
        return DRAWS * len(self.images) // BATCH


def label_bytes(n: int) -> int:
    return 2 * CLASSES * n


def run(progress: Progress) -> list[Figure]:
    existing("fashion_mnist/train.parquet")
    found = side_by_side(measured, [(seed,) for seed in range(SEEDS)], "seeds", progress)
    return list(told({name: [one[name] for one in found] for name in found[0]}))


def told(found: dict[str, list[float]]) -> Iterable[Figure]:
    for method, light, least in (("INFER", "static labels", 0.03), ("HeLlO", "projector", 0.1)):
        draws = mean(found[f"{method}: bytes, stored draws"])
        share = mean(found[f"{method}: bytes, {light}"]) / draws
        yield Figure(f"{method}: bytes, {light} as a share of stored draws", share, goal=f"≤ {least}")
        yield from gain(found, method, light, "≥ -0.01")
    yield from gain(found, "INFER", f"static labels, {LONGER} times as long", None)
    teacher = mean(found["HeLlO: bytes, whole teacher"])
    small = mean(found["HeLlO: bytes, projector"]) / teacher
    yield Figure("HeLlO: bytes, projector as a share of the whole teacher", small)
    for name, values in found.items():
        yield Figure(name, mean(values), "bytes" if ": bytes" in name else "")
        if ": accuracy" in name:
            yield Figure(f"{name} (std)", stdev(values))


def gain(found: dict[str, list[float]], method: str, labels: str, goal: str | None) -> Iterable[Figure]:
    """What a student under lighter labels has over that under stored draws."""
    name = f"{method}: accuracy, {labels}"
    gains = np.subtract(found[name], found[f"{method}: accuracy, stored draws"]).tolist()
    yield Figure(f"{name}, less stored draws", mean(gains), goal=goal)
    yield Figure(f"{name}, less stored draws (std)", stdev(gains))


def measured(seed: int) -> dict[str, float]:
    decides = [METHOD.identity(), PROJECTOR.identity(), LONGER, WIDTH, seed]
    path = FOLDER / f"{digest_of(decides)}.json"
    if not path.exists():
        known = pictures()
        state = METHOD.fit(known.rows, seed_of("label bytes", seed), "cpu")
        found = {**static(known, state, seed), **projected(known, state, seed)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found), encoding="utf-8")
    kept: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def static(known: Pictures, state: State, seed: int) -> dict[str, float]:
    """INFER's sums under static labels, or under the answer to each view; and random rows."""
    cut = [METHOD.cut(state, label).images for label in range(CLASSES)]
    sums = small_set([images for images in cut if images is not None])
    random = drawn(known, seed)
    all_of_them = asked(networks.networks_of(state, "cpu"), METHOD.temperature)
    static_labels = partial(score, known, seed=seed, labels=(METHOD, state), look=PAPERS)
    kept = state.arrays["real"].nbytes + state.arrays["added"].nbytes
    return {
        "INFER: accuracy, stored draws": score(known, sums, seed, ask=all_of_them, look=PAPERS),
        "INFER: accuracy, static labels": static_labels(sums),
        f"INFER: accuracy, static labels, {LONGER} times as long": static_labels(sums, longer=LONGER),
        "INFER: accuracy, random rows, static labels": static_labels(random),
        "INFER: bytes, stored draws": sums.draws,
        "INFER: bytes, static labels": label_bytes(len(sums.images)),
        "INFER: bytes, real images and compensators": kept,
        "INFER: bytes, their sums": sums.images.nbytes,
    }


def projected(known: Pictures, state: State, seed: int) -> dict[str, float]:
    """Random rows under what a teacher says, in four forms."""
    random = drawn(known, seed)
    network = network_of(networks.one_of(state, len(METHOD.networks) - 1), "cpu").eval()
    teacher = asked([network], 1.0)
    made = PROJECTOR.fit(
        known.rows, lambda shown: teacher(images_of(shown)), CLASSES, seed_of("projector", seed), "cpu"
    )
    small = answers(made)
    agreed = (small(known.test).argmax(axis=1) == teacher(known.test).argmax(axis=1)).mean()
    once = np.exp(teacher(random.images))
    return {
        "HeLlO: accuracy, stored draws": score(known, random, seed, ask=teacher),
        "HeLlO: accuracy, projector": score(known, random, seed, ask=small),
        "HeLlO: accuracy, one soft label": score(known, random, seed, targets=once),
        "HeLlO: projector agrees with the teacher on": float(agreed),
        "HeLlO: bytes, stored draws": random.draws,
        "HeLlO: bytes, projector": sum(array.nbytes for array in made.arrays.values()),
        "HeLlO: bytes, one soft label": label_bytes(len(random.images)),
        "HeLlO: bytes, whole teacher": sum(2 * value.numel() for value in network.state_dict().values()),
    }


def score(
    known: Pictures,
    small: Set,
    seed: int,
    *,
    ask: AskView | None = None,
    labels: tuple[Compensator, State] | None = None,
    targets: np.ndarray | None = None,
    look: Look = FROZEN,
    longer: int = 1,
) -> float:
    """Accuracy of a student that learns the set by what is asked of each view, by static labels, or by the
    targets given."""
    if labels:
        method, state = labels
        targets = np.exp(method.opinion(state, examples(small.images, small.labels), CLASSES, "cpu"))
    if targets is None:  # who is asked of each view says it all
        targets = np.eye(CLASSES, dtype=np.float32)[small.labels]
    return train_and_score(
        small.images,
        targets,
        known.test,
        known.truth,
        width=WIDTH,
        steps=longer * small.steps,
        seed=seed_of("student", seed),
        device="cpu",
        look=look,
        ask=ask,
    )


def asked(teachers: list[ResNet], temperature: float) -> AskView:
    """The softmax of the mean logits over a temperature, of views as they come."""

    @torch.no_grad()
    def answer(views: np.ndarray) -> np.ndarray:
        parts = (torch.from_numpy(views[at : at + 250]) for at in range(0, len(views), 250))
        logits = [torch.stack([teacher(part) for teacher in teachers]).mean(dim=0) for part in parts]
        return torch.log_softmax(torch.cat(logits) / temperature, dim=1).numpy()

    return answer


def images_of(rows: Examples) -> np.ndarray:
    assert rows.images is not None
    return rows.images


def drawn(known: Pictures, seed: int) -> Set:
    own = [np.flatnonzero(known.rows.labels == label) for label in range(CLASSES)]
    picks = [rows[draw_rows(known.rows.keys[rows], PER_CLASS, seed_of("random", seed))] for rows in own]
    return small_set([images_of(known.rows)[rows] for rows in picks])


def small_set(by_class: list[np.ndarray]) -> Set:
    labels = np.repeat(np.arange(CLASSES), [len(images) for images in by_class])
    return Set(np.concatenate(by_class), labels)


def pictures() -> Pictures:
    train, test = fashion_mnist("train"), fashion_mnist("test")
    return Pictures(examples(train.images, train.labels), test.images, test.labels)


def examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Pictures that go by their number: no two of the training set are to share a draw."""
    n = len(images)
    keys = mix(np.arange(n, dtype=np.uint64), seed_of("row"))
    return Examples(np.arange(n).astype(str).astype(object), keys, labels.astype(np.int32), images=images)
