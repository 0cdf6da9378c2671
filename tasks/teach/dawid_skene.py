"""Dawid and Skene's model of people who label: everyone has a confusion matrix, true classes are hidden.

Dawid & Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied
Statistics 28 (1979), section 3: EM alternates the classes' posterior of every row and the annotators'
matrices, starting from the shares of each row's labels. The start, not chance, keeps the classes' names.

Two additions, both off at `smoothing=0`, which is the paper's method. An annotator with few labels has
zeros in their matrix, and one unusual label then decides a row: so each line of each matrix begins with
`smoothing` imaginary labels, dealt out as all annotators' labels lie about the starting shares. They are
fixed before the first step, so EM climbs the evidence plus their logarithm (a Dirichlet prior) and that
sum never falls. And no label of the imaginary ones is impossible.

Assumes that labels of a row are independent given its class. Hard rows break that, so the posterior is
surer than it is right, and nothing in the labels tells by how much: a temperature fitted to what a row's
other labels say of each label is 1 within its error, since that likelihood is what EM maximises.

Labels are long, one entry a label: O(labels k) a step, and M k^2 numbers for M annotators. Sums run over
labels in their order, class by class (`np.bincount`), so a row's posterior depends on its own labels
and not on how many other rows there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.teach.votes import Votes

GAIN, STEPS = 1e-5, 100
"""Stop when the evidence gains less than this many nats a label; and the most steps. Both as in Toloka's
crowd-kit, whose bound is the same quantity."""


@dataclass(frozen=True)
class Crowd:
    """What is known of the annotators.

    prior: (k,) float64, the classes' shares. confusion: (M + 1, k, k) float64, [j, c, l] is the
    probability that j says l of a row of class c; the last one is of an annotator that nobody knows.
    evidence: log-likelihood (with `smoothing`, plus the prior's) after each step, in nats.
    """

    prior: np.ndarray
    confusion: np.ndarray
    evidence: tuple[float, ...]


def fit(votes: Votes, n_annotators: int, n_classes: int, smoothing: float) -> Crowd:
    """Run EM from the shares of each row's labels. Rows without a label say nothing.

    smoothing: imaginary labels a line of a matrix, at least 0. Without votes every class is as likely
    as any other, and so is every answer.
    """
    k = n_classes
    given = np.bincount(votes.row, minlength=votes.n_rows)
    voted = given > 0
    posterior = shares(votes, k)
    pooled = counts(votes, posterior, 1, k, np.zeros(len(votes), np.int64))[0] + 1 / k
    pooled /= pooled.sum(axis=1, keepdims=True)
    imaginary = np.broadcast_to(smoothing * pooled, (n_annotators, k, k))
    prior, confusion = np.full(k, 1 / k), np.broadcast_to(pooled, (n_annotators, k, k))
    reached: list[float] = []
    for _ in range(STEPS if len(votes) else 0):
        prior = posterior[voted].sum(axis=0) / voted.sum()
        confusion = normalised(counts(votes, posterior, n_annotators, k, votes.annotator) + imaginary)
        joint = log_joint(votes, prior, confusion)[voted]
        total = float(log_sum(joint).sum())
        total += float((imaginary * log_of(confusion)).sum()) if smoothing else 0.0
        posterior[voted] = np.exp(joint - log_sum(joint)[:, None])
        reached.append(total)
        if len(reached) > 1 and total - reached[-2] < GAIN * len(votes):
            break
    return Crowd(prior, np.concatenate([confusion, pooled[None]]), tuple(reached))


def accuracy(crowd: Crowd) -> np.ndarray:
    """How often each annotator is right of a row drawn like the window's: (M + 1,) float64."""
    return np.asarray(np.einsum("c,jcc->j", crowd.prior, crowd.confusion))


def shares(votes: Votes, n_classes: int) -> np.ndarray:
    """The share of each row's labels that are of each class, (n, k) float64; zeros without labels."""
    place = votes.row * n_classes + votes.label
    found = np.bincount(place, minlength=votes.n_rows * n_classes).reshape(votes.n_rows, n_classes)
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1))


def counts(
    votes: Votes, posterior: np.ndarray, n_annotators: int, k: int, annotator: np.ndarray
) -> np.ndarray:
    """How often each annotator said each class of rows of each class, in expectation: (M, k, k)."""
    place, size = annotator * k + votes.label, n_annotators * k
    lines = [np.bincount(place, posterior[votes.row, c], size).reshape(n_annotators, k) for c in range(k)]
    return np.stack(lines, axis=1)


def normalised(expected: np.ndarray) -> np.ndarray:
    """Lines that sum to 1; a line without any label says nothing: every answer is as likely."""
    total = expected.sum(axis=2, keepdims=True)
    return np.where(total > 0, expected / np.where(total > 0, total, 1), 1 / expected.shape[2])


def log_joint(votes: Votes, prior: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """log p(class, the row's labels), (n, k) float64; -inf where that cannot be."""
    said = log_of(confusion)
    lines = [
        np.bincount(votes.row, said[votes.annotator, c, votes.label], votes.n_rows) for c in range(len(prior))
    ]
    return np.asarray(log_of(prior) + np.stack(lines, axis=1))


def posterior_of(votes: Votes, crowd: Crowd) -> np.ndarray:
    """The classes' probabilities given the labels, (n, k) float64; a row without any has the prior.

    Labels that nobody could have given by the matrices say nothing of the class: the prior again.
    """
    joint = log_joint(votes, crowd.prior, crowd.confusion)
    joint = np.where(np.isfinite(joint).any(axis=1, keepdims=True), joint, log_of(crowd.prior))
    return np.asarray(np.exp(joint - log_sum(joint)[:, None]))


def log_of(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities))


def log_sum(values: np.ndarray) -> np.ndarray:
    """log sum exp over the last axis; -inf where all are."""
    top = values.max(axis=1, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, 0.0)
    return np.asarray(log_of(np.exp(values - safe[:, None]).sum(axis=1)) + safe)
