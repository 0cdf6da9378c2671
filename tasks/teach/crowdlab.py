"""CROWDLAB: what a classifier and several annotators together say of a row, and how good each of them is.

Goh, Tkachenko & Mueller, "CROWDLAB: Supervised Learning to Infer Consensus Labels and Quality Scores for
Data with Multiple Annotators", arXiv 2210.06812. The posterior of a row is a weighted average of the
classifier's probabilities and of one vector a label received, which holds the chance that a label is the
consensus on its own class and the rest on the others. Weights are one number an annotator and one for
the classifier: by how much each errs less than whoever always answers the commonest class. No iteration,
and one label a row is enough, as long as some rows have two.

Assumes probabilities out of sample, of a classifier that does not see the annotations: one trained on the
very rows it judges confirms itself. Annotators who copy each other look good, and one who is always wrong
is left out rather than read backwards; `dawid_skene` does that.

The same numbers as cleanlab 2.9's `get_label_quality_multiannotator`, which takes a matrix of rows by
annotators and M passes over it for each of M annotators. Here agreement comes from how often each class
was said of a row, so the cost is O(labels) beside O(n k) for the posterior. Ties of the first majority
vote that its first three rules leave go to the lowest class, where cleanlab draws one at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.teach.votes import Votes

LEAST = 1e-6
"""The smallest weight, and the smallest error of whoever always answers the commonest class."""


@dataclass(frozen=True)
class Weights:
    """annotators: (M,) float64. model: float. agreement: the chance that a label is the consensus."""

    annotators: np.ndarray
    model: float
    agreement: float


@dataclass(frozen=True)
class Judgement:
    """consensus: (n,) int64. posterior: (n, k) float64. label_quality: (L,) float64 of each label received.
    annotator_quality: (M,) float64, NaN for whom no row shares with another."""

    weights: Weights
    consensus: np.ndarray
    posterior: np.ndarray
    label_quality: np.ndarray
    annotator_quality: np.ndarray


def judge(votes: Votes, pred_probs: np.ndarray, n_annotators: int) -> Judgement:
    """The consensus by the best quality, from pred_probs (n, k) of the rows that the votes are of.

    The majority vote is the consensus that the first weights go by; the second, and what is returned, go by
    the consensus of the first posterior. Rows without a vote have the classifier's probabilities. Raises
    ValueError where no row has two labels: then there is nothing to weigh anyone by.
    """
    k = pred_probs.shape[1]
    said = counts_of(votes, k)
    if not (said.sum(axis=1) > 1).any():
        raise ValueError("no row has labels of two annotators, so nobody's quality can be told")
    consensus = majority(votes, said, pred_probs, n_annotators)
    for _ in range(2):
        weights = weigh(votes, said, pred_probs, consensus, n_annotators)
        judged = posterior(votes, pred_probs, weights)
        before, best = consensus, judged.max(axis=1)
        clear = (judged == best[:, None]).sum(axis=1) == 1
        consensus = np.where(clear, judged.argmax(axis=1), consensus)
    own = judged[votes.row, votes.label]
    return Judgement(weights, before, judged, own, quality(votes, said, before, own, weights))


def counts_of(votes: Votes, k: int) -> np.ndarray:
    """How often each class was said of each row, (n, k) int64."""
    place = votes.row * k + votes.label
    return np.asarray(np.bincount(place, minlength=votes.n_rows * k).reshape(votes.n_rows, k))


def weigh(
    votes: Votes, said: np.ndarray, pred_probs: np.ndarray, consensus: np.ndarray, n_annotators: int
) -> Weights:
    """Everyone's weight, given a consensus (n,); from the rows that have more than one label."""
    k, given = said.shape[1], said.sum(axis=1)
    several = given > 1
    agreeing = said[several, consensus[several]] / given[several]
    commonest = np.bincount(consensus[several], minlength=k).argmax()
    floor = max(float((consensus[several] != commonest).mean()), LEAST)
    shared = several[votes.row]
    annotator, row = votes.annotator[shared], votes.row[shared]
    others = np.bincount(annotator, said[row, votes.label[shared]] - 1, n_annotators)
    asked = np.bincount(annotator, given[row] - 1, n_annotators)
    with np.errstate(invalid="ignore"):
        agrees = np.where(asked > 0, others / asked, np.nan)
    agrees = np.where(np.isnan(agrees), np.nanmean(agrees), agrees)
    wrong = float((pred_probs[several].argmax(axis=1) != consensus[several]).mean())
    model = max(1 - wrong / floor, LEAST) * np.sqrt(given[given > 0].mean())
    return Weights(np.maximum(1 - (1 - agrees) / floor, LEAST), float(model), float(agreeing.mean()))


def posterior(votes: Votes, pred_probs: np.ndarray, weights: Weights) -> np.ndarray:
    """(n, k) float64, each row by its own votes and probabilities. Raises nothing: an annotator number
    M, whom the weights do not know, counts as the mean of those they know."""
    n, k = pred_probs.shape
    known = np.append(weights.annotators, weights.annotators.mean())
    weight = known[votes.annotator]
    total = np.bincount(votes.row, weight, n)
    said = np.bincount(votes.row * k + votes.label, weight, n * k).reshape(n, k)
    other = (1 - weights.agreement) / max(k - 1, 1)
    heard = said * weights.agreement + (total[:, None] - said) * other
    return np.asarray((weights.model * pred_probs + heard) / (weights.model + total)[:, None])


def quality(
    votes: Votes, said: np.ndarray, consensus: np.ndarray, own: np.ndarray, weights: Weights
) -> np.ndarray:
    """(M,) float64: the mean quality of one's labels, and how often they are the consensus, weighted."""
    m, given = len(weights.annotators), said.sum(axis=1)
    shared = given[votes.row] > 1
    right = votes.label[shared] == consensus[votes.row[shared]]
    labels, several = np.bincount(votes.annotator, minlength=m), np.bincount(votes.annotator[shared], None, m)
    with np.errstate(invalid="ignore"):
        mean_quality = np.bincount(votes.annotator, own, m) / labels
        agrees = np.bincount(votes.annotator[shared], right, m) / several
    people = weights.annotators.sum() * given[given > 0].mean() / m
    share = weights.model / (weights.model + people)
    return np.asarray(share * mean_quality + (1 - share) * agrees)


def majority(votes: Votes, said: np.ndarray, pred_probs: np.ndarray, n_annotators: int) -> np.ndarray:
    """The class said most often of each row, (n,) int64; the likeliest where nothing was said.

    Among equals: the likeliest class; then the one said least often of all rows; then the one whose voters
    agree more often with the majority of rows without a tie; then the lowest.
    """
    tied = said == said.max(axis=1, keepdims=True)
    alone = tied.sum(axis=1) == 1
    clear = alone[votes.row]
    annotator, row = votes.annotator[clear], votes.row[clear]
    right = votes.label[clear] == said.argmax(axis=1)[row]
    with np.errstate(invalid="ignore"):
        agrees = np.bincount(annotator, right, n_annotators) / np.bincount(annotator, None, n_annotators)
    agrees = np.where(np.isnan(agrees), np.nanmean(agrees) if clear.any() else 0.0, agrees)
    place, size = votes.row * said.shape[1] + votes.label, said.size
    voters = np.bincount(place, agrees[votes.annotator], size).reshape(said.shape) / np.maximum(said, 1)
    for better in (pred_probs, np.broadcast_to(-said.sum(axis=0), said.shape), voters):
        among = np.where(tied, better, -np.inf)
        tied &= among == among.max(axis=1, keepdims=True)
    return np.asarray(tied.argmax(axis=1))
