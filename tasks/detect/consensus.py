"""How noisy labels are, from how often neighbours agree: the transition matrix by high-order consensus.

Zhu, Song & Liu, "Clusterability as an Alternative to Anchor Points When Learning with Noisy Labels",
ICML 2021 (HOC), section 3. A row and its two nearest rows are taken to have one true class c and
labels drawn independently, P(label a | class c) = T[c, a]. Then, with p the prior of the true classes,

    P(a) = sum_c p[c] T[c, a],     P(a, b) = sum_c p[c] T[c, a] T[c, b],
    P(a, b, d) = sum_c p[c] T[c, a] T[c, b] T[c, d],

and counts of single labels, pairs and triples identify T and p. They are matched by the sum of the three
Euclidean distances, T and p kept stochastic by a softmax, with Adam (Kingma & Ba, ICLR 2015): rate .1
and 400 steps as in SimiFeat's code, from T mostly diagonal and p uniform; the best step is kept. The
start picks, of the solutions that differ by renaming the classes, the one where labels are mostly right.

Deterministic on one thread. Cost: O(k^4) a step, memory O(k^3). Knows nothing of winnow.
"""

from __future__ import annotations

import numpy as np

STEPS, RATE = 400, 0.1
DIAGONAL = 5.0
"""The start's logit of a right label: e^5 to 1 against each wrong one."""
RANGE = 0.05, 0.95
"""The share taken for wrong where the estimate leaves 0..1, as in SimiFeat's code."""


def counts(own: np.ndarray, two: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,) and the two nearest rows' (n, 2) -> counts (k,), (k, k) and (k, k, k), int64."""
    one = np.bincount(own, minlength=k)
    pairs = np.bincount(own * np.int64(k) + two[:, 0], minlength=k * k)
    triples = np.bincount((own * np.int64(k) + two[:, 0]) * k + two[:, 1], minlength=k**3)
    return one, pairs.reshape(k, k), triples.reshape(k, k, k)


def solve(one: np.ndarray, pairs: np.ndarray, triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of labels, pairs and triples -> T (k, k), rows the true class, and p (k,), both float64.

    Without a count, the start: labels mostly right, every class alike.
    """
    import torch

    k, n = len(one), max(int(one.sum()), 1)
    seen = [torch.from_numpy(each / n) for each in (one, pairs, triples)]
    logits_t = (DIAGONAL * torch.eye(k, dtype=torch.float64)).requires_grad_()
    logits_p = torch.zeros(k, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits_t, logits_p], lr=RATE)
    least, best = torch.inf, (logits_t.detach().clone(), logits_p.detach().clone())
    for _ in range(STEPS if one.sum() else 0):
        t, p = logits_t.softmax(dim=1), logits_p.softmax(dim=0)
        weighted = p[:, None] * t
        expected = (
            weighted.sum(dim=0),
            weighted.T @ t,
            torch.einsum("ca,cb,cd->abd", weighted, t, t),
        )
        # The tiny number keeps the gradient of a distance finite where counts are matched exactly.
        apart = [((s - e).square().sum() + 1e-24).sqrt() for s, e in zip(seen, expected, strict=True)]
        loss = torch.stack(apart).sum()
        if loss.item() < least:
            least, best = loss.item(), (logits_t.detach().clone(), logits_p.detach().clone())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return best[0].softmax(dim=1).numpy(), best[1].softmax(dim=0).numpy()


def wrong(transition: np.ndarray, prior: np.ndarray, one: np.ndarray) -> np.ndarray:
    """The share of each given label that is wrong, by Bayes: 1 - T[c, c] p[c] / P(label c). (k,) float64."""
    labels = one / max(one.sum(), 1)
    right = np.divide(transition.diagonal() * prior, labels, out=np.zeros(len(one)), where=labels > 0)
    share = 1 - right
    low, high = RANGE
    return np.where(share <= 0, low, np.where(share >= 1, high, share))
