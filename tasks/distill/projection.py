"""A small network that makes the labels of views in a teacher's place: what a release ships instead of them.

After Yu et al., "Heavy Labels Out! Dataset Distillation with Label Space Lightening" (HeLlO), 2024. Who
trains on a distilled set by what a teacher says of every view needs either the teacher or a label for each
view that will ever be seen: hundreds an image, more than the images themselves. The projector is an
encoder that costs no bytes, and what makes it speak like the teacher: a change of low rank to each
convolution, W + B A (Hu et al., "LoRA", ICLR 2022), its norms and a head. It learns from views of real
rows, drawn as students draw theirs (`recipe`), what the teacher says of them.

The paper's encoder is CLIP's, which everybody has, and its head starts from the names of classes. This
one is a ConvNet of random weights that its number gives again (Saxe et al., ICML 2011, on why such features
serve), and the head starts from the mean features of each class. So it runs where nothing can be fetched,
and its rank has more to do.

The same file may give labels that differ in the last digits on another machine. Cost: `steps` times 64
views through a ConvNet, and the teacher once about each. Knows nothing of winnow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional as F

from tasks.distill.convnet import ConvNet
from tasks.distill.look import Look, mix, warp
from tasks.distill.recipe import BATCH, AskView, rate

Say = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Log-probabilities (n, k) float32 of views (n, h, w, c) uint8 of the images with those numbers (n,)."""

ENCODER = 20240815
"""The number that the encoder's weights are drawn from. Another one makes every stored projector void."""

LEARNING_RATE = 2e-3
SCALE = 10.0
"""Of the head's first logits, which are cosines."""

JUDGED_AT_ONCE = 250
ASKED_AT_ONCE = 32
"""Steps whose views the teacher is asked about together."""


class Network(torch.nn.Module):
    """Logits (n, k) of pixels (n, c, h, w) in 0..1. Only what is stored learns."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int, rank: int) -> None:
        super().__init__()
        height, breadth, channels = shape
        generator = torch.Generator().manual_seed(ENCODER)
        self.encoder = ConvNet(channels, height, breadth, width, generator).requires_grad_(False)
        self.stored = torch.nn.ParameterDict()
        for name, weight in self.encoder.named_parameters():
            if weight.ndim > 1:
                bound = weight[0].numel() ** -0.5
                down = torch.empty(rank, weight[0].numel()).uniform_(-bound, bound, generator=generator)
                self.stored[key(name, "down")] = down
                self.stored[key(name, "up")] = torch.zeros(len(weight), rank)
            else:
                self.stored[key(name, "as is")] = weight.detach().clone()
        self.stored["mean"] = torch.nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.stored["scale"] = torch.nn.Parameter(torch.ones(channels), requires_grad=False)
        self.stored["head"] = torch.zeros(classes, self.encoder.features)
        self.stored["bias"] = torch.zeros(classes)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Of length one, (n, `encoder.features`)."""
        changed = {}
        for name, weight in self.encoder.named_parameters():
            if weight.ndim > 1:
                low = self.stored[key(name, "up")] @ self.stored[key(name, "down")]
                changed[name] = weight + low.reshape(weight.shape)
            else:
                changed[name] = self.stored[key(name, "as is")]
        seen = (pixels - self.stored["mean"][:, None, None]) / self.stored["scale"][:, None, None]
        return F.normalize(functional_call(self.encoder, changed, (seen,)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.linear(self.features(pixels), self.stored["head"], self.stored["bias"])


def key(name: str, what: str) -> str:
    return f"{name} {what}".replace(".", " ")


def fit(
    images: np.ndarray,
    labels: np.ndarray,
    say: Say,
    *,
    classes: int,
    width: int,
    rank: int,
    steps: int,
    look: Look,
    seed: int,
    device: str,
) -> dict[str, np.ndarray]:
    """What is stored of a network that learned what a teacher would `say` of views of images (n, h, w, c)
    uint8, n > 0: float16, by name.

    labels: (n,) integers in 0..classes-1, which give the head its start and nothing else. A mixed view
    goes by the number of one of its two images. ValueError for sides under
    8 pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    model = started(images, labels, Network(shape, classes, width, rank).to(device))
    learns = [parameter for parameter in model.stored.values() if parameter.requires_grad]
    optimiser = torch.optim.Adam(learns, lr=LEARNING_RATE)
    for step in range(steps):
        at = step % ASKED_AT_ONCE * BATCH
        if not at:
            shown, rows = views_of(images, min(steps - step, ASKED_AT_ONCE) * BATCH, look, generator)
            wanted = torch.from_numpy(say(shown, rows))
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate((step + 0.5) / steps)
        said = F.log_softmax(model(pixels_of(shown[at : at + BATCH]).to(device)), dim=1)
        target = wanted[at : at + BATCH].to(device)
        divergence = F.kl_div(said, target, reduction="batchmean", log_target=True)
        optimiser.zero_grad()
        divergence.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: value.detach().cpu().numpy().astype(np.float16) for name, value in model.stored.items()}


def views_of(
    images: np.ndarray, n: int, look: Look, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """n views as a student sees them, uint8, and the numbers of the images that they are of."""
    rows = torch.randint(len(images), (2 * n,), generator=generator).numpy()
    views = warp(pixels_of(images[rows]), look, generator)
    mixed, _ = mix(views[:n], views[n:], look, generator)
    return (mixed * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy(), rows[:n]


@torch.no_grad()
def started(images: np.ndarray, labels: np.ndarray, model: Network) -> Network:
    """With the pixels' mean and scale, and a head of each class's mean feature; a class without images has
    none."""
    pixels = images.reshape(-1, images.shape[-1]) / 255
    model.stored["mean"].copy_(torch.from_numpy(pixels.mean(axis=0)))
    model.stored["scale"].copy_(torch.from_numpy(np.maximum(pixels.std(axis=0), 1 / 255)))
    device = model.stored["head"].device
    for label in np.unique(labels).tolist():
        own = images[labels == label]
        parts = range(0, len(own), JUDGED_AT_ONCE)
        sums = [
            model.features(pixels_of(own[at : at + JUDGED_AT_ONCE]).to(device)).sum(dim=0) for at in parts
        ]
        model.stored["head"][label] = SCALE * F.normalize(torch.stack(sums).sum(dim=0), dim=0)
    return model


def asker(stored: dict[str, np.ndarray], shape: tuple[int, int, int], device: str) -> AskView:
    """Who answers in the teacher's place: (n, h, w, c) uint8 -> log-probabilities (n, k) float32."""
    classes, (rank, _) = len(stored["bias"]), stored["blocks 0 0 weight down"].shape
    model = Network(shape, classes, len(stored["blocks 0 0 bias as is"]), rank)
    for name, value in stored.items():
        model.stored[name].data = torch.from_numpy(value.astype(np.float32))
    model.to(device).requires_grad_(False)

    def answer(views: np.ndarray) -> np.ndarray:
        said = [
            F.log_softmax(model(pixels_of(views[at : at + JUDGED_AT_ONCE]).to(device)), dim=1).cpu()
            for at in range(0, len(views), JUDGED_AT_ONCE)
        ]
        return torch.cat([torch.empty(0, classes), *said]).numpy()

    return answer


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """(n, h, w, c) uint8 to (n, c, h, w) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
