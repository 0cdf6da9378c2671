"""One frozen way to train a student on a small set, so that its accuracy judges the set alone.

A distilled set's accuracy mixes its images, its labels and the training recipe (Li et al.,
"DD-Ranking", 2025), so every set, of whatever distiller, is judged by this one: the three-block
ConvNet with instance norm of the condensation papers, a fixed number of steps rather than epochs
(mosaics would else be seen less often), views drawn for each image anew, and the accuracy of the
last step: picking the best one on the test set would add a point that nobody can have.

- Views as of `look`: warped, and half of them mixed with another.
- Targets: each image's own distribution, hard or soft, mixed as the views are; or, given `ask`, what
  a teacher says of that very view (Beyer et al., "Knowledge distillation: a good teacher is patient
  and consistent", CVPR 2022). Such labels are not in the set: their bytes are the teacher's.
- AdamW with a cosine to zero, at one rate for all widths and steps, chosen on training rows (see
  docs/decisions.md). Nothing is tuned for one set or another.

Every draw comes from generators made of `seed`; bytes repeat on a processor with one thread. Cost:
about 4 milliseconds an image and step at width 128 on 28 x 28, half of it at width 64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tasks.distill.convnet import ConvNet
from tasks.distill.look import Look, mix, warp

BATCH = 64
LEARNING_RATE = 5e-3
WARM_UP = 0.05
WEIGHT_DECAY = 0.01
JUDGED_AT_ONCE = 250

AskView = Callable[[np.ndarray], np.ndarray]
"""Log-probabilities (n, k) float32 of views (n, h, w, c) uint8."""


def train_and_score(
    images: np.ndarray,
    targets: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    *,
    width: int,
    steps: int,
    seed: int,
    device: str,
    look: Look,
    ask: AskView | None = None,
) -> float:
    """Test accuracy of a fresh student after the last step; NaN without anything to learn or judge.

    images: (n, h, w, c) uint8, mosaics decoded, sides of 8 pixels or more; or features (n, d), for
    which the student is the report's perceptron and only the set's own targets count. targets: (n, k)
    float32, rows that sum to 1. test_labels: (m,) integers in 0..k-1. ask: a teacher that gives the
    targets of each view instead.
    """
    if not len(images) or not len(test_images):
        return math.nan
    if images.ndim == 2:
        from tasks.report import perceptron

        model = perceptron.fit(
            images,
            targets,
            steps=steps,
            width=width,
            batch=BATCH,
            learning_rate=LEARNING_RATE,
            seed=seed,
            device=device,
        )
        return float((perceptron.predict(model, test_images) == test_labels).mean())
    student = train(
        images,
        targets,
        width=width,
        steps=steps,
        seed=seed,
        device=device,
        look=look,
        ask=ask,
    )
    return float((predict(student, test_images, device) == test_labels).mean())


class Student(nn.Module):
    """Logits (n, k) of pixels (n, c, h, w) in 0..1, standardised inside by the mean and deviation of the
    set that it learns from."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, images: np.ndarray, classes: int, width: int, generator: torch.Generator):
        super().__init__()
        _, height, breadth, channels = images.shape
        pixels = images.reshape(-1, channels) / 255
        self.register_buffer("mean", torch.tensor(pixels.mean(axis=0), dtype=torch.float32)[:, None, None])
        # images of one colour must not divide by zero: one grey level at least
        scale = np.maximum(pixels.std(axis=0), 1 / 255)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32)[:, None, None])
        self.embed = ConvNet(channels, height, breadth, width, generator)
        bound = self.embed.features**-0.5  # the default of nn.Linear, which draws from the global generator
        weights = torch.empty(classes, self.embed.features).uniform_(-bound, bound, generator=generator)
        self.weight, self.bias = nn.Parameter(weights), nn.Parameter(torch.zeros(classes))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.embed((pixels - self.mean) / self.scale), self.weight, self.bias)


def train(
    images: np.ndarray,
    targets: np.ndarray,
    *,
    width: int,
    steps: int,
    seed: int,
    device: str,
    look: Look,
    ask: AskView | None = None,
) -> Student:
    """The student after `steps` steps of BATCH views; see `train_and_score`."""
    generator = torch.Generator().manual_seed(seed)
    student = Student(images, targets.shape[1], width, generator).to(device)
    optimiser = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    pixels, labels = channels_first(images).float() / 255, torch.tensor(targets)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rate((step + 0.5) / steps)
        rows = torch.randint(len(images), (2, BATCH), generator=generator)
        views = warp(pixels[rows.flatten()], look, generator)
        mixed, share = mix(views[:BATCH], views[BATCH:], look, generator)
        if ask is None:
            wanted = share * labels[rows[0]] + (1 - share) * labels[rows[1]]
        else:
            shown = (mixed * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
            wanted = torch.from_numpy(ask(shown)).exp()
        loss = functional.cross_entropy(student(mixed.to(device)), wanted.to(device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return student


def channels_first(images: np.ndarray) -> torch.Tensor:
    """A copy: images that were read may not be written to, which torch warns about."""
    return torch.tensor(images.transpose(0, 3, 1, 2))


def rate(done: float) -> float:
    """The learning rate, as a share of its peak, when `done` of the steps are taken."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def predict(student: Student, images: np.ndarray, device: str) -> np.ndarray:
    """The most likely class of each: (n, h, w, c) uint8 -> (n,) int64."""
    pixels = channels_first(images)
    parts = (pixels[start : start + JUDGED_AT_ONCE] for start in range(0, len(pixels), JUDGED_AT_ONCE))
    return torch.cat([student(part.to(device).float() / 255).argmax(dim=1).cpu() for part in parts]).numpy()
