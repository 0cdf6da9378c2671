"""One probability that a label is wrong, from the soft labels and from all other detectors.

**Without people.** The soft label, made sharper or softer by a temperature, and a noise matrix fitted
with it (`tasks.noise_matrix`) give the posterior P(truth | row, given label), which is right where errors
depend on the class alone. Where they depend on the row, as people's do, the noise matrix shows too little
noise and the given label is believed too much; the soft label alone does not believe it at all. P(error)
is the mean of what the two leave for the other classes: an even bet between both kinds of noise, which on
digits with planted uniform and pairwise noise has a lower Brier score than either. Nobody has checked it,
and a note says so. The most probable rows of the window are flagged, as many as P(error) adds up to: where
errors depend on the row it seldom passes a half, yet ranks them well. On digits whose hardest fifth was
mislabelled a half finds 6 to 8% of the errors and the sum 48%, 92% of what it flags being wrong.

**With people.** Their decisions in the window say of some rows whether the given label was wrong. A
ridge logistic regression (Platt, "Probabilistic Outputs for Support Vector Machines", 1999, with many
scores in place of one) maps what is known of a row, as log-odds, to that: the posterior, the sharpened
soft label's probability of the given class, each detector's score. It is cross-fitted: five models,
each on four fifths of the decisions (a row's fifth follows from its content), judge the fifth that they
did not see; a line through those log-odds is fitted to what people said, and undoes the confidence
that a model has in what it learned from. A new row gets the mean of the five models' log-odds, and the
line. Which rows people looked at may depend on the scores in any way: the scores are what is
conditioned on. It must not depend on anything else that has to do with errors.

Cost: three passes over the window's soft labels, and the detectors once more on the rows that people
decided on.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks import noise_matrix
from tasks.data import Issues, Labelled, State
from tasks.detect import Detector, Window
from tasks.seeds import folds_of

FOLDS = 5
LEVELS = 1 << 16
"""P(error) is compared and summed in these steps, so that sums are exact whatever the order."""

HALF = LEVELS // 2 + 1
"""The lowest level above a half."""
LEAST = 1e-4
"""A class that the teachers rule out keeps this probability: they may be wrong."""


class Combined(Detector):
    """P(error) from the stacked posterior and every detector's score, calibrated on people's decisions."""

    kind: Literal["combined"] = "combined"
    revision: ClassVar[int] = 2
    paper: ClassVar[str] = (
        "Platt, Probabilistic Outputs for Support Vector Machines, 1999; Patrini et al. 2017"
    )
    combines: ClassVar[bool] = True

    least_reviews: int = Field(
        50,
        ge=20,
        description="decisions of people from which they calibrate, a tenth of them errors and a tenth not",
    )

    def fit(self, window: Window) -> State:
        """Arrays: `noise_matrix` (k, k); with enough decisions also `mean`, `scale` (f,), `coef` (5, f),
        `intercept` (5,) and `line` (2,), all float64. Info: `temperature`, `reviews` (how many calibrate,
        0 for none), `flag_from` (the level of P(error), in LEVELS) and `notes`."""
        from tasks.detect.calibration import calibrate

        log_probs, labels = sampled(window)
        stack = noise_matrix.fit(log_probs[None], labels)
        known = {"temperature": stack.temperature, "reviews": 0, "flag_from": HALF}
        state = State({"noise_matrix": stack.noise_matrix}, known)
        people = window.people()
        people = people.take(people.labels >= 0)
        assert people.decided is not None
        wrong = people.decided != people.labels
        few = min(int(wrong.sum()), int((~wrong).sum()))
        if len(people) < self.least_reviews or few < self.least_reviews / 10:
            state.info["flag_from"] = as_many_as_expected(window, state)
            state.info["notes"] = [
                f"p_error is not calibrated by people: they decided on {len(people)} rows of the window and "
                f"found {int(wrong.sum())} errors; {self.least_reviews} rows calibrate it, a tenth of them "
                "errors and a tenth not"
            ]
            return state
        calibration = calibrate(features(people, state), wrong, folds_of(people.keys, FOLDS))
        info = {**state.info, "reviews": len(people), "notes": []}
        return State({**state.arrays, **calibration}, info)

    def apply(self, shard: Labelled, state: State, window: Window) -> Issues:
        """p_error as above and score 1 - p_error; once people calibrate it, an issue is what is more likely
        wrong than right. The suggestion is the likeliest other class."""
        from tasks.detect.calibration import p_error as judged

        n, known = len(shard), shard.labels >= 0
        p_error = np.zeros(n)
        rows = shard.take(known)
        if len(rows):
            calibrated = state.info["reviews"] > 0
            said = judged(features(rows, state), state.arrays) if calibrated else uncalibrated(rows, state)
            p_error[known] = said
        others = shard.soft.pred_probs()
        others[known, shard.labels[known]] = -1.0
        suggested = (
            others.argmax(axis=1).astype(np.int32) if others.shape[1] > 1 else np.full(n, -1, np.int32)
        )
        return Issues(
            shard.ids,
            (1 - p_error).astype(np.float32),
            level(p_error) >= state.info["flag_from"],
            suggested,
            p_error.astype(np.float32),
        )


def sampled(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (r, k) and labels (r,) of the labelled training rows that the noise matrix is
    fitted on, in window order."""
    keys = np.concatenate([shard.keys[shard.learnable] for shard in window])
    chosen = keys[noise_matrix.sample(keys, 1, window.n_classes)]
    last = chosen.max() if len(chosen) else np.uint64(0)
    probs, labels = [np.zeros((0, window.n_classes))], [np.zeros(0, np.int32)]
    for shard in window:
        taken = shard.soft.take(shard.learnable & (shard.keys <= last))
        probs.append(np.maximum(taken.pred_probs(), LEAST))
        labels.append(taken.labels)
    return np.log(np.concatenate(probs)), np.concatenate(labels)


def uncalibrated(rows: Labelled, state: State) -> np.ndarray:
    """P(error) of labelled rows as nobody checked it, (n,) float64."""
    return np.asarray(1 - np.mean(qualities(rows, state)[:2], axis=0))


def level(p_error: np.ndarray) -> np.ndarray:
    """(n,) float in 0..1 -> (n,) int64 in 0..LEVELS, rounded up."""
    levels: np.ndarray = np.ceil(p_error * LEVELS).astype(np.int64)
    return levels


def as_many_as_expected(window: Window, state: State) -> int:
    """The level from which on there are no more rows of the window than P(error) adds up to; HALF at most."""
    rows_at = np.zeros(LEVELS + 1, np.int64)
    for shard in window:
        rows_at += np.bincount(level(uncalibrated(shard.take(shard.learnable), state)), minlength=LEVELS + 1)
    expected = int(rows_at @ np.arange(LEVELS + 1)) // LEVELS
    from_here_on = rows_at[::-1].cumsum()[::-1]
    return int(np.clip(np.argmax(from_here_on <= expected), 1, HALF))


def qualities(rows: Labelled, state: State) -> list[np.ndarray]:
    """What speaks for the given label of labelled rows, each (n,) in 0..1: its probability once the label
    is known, its probability before, and the detectors' scores."""
    given = np.arange(len(rows)), rows.labels
    clean = noise_matrix.sharpened(np.maximum(rows.soft.pred_probs(), LEAST), state.info["temperature"])
    kept = noise_matrix.posterior(clean, rows.labels, state.arrays["noise_matrix"])
    return [kept[given], clean[given], *(found.score for found in rows.findings)]


def features(rows: Labelled, state: State) -> np.ndarray:
    """The same as log-odds of an error, (n, 2 + detectors) float64."""
    from tasks.detect.calibration import error_odds

    return np.stack([error_odds(quality) for quality in qualities(rows, state)], axis=1)
