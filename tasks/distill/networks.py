"""Networks trained on rows of all classes: kept in one state, looked at one by one, asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import Examples, State
from tasks.seeds import seed_of
from tasks.teach import dynamics
from tasks.teach.convnet import Convnet, network_of
from tasks.teach.rowwise import over_vocabulary

if TYPE_CHECKING:
    from tasks.teach.resnet import ResNet


def trained(teachers: Sequence[Convnet], examples: Examples, seed: int, device: str) -> State:
    """Each teacher's network, from a seed of its own; how the rows were learned is left out."""
    arrays: dict[str, np.ndarray] = {}
    infos = []
    for number, teacher in enumerate(teachers):
        state = teacher.fit(
            examples, int(examples.labels.max()) + 1, seed_of(seed, "network", number), device
        )
        kept = {name: array for name, array in state.arrays.items() if name not in dynamics.NAMES}
        arrays |= {f"network{number}.{name}": array for name, array in kept.items()}
        infos.append(state.info)
    return State(arrays, {"networks": infos})


def networks_of(state: State, device: str) -> list[ResNet]:
    """The networks that `trained` left, standing still, all over the classes of `classes_of`."""
    return [network_of(one_of(state, number), device).eval() for number in range(len(state.info["networks"]))]


def one_of(state: State, number: int) -> State:
    prefix = f"network{number}."
    arrays = {
        name.removeprefix(prefix): array for name, array in state.arrays.items() if name.startswith(prefix)
    }
    return State(arrays, state.info["networks"][number])


def classes_of(state: State) -> np.ndarray:
    """The classes that the rows learned from have, ascending."""
    return state.arrays["network0.classes"]


def mean_logits(state: State, images: np.ndarray, device: str) -> np.ndarray:
    """(n, h, w, c) uint8 -> float64 (n, classes of the state), up to a constant a row."""
    from tasks.teach.resnet import log_probabilities

    said = [log_probabilities(network, images, device) for network in networks_of(state, device)]
    mean: np.ndarray = np.stack(said).mean(axis=0, dtype=np.float64)
    return mean


def opinion(state: State, images: np.ndarray, temperature: float, n_classes: int, device: str) -> np.ndarray:
    """Log-probabilities float32 (n, n_classes): the softmax of the mean logits over a temperature."""
    logits = mean_logits(state, images, device) / temperature
    unscaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return over_vocabulary(unscaled / unscaled.sum(axis=1, keepdims=True), classes_of(state), n_classes)
