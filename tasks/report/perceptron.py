"""A two-layer perceptron on standardised inputs, trained for a fixed number of steps.

Knows nothing of winnow. Every random number comes from an explicit CPU generator, so threads that
train side by side do not disturb one another, and the draws are the same on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

CHUNK = 4096
"""Rows that are standardised or predicted at once; bounds the memory."""

CLIP = 10.0
"""Standardised inputs are clipped here: a column that is constant but for one training row would
otherwise blow up on test rows that differ in it."""


@dataclass(frozen=True)
class Perceptron:
    """relu((x - mean) / scale @ w1 + b1) @ w2 + b2. weights: (w1, b1, w2, b2)."""

    mean: torch.Tensor
    scale: torch.Tensor
    weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, d) of any number type, NaN standing for the column's mean -> (n, k) float32."""
        w1, b1, w2, b2 = self.weights
        x = ((inputs.to(torch.float32) - self.mean) / self.scale).clamp(-CLIP, CLIP).nan_to_num()
        return torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2)


def fit(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int,
    width: int,
    batch: int,
    learning_rate: float,
    seed: int,
    device: str,
    independent: bool = False,
) -> Perceptron:
    """Minimise cross-entropy: inputs (n, d) numbers, targets (n, k) float32 rows that sum to 1; or, of
    `independent` targets, each in 0..1, the sum of their binary cross-entropies."""
    generator = torch.Generator().manual_seed(seed)
    mean, scale = column_statistics(inputs)
    d, k = inputs.shape[1], targets.shape[1]
    # He et al. (ICCV 2015), equation 10, for the layer before the ReLU; Glorot's variance after it.
    first = torch.randn(d, width, generator=generator) * (2 / max(d, 1)) ** 0.5
    second = torch.randn(width, k, generator=generator) * (1 / width) ** 0.5
    weights = tuple(
        w.to(device).requires_grad_() for w in (first, torch.zeros(width), second, torch.zeros(k))
    )
    model = Perceptron(mean.to(device), scale.to(device), weights)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(list(weights), lr=learning_rate, weight_decay=0.0)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (batch,), generator=generator).numpy()
        x, y = (torch.from_numpy(values[rows]).to(device) for values in (inputs, targets))
        logits = model.logits(x)
        if independent:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
        else:
            losses = -(y * torch.log_softmax(logits, dim=1))
        loss = losses.sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model


def predict(model: Perceptron, inputs: np.ndarray) -> np.ndarray:
    """The most likely class of each row: (n, d) -> (n,) int64."""
    found = [logits.argmax(dim=1) for logits in judged(model, inputs)]
    return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.int64)


def predict_sets(model: Perceptron, inputs: np.ndarray) -> np.ndarray:
    """The classes of each row that are likelier than not: (n, d) -> (n, k) bool, n at least 1."""
    return torch.cat([logits >= 0 for logits in judged(model, inputs)]).cpu().numpy()


@torch.no_grad()
def judged(model: Perceptron, inputs: np.ndarray) -> list[torch.Tensor]:
    """Logits of the rows, CHUNK at a time."""
    chunks = (inputs[start : start + CHUNK] for start in range(0, len(inputs), CHUNK))
    return [model.logits(torch.tensor(chunk, device=model.mean.device)) for chunk in chunks]


def column_statistics(inputs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each column, float32; 1 for the deviation of a constant."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for start in range(0, len(inputs), CHUNK):
        scaler.partial_fit(inputs[start : start + CHUNK].astype(np.float64))
    return torch.from_numpy(scaler.mean_.astype(np.float32)), torch.from_numpy(
        scaler.scale_.astype(np.float32)
    )
