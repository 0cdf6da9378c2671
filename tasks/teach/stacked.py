"""The soft label of a row: its teachers by what each is worth, found from the noisy labels alone.

The mixture of `tasks.noise_matrix`: weights, a temperature and a noise matrix that together make the
given labels most likely (a forward-corrected likelihood, Patrini et al., CVPR 2017, theorem 2). A
teacher that only guesses gets no weight, twins share one. The mean asks for teachers of one quality;
here a poor one costs nothing, and the best need not be known beforehand.

Opinions must be out of sample: a teacher that saw the labels reproduces their noise, and would win.
Where label noise depends on the row rather than on the class, weights stay right as far as the noise
does not favour one teacher's mistakes. Fitted on at most 65,536 labelled training rows of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from tasks.data import State
from tasks.method import Task
from tasks.noise_matrix import fit, mixture
from tasks.teach import Ensemble


class Stacked(Ensemble):
    """Teachers weighed by a likelihood that allows for wrong labels."""

    kind: Literal["stacked"] = "stacked"
    revision: ClassVar[int] = 2
    paper: ClassVar[str] = "Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017"
    fitted: ClassVar[bool] = True
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label"})

    def fit(self, names: Sequence[str], log_probs: np.ndarray, labels: np.ndarray) -> State:
        """Arrays: `weights` (m,) and `noise_matrix` (k, k) float64, as in `noise_matrix.Stack`. Info:
        `names`, whose weights they are, and `temperature`."""
        stack = fit(log_probs, labels)
        arrays = {"weights": stack.weights, "noise_matrix": stack.noise_matrix}
        return State(arrays, {"names": list(names), "temperature": stack.temperature})

    def apply(self, names: Sequence[str], log_probs: np.ndarray, state: State) -> np.ndarray:
        """The mixture of those teachers that were asked; weights of the others are shared out among them."""
        known = dict(zip(state.info["names"], state.arrays["weights"], strict=True))
        weights = np.array([known[name] for name in names])
        total = weights.sum()
        shares = weights / total if total > 0 else np.full(len(names), 1 / len(names))
        return mixture(log_probs, shares, state.info["temperature"]).astype(np.float32)
