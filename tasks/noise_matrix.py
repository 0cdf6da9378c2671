"""What several opinions and the noisy labels say of the truth, without any truth: weights, a temperature
and a noise matrix, fitted together.

Patrini et al., "Making Deep Neural Networks Robust to Label Noise", CVPR 2017, theorem 2 (forward
correction): if labels were corrupted class by class with T[c, j] = P(label j | truth c), then clean
probabilities p predict noisy labels as p T, and the likelihood of p T is greatest where p is right,
whatever T is. Here p is a mixture of the opinions, made sharper or softer,

    p = softmax(temperature * log(sum over m of weight[m] * P[m])),

and weights, temperature and T are found together by the largest mean of log (p T)[label]. The noisy
likelihood is a proper score of p T, so the weights are those of the best mixture for the clean labels as
far as the noise depends on the class alone, and nobody has to know which teacher is the best.

T is not identified by the likelihood alone: a softer p explains the noise as well. Three terms choose.
`VOLUME` times log |det T| prefers the T that explains most (Li et al., "Provably End-to-End Label-Noise
Learning without Anchor Points", ICML 2021, equation 4, where it is a penalty on volume). `PRIOR` rows that
kept their label are added to each class, so that a class of few rows is thought sound rather than
anything. And `PRIOR` rows speak for a temperature of 1, with one unit of deviation of its logarithm, so
that teachers who are right on all of few rows do not become certain for ever. Human errors depend on the
row and not on the class alone: teachers are unsure of the very rows that people got wrong, p T needs
little of T to explain the labels, and T shows too little noise.

The problem is smooth but not convex: where labels are wrong in one direction, L-BFGS can end in a hollow in
which the mixture is softened to explain them and T is the identity. It starts twice, with all opinions
weighing the same: from nine labels in ten right, and from how often the mixture's choice meets each label;
the deeper end is kept. It ends at the same point for the same rows in the same order. Cost: O(m n k + n k)
an evaluation, at most `STEPS` of them a start; float64, one thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VOLUME = 1e-2
"""Weight of log |det T|; above it T can become singular (see `benchmarks ensemble` on digits)."""

PRIOR = 10.0
"""How many rows what is thought beforehand is worth."""

STEPS = 200
NUMBERS = 1 << 24
"""Probabilities fitted on, over all opinions: 128 MiB in float64, and a few times that inside."""
ROWS = 1 << 16
"""More rows move a weight less than its last printed digit."""


@dataclass(frozen=True)
class Stack:
    """weights: (m,) float64, sum 1. temperature: the exponent, above 1 makes the mixture surer.
    noise_matrix: (k, k) float64, rows the truth, columns the label, rows sum to 1."""

    weights: np.ndarray
    temperature: float
    noise_matrix: np.ndarray


def sample(keys: np.ndarray, opinions: int, n_classes: int) -> np.ndarray:
    """Which rows to fit on, (r,) int64 in ascending order: those of the smallest keys, so that the same
    ones are taken however the rows are dealt; all of them where they are few enough."""
    most = max(min(ROWS, NUMBERS // max(opinions * n_classes, 1)), 1)
    return np.sort(np.argsort(keys, kind="stable")[:most])


def fit(log_probs: np.ndarray, labels: np.ndarray) -> Stack:
    """Opinions (m, n, k) float, finite log-probabilities out of sample, and labels (n,) int in 0..k-1.

    Without rows, or with one class, the opinions weigh the same and no label is doubted.
    """
    m, n, k = log_probs.shape
    if not n or k == 1:
        return Stack(np.full(m, 1 / m), 1.0, np.eye(k))
    probs = np.exp(log_probs.astype(np.float64))
    probs /= probs.sum(axis=2, keepdims=True)
    starts = np.eye(k) * 0.9 + 0.1 / k, agreement(probs.mean(axis=0), labels)
    ends = [descend(probs, labels, start) for start in starts]
    return min(ends, key=lambda end: end[0])[1]


def agreement(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often rows whose likeliest class is c have label j, (k, k) float64, rows sum to 1; `PRIOR` rows of
    which nine in ten kept their label are added to each class. probs: (n, k); labels: (n,) int."""
    k = probs.shape[1]
    counts = np.bincount(probs.argmax(axis=1) * k + labels, minlength=k * k).reshape(k, k)
    counted = counts + PRIOR * (np.eye(k) * 0.9 + 0.1 / k)
    shares: np.ndarray = counted / counted.sum(axis=1, keepdims=True)
    return shares


def descend(probs: np.ndarray, labels: np.ndarray, start: np.ndarray) -> tuple[float, Stack]:
    """Where L-BFGS ends from T = `start`, and how high that still is. probs: (m, n, k) float64, rows sum
    to 1; labels: (n,) int; start: (k, k), all positive."""
    import torch

    m, n, _ = probs.shape
    opinions, given = torch.from_numpy(probs), torch.from_numpy(labels.astype(np.int64))
    merits = torch.zeros(m, dtype=torch.float64, requires_grad=True)
    sharpness = torch.zeros((), dtype=torch.float64, requires_grad=True)
    noise = torch.log(torch.from_numpy(start)).requires_grad_()

    def loss() -> torch.Tensor:
        mixed = torch.einsum("m,mnk->nk", merits.softmax(0), opinions)
        clean = (sharpness.exp() * mixed.log()).softmax(1)
        matrix = noise.softmax(1)
        likelihood = (clean * matrix.T[given]).sum(1).log().mean()
        before = torch.diagonal(noise.log_softmax(1)).sum() - sharpness**2 / 2
        value: torch.Tensor = (
            VOLUME * torch.linalg.slogdet(matrix).logabsdet - likelihood - PRIOR / n * before
        )
        return value

    solver = torch.optim.LBFGS(
        [merits, sharpness, noise],
        max_iter=STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        solver.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        stack = Stack(merits.softmax(0).numpy(), float(sharpness.exp()), noise.softmax(1).numpy())
        return float(loss()), stack


def mixture(log_probs: np.ndarray, weights: np.ndarray, temperature: float) -> np.ndarray:
    """p of the module's docstring: (m, n, k) float log-probabilities -> (n, k) float64, rows sum to 1.

    Sums run over the opinions in the order given, so a row's bytes do not depend on the others.
    """
    mixed = np.zeros(log_probs.shape[1:])
    for weight, opinion in zip(weights, log_probs, strict=True):
        probs = np.exp(opinion.astype(np.float64, order="C"))
        mixed += weight * (probs / probs.sum(axis=1, keepdims=True))
    return sharpened(mixed, temperature)


def sharpened(probs: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(temperature * log(probs)): (n, k) float, rows with a positive number -> (n, k) float64."""
    with np.errstate(divide="ignore"):
        logits = temperature * np.log(probs.astype(np.float64, order="C"))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return shares


def posterior(probs: np.ndarray, labels: np.ndarray, noise_matrix: np.ndarray) -> np.ndarray:
    """P(truth c | row, label) = p[c] T[c, label] / (p T)[label]: (n, k) float64, rows sum to 1.

    Bayes' rule under class-dependent noise, as in Patrini et al. 2017. probs: (n, k); labels: (n,) int.
    A label that T holds to be impossible leaves p as it is.
    """
    joint = probs * noise_matrix.T[labels]
    total = joint.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.where(total > 0, joint / np.where(total > 0, total, 1), probs)
    return shares
