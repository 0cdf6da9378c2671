"""Training a `resnet.ResNet` for a fixed number of steps, keeping its best checkpoint.

SGD with Nesterov momentum (Sutskever et al., ICML 2013) and a rate that rises linearly, then falls to
zero along a cosine (Loshchilov & Hutter, "SGDR", ICLR 2017). Accuracy on held-out training rows is
taken at evenly spaced checkpoints, since a network first learns what labels have in common and
only then each wrong label (Arpit et al., ICML 2017). A network that has learned already goes on with
the falling half of the schedule alone. Knows nothing of winnow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from tasks.teach.resnet import ResNet, augment, bare, initialise, log_probabilities

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
"""On convolutions and the head; norms and biases have none."""

WARM_UP = 0.2
"""Share of the steps in which the rate rises."""


@dataclass(frozen=True)
class Recipe:
    """What `train` does: see the fields of `convnet.Convnet`. warm_up: share of the steps in which the
    rate rises; 0 for a network that goes on."""

    width: int
    steps: int
    checkpoints: int
    batch_size: int
    learning_rate: float
    flip: bool
    warm_up: float = WARM_UP


def train(
    images: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray,
    recipe: Recipe,
    seed: int,
    device: str,
    start: dict[str, np.ndarray] | None = None,
    watch: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None = None,
) -> tuple[ResNet, list[float], int]:
    """Learn from the rows not held out; bit for bit the same for the same arguments on one thread.

    images: (n, height, width, channels) uint8. labels: (n,) int64 in 0..labels.max(). held_out: (n,)
    bool, not all True. start: the weights to go on from instead of fresh ones, by name. watch: is told of
    every mini-batch, its rows, their labels and their logits before the update. Returns the network, the
    held-out accuracy at each checkpoint, and which was kept (-1: no step was taken).
    """
    if device.startswith("cuda"):
        torch.backends.cudnn.deterministic = True
    generator = torch.Generator().manual_seed(seed)
    learned, judged = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    network = bare(images.shape[1:], recipe.width, int(labels.max()) + 1, device)
    if start is None:
        initialise(network, images[learned], generator)
    else:
        network.load_state_dict({name: torch.tensor(value) for name, value in start.items()})
    optimiser = _optimiser(network)
    batches = _batches(learned, recipe.batch_size, generator)
    every = math.ceil(recipe.steps / recipe.checkpoints)
    accuracies: list[float] = []
    states = [_copy(network)]
    for step in range(recipe.steps):
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate((step + 0.5) / recipe.steps, recipe.warm_up)
        batch = next(batches)
        logits = network(augment(images[batch], recipe.flip, generator).to(device))
        optimiser.zero_grad()
        F.cross_entropy(logits, torch.from_numpy(labels[batch]).to(device)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if watch:
            watch(batch, labels[batch], logits.detach().cpu().numpy())
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            guess = log_probabilities(network, images[judged], device).argmax(axis=1)
            accuracies.append(float(np.mean(guess == labels[judged])) if len(judged) else 0.0)
            states.append(_copy(network))
    kept = best(accuracies, len(judged))
    network.load_state_dict(states[kept + 1])
    return network, accuracies, kept


def over_classes(
    weights: dict[str, np.ndarray], before: np.ndarray, classes: np.ndarray
) -> dict[str, np.ndarray]:
    """The weights of a network for the classes `before` with a head for others, both ascending; a class that
    is new to it starts at zero."""
    _, new, old = np.intersect1d(classes, before, return_indices=True)
    grown = dict(weights)
    for name in ("head.weight", "head.bias"):
        grown[name] = np.zeros((len(classes), *weights[name].shape[1:]), weights[name].dtype)
        grown[name][new] = weights[name][old]
    return grown


def best(accuracies: list[float], n: int) -> int:
    """The last checkpoint within one standard error of the best accuracy on `n` rows; -1 without any.

    The one-standard-error rule of Breiman et al., "Classification and regression trees", 1984: on the
    ten held-out rows of a small first night, the luckiest checkpoint is not the best one.
    """
    if not accuracies:
        return -1
    top = max(accuracies)
    error = math.sqrt(top * (1 - top) / n) if n else 0.0
    return max(i for i, accuracy in enumerate(accuracies) if accuracy >= top - error)


def rate(share: float, warm_up: float = WARM_UP) -> float:
    """The learning rate, as a share of its peak, when `share` of the training is done."""
    if share < warm_up:
        return share / warm_up
    return 0.5 * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up)))


def _optimiser(network: ResNet) -> torch.optim.SGD:
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)


def _batches(rows: np.ndarray, size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Full batches for ever, pass after pass in a new order; what a pass leaves over opens the next."""
    waiting = rows[:0]
    while True:
        while len(waiting) < size:
            order = torch.randperm(len(rows), generator=generator).numpy()
            waiting = np.concatenate([waiting, rows[order]])
        yield waiting[:size]
        waiting = waiting[size:]


def _copy(network: ResNet) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
