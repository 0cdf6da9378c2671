"""Small sets of Fashion-MNIST and the students that judge them, in pieces that outlive a killed run.

A piece is the teacher, a set, or a student; each is one file under build/distilled, named by all that
decides it but the code: after a change of the recipe or of a method that is no change of its
parameters, remove the folder. Pieces run side by side, one thread each, and a run that was killed takes
up what is left. Students are compiled and multiply in bfloat16, all of them, which needs a C++ compiler.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks._chain import REPOSITORY
from benchmarks._data import fashion_mnist
from benchmarks._effects import examples
from benchmarks._pool import quick_students, side_by_side
from tasks.data import Examples, State
from tasks.distill import Distiller, Joint
from tasks.distill.compensator import Compensator
from tasks.distill.facility_location import FacilityLocation
from tasks.distill.hardness import Hardness
from tasks.distill.herding import Herding
from tasks.distill.k_center import KCenter
from tasks.distill.matching import Matching
from tasks.distill.patches import Patches
from tasks.distill.random import Random
from tasks.distill.statistics import Statistics
from tasks.seeds import seed_of
from tasks.stages.hashing import digest_of
from tasks.teach.convnet import Convnet
from tasks.teach.dynamics import DYNAMICS, ERRORS, MARKS, recorded_of
from tasks.teach.rowwise import one_thread

FOLDER = REPOSITORY / "build" / "distilled"
CLASSES, SIDE = 10, 28
TEACHER = Convnet(width=24, batch_size=128, epochs=10, max_steps=4500, flip=True)

LEARNT = Matching(steps=500, real_batch=128, flip=True)
SEEN = Convnet(epochs=8, max_steps=1500, flip=True)
"""The networks of what looks at images through its own: trained by each set's fit, at its cost."""

METHODS: dict[str, Distiller | Joint] = {
    "random": Random(),
    # all that are looked at are taken, whole: the control of what is learnt or chosen of mosaics
    "random mosaics": Patches(candidates=1, crops=1, least_area=1.0),
    "herding": Herding(),
    "k_center": KCenter(),
    "facility_location": FacilityLocation(),
    "hardness": Hardness(coverage=0.3),
    "patches": Patches(tiles=1),
    "patches, mosaics": Patches(tiles=2),
    "matching": LEARNT,
    "matching, mosaics": LEARNT.model_copy(update={"tiles": 2}),
    "statistics": Statistics(network=SEEN, rows=60_000),
    "compensator": Compensator(
        networks=tuple(SEEN.model_copy(update={"width": width}) for width in (8, 12, 16)), rows=60_000
    ),
}
WHOLE, CLEAN = "the whole set", "clean"


@dataclass(frozen=True)
class Learner:
    """A student. method: of METHODS, or WHOLE. labels: hard; soft, the teacher's probabilities of each
    image, stored beside it; static, likewise those of the networks that made the set; or asked, the
    teacher's answer to every view. rows: whose labels decide what a class is, CLEAN or what `relabel_rows`
    was told."""

    method: str
    per_class: int
    labels: str
    width: int
    steps: int
    seed: int
    rows: str = CLEAN


def judged(learners: Iterable[Learner], progress: Progress) -> dict[Learner, dict[str, float]]:
    """accuracy and seconds of each student; distill_seconds, image_bytes and label_bytes of its set."""
    learners = list(learners)
    sets = sorted(
        {(one.method, one.per_class, one.seed, one.rows) for one in learners if one.method != WHOLE}
    )
    if any(needs_teacher(one) for one in learners):
        teacher()
    side_by_side(small_set, sets, "small sets", progress)
    # students wait for all sets, so that no set is made twice
    side_by_side(student, [(one,) for one in learners], "students", progress)
    return {one: student(one) for one in learners}


def needs_teacher(learner: Learner) -> bool:
    if learner.method == WHOLE:
        return False
    method = METHODS[learner.method]
    return method.asks or "dynamics" in method.reads or learner.labels in ("soft", "asked")


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


def dynamics(rows: Examples) -> np.ndarray:
    """How the teacher learned each row, (n, 3) float32, NaN for those that it held out."""
    arrays = teacher().arrays
    learned = np.column_stack([arrays[DYNAMICS][:, :2], arrays[ERRORS]])
    return recorded_of(rows.keys, rows.labels, arrays[MARKS], learned)


def teacher() -> State:
    """The product's residual network on all training rows, which are those that it is asked about: the
    same rule for every set."""
    path = FOLDER / f"teacher-{digest_of(TEACHER.identity())}.npz"
    if not path.exists():
        started = time.process_time()
        rows, _, _ = pictures()
        with one_thread():
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
            said: np.ndarray = torch.log_softmax(self.network(torch.from_numpy(views)).float(), dim=1).numpy()
        return said

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.weights.values())


@dataclass(frozen=True)
class Small:
    """images (m, h, w, c) uint8 as a student sees them, their labels, the edge of a mosaic, seconds of one
    core, and the bytes that the images are stored in. static: (m, k) float32, or (0, k) where no
    networks made them."""

    images: np.ndarray
    labels: np.ndarray
    tiles: int
    seconds: float
    bytes: int
    static: np.ndarray


def small_set(name: str, per_class: int, seed: int, rows_of: str = CLEAN) -> Small:
    method = METHODS[name].model_copy(update={"per_class": per_class})
    path = FOLDER / f"set-{digest_of([method.identity(), seed, rows_of, TEACHER.identity()])}.npz"
    if not path.exists():
        rows, _, _ = pictures(rows_of)
        if "dynamics" in method.reads:
            rows = replace(rows, dynamics=dynamics(rows))
        started = time.process_time()
        made = (
            of_all_classes(method, rows, seed) if isinstance(method, Joint) else by_class(method, rows, seed)
        )
        keep(path, **asdict(replace(made, seconds=time.process_time() - started)))
    with np.load(path, allow_pickle=False) as held:
        small = {name: held[name] for name in held.files}
    numbers = {"tiles": int(small["tiles"]), "seconds": float(small["seconds"]), "bytes": int(small["bytes"])}
    return Small(**{**small, **numbers})


def by_class(method: Distiller, rows: Examples, seed: int) -> Small:
    assert rows.images is not None
    made = []
    for label in range(CLASSES):
        places = np.flatnonzero(rows.labels == label)
        one = method.distill(rows.take(places), answer, seed_of("set", seed, label), "cpu")
        chosen = places[[origin[0] for origin in one.origins]]
        made.append(rows.images[chosen] if one.images is None else one.images)
    images, labels = np.concatenate(made), np.repeat(np.arange(CLASSES), [len(each) for each in made])
    return Small(images, labels, one.tiles, 0.0, images.nbytes, np.zeros((0, CLASSES), np.float32))


def of_all_classes(method: Joint, rows: Examples, seed: int) -> Small:
    state = method.fit(rows, seed_of("set", seed), "cpu")
    made = [method.cut(state, label).images for label in range(CLASSES)]
    images = np.concatenate([each for each in made if each is not None])
    labels = np.repeat(np.arange(CLASSES), [0 if each is None else len(each) for each in made])
    static = np.exp(method.opinion(state, examples(images, labels), CLASSES, "cpu"))
    # a compensator is stored once for all classes, and added to real images to make theirs
    parts = [state.arrays[name].nbytes for name in ("real", "added") if name in state.arrays]
    return Small(images, labels, 1, 0.0, sum(parts) or images.nbytes, static)


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
    from tasks.distill.look import Look
    from tasks.distill.mosaic import decode
    from tasks.distill.recipe import train_and_score

    rows, test, truth = pictures(learner.rows)
    assert rows.images is not None
    whole = learner.method == WHOLE
    small = (
        Small(rows.images, rows.labels, 1, 0.0, rows.images.nbytes, np.zeros((0, CLASSES), np.float32))
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
    if learner.labels == "static":
        targets = np.repeat(small.static, each, axis=0)
    if learner.labels in ("soft", "static"):
        label_bytes *= CLASSES
    started = time.process_time()
    with quick_students():
        accuracy = train_and_score(
            images,
            targets,
            test,
            truth,
            width=learner.width,
            steps=learner.steps,
            seed=seed_of("student", learner.seed),
            device="cpu",
            look=Look(flip=True),
            ask=asked,
        )
    return {
        "accuracy": accuracy,
        "seconds": time.process_time() - started,
        "distill_seconds": small.seconds,
        "image_bytes": small.bytes,
        "label_bytes": asked.bytes if asked else label_bytes,
    }


def keep(path: Path, **arrays: object) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **arrays)  # type: ignore[arg-type]
    unfinished.replace(path)
