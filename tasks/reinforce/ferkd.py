"""FerKD: crops graded by how sure the teachers are of them, and their targets adapted to that.

Shen, "FerKD: Surgical Label Adaptation for Efficient Distillation", ICCV 2023. With m the largest
probability that the teachers give on a crop: below `lower` the crop is background or noise and is
dropped; from there to `upper` it shows the object's surroundings, and its target becomes the row's
label, softened; from `upper` on the teachers' opinion stands. SelfMix then mixes crops of one
image with each other, by a box or by weights, and their targets with the same exact share.

The label is the one that was decided, and it is only put where nobody doubts it: a row that was
flagged keeps the teachers' opinion, since wrong labels gather just where teachers are unsure. A crop on
which they are sure of another class keeps their opinion too. A row never loses all of its crops:
the one they are surest of stays. Thresholds compare the integers that are stored.

The paper's thresholds suit 1,000 classes; these defaults suit ten, where chance is 0.1. Crops must be
small for hard ones to occur, hence `scale` from 0.08. It assumes calibrated teachers: one that is
always sure makes this plain reinforcement. Cost: that of `crops`, and a pass over the probabilities.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tasks.data import ONE
from tasks.reinforce import NO_PARTNER, REGIONS, Adapted, Transforms, mixing
from tasks.reinforce.cropping import Cropping, Numbers, Share

HARD, CONFIDENT = REGIONS.index("hard"), REGIONS.index("confident")


class FerKD(Cropping):
    """Random crops without the hopeless ones, doubtful ones calibrated by the label, and SelfMix."""

    kind: Literal["ferkd"] = "ferkd"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Shen, FerKD: Surgical Label Adaptation for Efficient Distillation, ICCV 2023"
    adapts: ClassVar[bool] = True

    scale: tuple[Share, Share] = Field(
        (0.08, 1.0), description="smallest and largest share of the image's area in a crop"
    )
    lower: float = Field(0.2, ge=0, le=1, description="crops that teachers are less sure of are dropped")
    upper: float = Field(
        0.5, ge=0, le=1, description="crops that teachers are less sure of get the softened label"
    )
    smoothing: float = Field(0.1, ge=0, lt=1, description="what the softened label leaves to other classes")
    self_mix: float = Field(0.5, ge=0, le=1, description="chance that a crop is mixed with one of its row's")

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(f"lower is {self.lower}, must be at most upper, {self.upper}")
        return self

    def further(self, number: Numbers, shape: tuple[int, ...]) -> Transforms:
        """SelfMix's numbers: half of the mixed views by a box, half by weights. The partner is the row's
        next draw; `adapt` goes on to the next that is kept."""
        if not self.self_mix:
            return {}
        chance = number("mix")
        pastes = chance < self.self_mix / 2
        blends = ~pastes & (chance < self.self_mix)
        box = mixing.boxes(map(number, ("paste_area", "paste_line", "paste_column")), shape)
        following = (np.arange(len(chance)) + 1) % self.draws
        return {
            "partner_draw": np.where(pastes | blends, following, NO_PARTNER).astype(np.int16),
            "own_weight": np.where(blends, mixing.own_weights(number("own")), ONE).astype(np.int16),
            **{name: np.where(pastes, pixels, 0).astype(np.int16) for name, pixels in box.items()},
        }

    def redraw(self, views: np.ndarray, transforms: Transforms) -> np.ndarray:
        return views

    def mix(self, views: np.ndarray, others: np.ndarray, transforms: Transforms) -> np.ndarray:
        """SelfMix of views with others of the same rows: (m, h, w, c) uint8, twice."""
        return mixing.mixed_in(views, others, transforms)

    def adapt(
        self,
        pred_probs: np.ndarray,
        labels: np.ndarray,
        flagged: np.ndarray,
        transforms: Transforms,
        shape: tuple[int, ...],
    ) -> Adapted:
        """Grade, drop, calibrate and mix; see Reinforcer.adapt."""
        sure = np.rint(pred_probs.max(axis=1, initial=0) * ONE).astype(np.int64)
        bounds = [int(np.rint(bound * ONE)) for bound in (self.lower, self.upper)]
        regions = np.digitize(sure, bounds).astype(np.int8)
        keep = (regions > HARD).reshape(-1, self.draws)
        surest = sure.reshape(-1, self.draws).argmax(axis=1)[:, None]
        keep |= ~keep.any(axis=1, keepdims=True) & (np.arange(self.draws) == surest)
        vouched = np.repeat((labels >= 0) & ~flagged, self.draws)
        hard_labels = np.repeat(softened(labels, pred_probs.shape[1], self.smoothing), self.draws, axis=0)
        targets = np.where((vouched & (regions < CONFIDENT))[:, None], hard_labels, pred_probs)
        if self.self_mix:
            partner_draw = np.where(transforms["partner_draw"] >= 0, following_kept(keep).ravel(), NO_PARTNER)
            transforms = {**transforms, "partner_draw": partner_draw.astype(np.int16)}
            targets = self._mixed(targets, transforms, shape)
        return Adapted(keep.ravel(), targets.astype(np.float32), transforms, regions)

    def _mixed(self, targets: np.ndarray, t: Transforms, shape: tuple[int, ...]) -> np.ndarray:
        """Each view's target with its exact share, the rest of it the partner's."""
        area = shape[0] * shape[1]
        own = t["own_weight"] * (area - t["paste_height"].astype(np.int64) * t["paste_width"])
        places = np.arange(len(targets))
        partner = np.where(
            t["partner_draw"] < 0, places, places // self.draws * self.draws + t["partner_draw"]
        )
        share = (own / (ONE * area))[:, None]
        return np.asarray(share * targets + (1 - share) * targets[partner])


def softened(labels: np.ndarray, n_classes: int, smoothing: float) -> np.ndarray:
    """1 - smoothing on the label, the rest even over the others: (n,) int32 -> (n, n_classes) float64;
    of a row without a label it says nothing useful."""
    if n_classes == 1:
        return np.ones((len(labels), 1))
    targets = np.full((len(labels), n_classes), smoothing / (n_classes - 1))
    targets[np.arange(len(labels)), labels] = 1 - smoothing
    return targets


def following_kept(keep: np.ndarray) -> np.ndarray:
    """For each draw the next of its row that is kept, the first after the last; NO_PARTNER where that is
    itself, or it is not kept. (n, draws) bool -> int64."""
    n, draws = keep.shape
    found, following = np.full((n, draws), NO_PARTNER), np.full(n, NO_PARTNER)
    for place in reversed(range(2 * draws)):
        draw = place % draws
        if place < draws:
            found[:, draw] = np.where(keep[:, draw] & (following != draw), following, NO_PARTNER)
        following = np.where(keep[:, draw], draw, following)
    return found
