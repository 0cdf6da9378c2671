"""A small residual network learned from scratch on the images themselves.

He et al., "Identity mappings in deep residual networks", ECCV 2016; see `resnet` and `training`. Reads
pixels where `linear` reads an encoder, so that the two err on different rows. A tenth of the
training rows, chosen by content, never trains but chooses the checkpoint to keep; the fold to
be judged is not looked at. How each row was learned is kept beside the weights (see `dynamics`), as it
costs next to nothing. Assumes images of about 8x8x1 to 64x64x3.

Cost: `steps * batch_size` images, at about 4,000 28x28x1 images a second and thread by default. Passes
are counted for small data and steps for large, so a window that grows night by night costs at
most `max_steps` a fold. A network that goes on from an earlier window's takes fewer, the fewer the
less is new (see LEAST_SHARE).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks import seeds
from tasks.data import Examples, State
from tasks.teach import BadTraining, Named, Start, dynamics
from tasks.teach.rowwise import over_vocabulary

if TYPE_CHECKING:
    from tasks.teach.resnet import ResNet

HELD_OUT = 0.1

LEAST_SHARE, SHARE_OF_NEW = 0.05, 2.0
"""A network that goes on takes that share of a fresh one's steps, or so many times the share of rows that
are new, if that is more."""

LEAST_RATE, RATE_OF_NEW = 0.1, 5.0
"""Likewise its first learning rate, as a share of the peak: with little that is new, a high one would
first unlearn what the network knows and not have the steps to learn it again."""


class Convnet(Named):
    """A pre-activation residual network with one block at each of three widths."""

    kind: Literal["convnet"] = "convnet"
    revision: ClassVar[int] = 2
    paper: ClassVar[str] = "He et al., Identity mappings in deep residual networks, ECCV 2016"
    reads: ClassVar[Literal["images", "embedding", "nothing"]] = "images"
    records_dynamics: ClassVar[bool] = True
    memory: ClassVar[int | None] = 2**30

    epochs: int = Field(
        16, ge=1, le=1000, description="passes over the training rows, and checkpoints judged"
    )
    min_steps: int = Field(200, ge=1, le=1_000_000, description="least steps, however few the rows")
    max_steps: int = Field(
        2000, ge=1, le=1_000_000, description="most steps, however many the rows: bounds the cost"
    )
    batch_size: int = Field(64, ge=2, le=4096, description="images a step")
    width: int = Field(16, ge=4, le=256, description="channels of the first block; the next two double it")
    learning_rate: float = Field(0.1, gt=0, le=10, description="peak rate of SGD with momentum 0.9")
    flip: bool = Field(False, description="mirror half of the training images; not for digits or letters")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps is {self.min_steps}, must be at most max_steps, {self.max_steps}")
        return self

    def steps(self, n: int) -> int:
        """Steps taken over `n` training rows: `epochs` passes, within min_steps..max_steps."""
        return min(max(self.epochs * math.ceil(n / self.batch_size), self.min_steps), self.max_steps)

    def fit(
        self, train: Examples, n_classes: int, seed: int, device: str, start: Start | None = None
    ) -> State:
        """Weights of the kept checkpoint, float32, by their names in `resnet.ResNet`, and `dynamics.NAMES` of
        the rows that trained it. See Teacher.fit.

        Info: shape, width, steps, rows held out, their accuracy by checkpoint, the one kept, and the
        seed that chose the rows held out: a network that goes on keeps it, since its checkpoints would
        else be judged on rows that an earlier one learned from.
        """
        from tasks.teach.training import Recipe, over_classes
        from tasks.teach.training import train as learn

        images = _images_of(train)
        if not len(train):
            raise BadTraining("teach.teachers: convnet has no labelled rows to learn from; ingest some first")
        classes, labels = np.unique(train.labels, return_inverse=True)
        split = start.state.info["split"] if start else seed
        held_out = seeds.uniform(train.keys, split) < HELD_OUT
        held_out &= not held_out.all()
        steps = self.steps(int((~held_out).sum())) if len(classes) > 1 else 0
        recipe = Recipe(self.width, steps, self.epochs, self.batch_size, self.learning_rate, self.flip)
        weights = None
        # A network of one class has learned nothing that could be gone on with.
        if start and len(start.state.arrays["classes"]) > 1 and len(classes) > 1:
            weights = over_classes(_weights(start.state), start.state.arrays["classes"], classes)
            share = min(max(SHARE_OF_NEW * start.new, LEAST_SHARE), 1.0)
            recipe = replace(
                recipe,
                steps=math.ceil(steps * share),
                checkpoints=math.ceil(self.epochs * share),
                learning_rate=self.learning_rate * min(max(RATE_OF_NEW * start.new, LEAST_RATE), 1.0),
                warm_up=0.0,
            )
        before = start.state.arrays if start and weights else None
        recorder = dynamics.Recorder(train.keys, train.labels, before)
        network, accuracies, kept = learn(
            images, labels.astype(np.int64), held_out, recipe, seed, device, weights, recorder.see
        )
        arrays = {name: value.cpu().contiguous().numpy() for name, value in network.state_dict().items()}
        info = {"shape": list(images.shape[1:]), "width": self.width, "steps": recipe.steps, "split": split}
        return State(
            {**arrays, "classes": classes.astype(np.int64), **recorder.arrays()},
            {**info, "held_out": int(held_out.sum()), "held_out_accuracy": accuracies, "kept": kept},
        )

    def predict(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        """Float32 (1, n, n_classes); below 1e-6 is lifted to it before rows are summed to 1 again.

        Raises BadTraining for images of another shape than it learned from.
        """
        from tasks.teach.resnet import log_probabilities

        images, shape = _images_of(examples), tuple(state.info["shape"])
        if images.shape[1:] != shape:
            raise BadTraining(
                f"teach.teachers: convnet learned from images of {shape} and is shown {images.shape[1:]}; "
                "bring all partitions to one shape at ingest"
            )
        log_probs = log_probabilities(network_of(state, device), images, device).astype(np.float64)
        return over_vocabulary(np.exp(log_probs), state.arrays["classes"], n_classes)[None]


def network_of(state: State, device: str) -> ResNet:
    """The network that a fit left, over the classes of the state's `classes`."""
    import torch

    from tasks.teach.resnet import bare

    shape = tuple(state.info["shape"])
    network = bare(shape, state.info["width"], len(state.arrays["classes"]), device)
    network.load_state_dict({name: torch.tensor(value) for name, value in _weights(state).items()})
    return network


def _weights(state: State) -> dict[str, np.ndarray]:
    """What of a state is the network's."""
    beside = ("classes", *dynamics.NAMES)
    return {name: value for name, value in state.arrays.items() if name not in beside}


def _images_of(examples: Examples) -> np.ndarray:
    if examples.images is None:
        raise BadTraining("teach.teachers: convnet reads images and these rows have none; use linear instead")
    return examples.images
