"""Small sets of Fashion-MNIST and the students that judge them, in pieces that outlive a killed run.

A piece is the teacher, a set, or a student; each is one file under build/distilled, named by all that
decides it but the code: after a change of the recipe or of a method that is no change of its
parameters, remove the folder. Pieces run side by side, one thread each, and a run that was killed takes
up what is left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks._data import fashion_mnist
from benchmarks._effects import examples
from tasks.data import Examples, State
from tasks.distill import Distiller
from tasks.distill.facility_location import FacilityLocation
from tasks.distill.herding import Herding
from tasks.distill.k_center import KCenter
from tasks.distill.matching import Matching
from tasks.distill.patches import Patches
from tasks.distill.random import Random
from tasks.seeds import seed_of
from tasks.stages.hashing import digest_of
from tasks.teach.convnet import Convnet

FOLDER = REPOSITORY / "build" / "distilled"
CLASSES, SIDE = 10, 28
TEACHER = Convnet(width=24, batch_size=128, epochs=10, max_steps=4500, flip=True)

LEARNT = Matching(steps=500, real_batch=128, flip=True)
METHODS: dict[str, Distiller] = {
    "random": Random(),
    # all that are looked at are taken, whole: the control of what is learnt or chosen of mosaics
    "random mosaics": Patches(candidates=1, crops=1, least_area=1.0),
    "herding": Herding(),
    "k_center": KCenter(),
    "facility_location": FacilityLocation(),
    "patches": Patches(tiles=1),
    "patches, mosaics": Patches(tiles=2),
    "matching": LEARNT,
    "matching, mosaics": LEARNT.model_copy(update={"tiles": 2}),
}
WHOLE, CLEAN = "the whole set", "clean"


@dataclass(frozen=True)
class Learner:
    """A student. method: of METHODS, or WHOLE. labels: hard; soft, the teacher's probabilities of each
    image, stored beside it; or asked, the teacher's answer to every view. rows: whose labels decide what a
    class is, CLEAN or what `relabel_rows` was told."""

    method: str
    per_class: int
    labels: str
    width: int
    steps: int
    seed: int
    rows: str = CLEAN


def judged(learners: Iterable[Learner], workers: int, progress: Progress) -> dict[Learner, dict[str, float]]:
    """accuracy and seconds of each student; distill_seconds, image_bytes and label_bytes of its set."""
    learners = list(learners)
    sets = sorted(
        {(one.method, one.per_class, one.seed, one.rows) for one in learners if one.method != WHOLE}
    )
    if any(one.labels != "hard" or METHODS[one.method].asks for one in learners if one.method != WHOLE):
        teacher()
    with ProcessPoolExecutor(workers, get_context("spawn"), one_thread) as pool:
        # students wait for all sets, so that no set is made twice
        finish([pool.submit(small_set, *one) for one in sets], "small sets", progress)
        finish([pool.submit(student, one) for one in learners], "students", progress)
    return {one: student(one) for one in learners}


def finish(pending: list[Future[Any]], what: str, progress: Progress) -> None:
    for done in progress.track(as_completed(pending), total=len(pending), description=what):
        done.result()


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def relabel_rows(name: str, labels: np.ndarray) -> None:
    """Other labels of the training rows, (60000,) int32 with -1 for rows that are left out."""
    keep(FOLDER / f"labels-{name}.npz", labels=labels)


def labels_called(name: str, clean: np.ndarray) -> np.ndarray:
    """The labels of that name; `clean` are those in the file."""
    if name == CLEAN:
        return clean
    with np.load(FOLDER / f"labels-{name}.npz") as held:
        found: np.ndarray = held["labels"]
    return found


@cache
def pictures(labels: str = CLEAN) -> tuple[Examples, np.ndarray, np.ndarray]:
    """The training rows, the test images and their labels, which nothing but `accuracy` ever sees."""
    train, test = fashion_mnist("train"), fashion_mnist("test")
    return examples(train.images, labels_called(labels, train.labels)), test.images, test.labels


def teacher() -> State:
    """The product's residual network on all training rows, which are those that it is asked about: the
    same rule for every set."""
    path = FOLDER / f"teacher-{digest_of(TEACHER.identity())}.npz"
    if not path.exists():
        started = time.process_time()
        rows, _, _ = pictures()
        state = TEACHER.fit(rows, CLASSES, seed_of("teacher"), "cpu")
        seconds = time.process_time() - started
        keep(path, info=json.dumps({**state.info, "seconds": seconds}), **state.arrays)
    with np.load(path, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    return State(arrays, json.loads(str(arrays.pop("info"))))


def answer(examples: Examples) -> np.ndarray:
    said: np.ndarray = TEACHER.predict(teacher(), examples, CLASSES, "cpu")[0]
    return said


class Asked:
    """The teacher's log-probabilities of views (n, h, w, c), without the padding that makes its answers
    independent of company."""

    def __init__(self) -> None:
        import torch

        from tasks.teach.convnet import _weights
        from tasks.teach.resnet import bare

        state = teacher()
        self.weights = {name: torch.tensor(value) for name, value in _weights(state).items()}
        self.network = bare((SIDE, SIDE, 1), state.info["width"], CLASSES, "cpu")
        self.network.load_state_dict(self.weights)
        self.network.eval()

    def __call__(self, views: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            said: np.ndarray = torch.log_softmax(self.network(torch.from_numpy(views)), dim=1).numpy()
        return said

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.weights.values())


@dataclass(frozen=True)
class Small:
    """images (m, h, w, c) uint8 as stored, their labels, the edge of a mosaic, seconds of one core."""

    images: np.ndarray
    labels: np.ndarray
    tiles: int
    seconds: float


def small_set(name: str, per_class: int, seed: int, rows_of: str = CLEAN) -> Small:
    method = METHODS[name].model_copy(update={"per_class": per_class})
    path = FOLDER / f"set-{digest_of([method.identity(), seed, rows_of, TEACHER.identity()])}.npz"
    if not path.exists():
        rows, _, _ = pictures(rows_of)
        assert rows.images is not None
        started = time.process_time()
        made = []
        for label in range(CLASSES):
            places = np.flatnonzero(rows.labels == label)
            one = method.distill(rows.take(places), answer, seed_of("set", seed, label), "cpu")
            chosen = places[[origin[0] for origin in one.origins]]
            made.append((rows.images[chosen] if one.images is None else one.images, one.tiles))
        seconds = time.process_time() - started
        labels = np.repeat(np.arange(CLASSES), [len(images) for images, _ in made])
        keep(
            path,
            images=np.concatenate([i for i, _ in made]),
            labels=labels,
            tiles=made[0][1],
            seconds=seconds,
        )
    with np.load(path, allow_pickle=False) as held:
        return Small(held["images"], held["labels"], int(held["tiles"]), float(held["seconds"]))


def student(learner: Learner) -> dict[str, float]:
    path = (
        FOLDER
        / f"student-{digest_of([asdict(learner), description(learner.method), TEACHER.identity()])}.json"
    )
    if not path.exists():
        path.write_text(json.dumps(taught(learner)), encoding="utf-8")
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def description(method: str) -> object:
    return METHODS[method].identity() if method in METHODS else method


def taught(learner: Learner) -> dict[str, float]:
    from tasks.distill.mosaic import decode
    from tasks.distill.recipe import train_and_score

    rows, test, truth = pictures(learner.rows)
    assert rows.images is not None
    whole = learner.method == WHOLE
    small = (
        Small(rows.images, rows.labels, 1, 0.0)
        if whole
        else small_set(learner.method, learner.per_class, learner.seed, learner.rows)
    )
    images, each = decode(small.images, small.tiles), small.tiles**2
    targets = np.eye(CLASSES, dtype=np.float32)[np.repeat(small.labels, each)]
    asked = Asked() if learner.labels == "asked" else None
    label_bytes = 6 * len(small.labels)  # a class int32 and its weight int16, as stored
    if learner.labels == "soft":
        said = np.exp(answer(examples(images, np.repeat(small.labels, each))))
        targets = np.repeat(said.reshape(-1, each, CLASSES).mean(axis=1), each, axis=0)
        label_bytes *= CLASSES
    started = time.process_time()
    accuracy = train_and_score(
        images,
        targets,
        test,
        truth,
        width=learner.width,
        steps=learner.steps,
        seed=seed_of("student", learner.seed),
        device="cpu",
        flip=True,
        ask=asked,
    )
    return {
        "accuracy": accuracy,
        "seconds": time.process_time() - started,
        "distill_seconds": small.seconds,
        "image_bytes": small.images.nbytes,
        "label_bytes": asked.bytes if asked else label_bytes,
    }


def keep(path: Path, **arrays: object) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **arrays)  # type: ignore[arg-type]
    unfinished.replace(path)
