"""Projector: labels of any view of a distilled set, made by a small network instead of stored.

Yu et al., "Heavy Labels Out! Dataset Distillation with Label Space Lightening" (HeLlO), 2024. The network
and what differs from the paper's are in `projection`. It learns, from views of trusted rows, what the
curation's teachers say of them who left out the row's fold (a view mixed of two rows goes by one of them),
and is kept as a state beside the set: `answers` labels views at training time.

The paper's second step, which moves the distilled images themselves until projector and teacher agree, is
left out: images would then be made for one projector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.method import Method

if TYPE_CHECKING:
    from tasks.distill import Ask
    from tasks.distill.recipe import AskView


class Projector(Method):
    """HeLlO: a low-rank change of an encoder that costs no bytes, to say what the teachers say."""

    kind: Literal["projector"] = "projector"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Yu et al., Heavy Labels Out!, 2024"

    rank: int = Field(8, ge=1, description="of the change to each convolution")
    width: int = Field(32, ge=1, description="filters of the encoder, whose weights a number gives")
    steps: int = Field(2000, ge=0, description="steps of 64 views that it learns from")
    rows: int = Field(50_000, ge=1, description="rows that views are of, at most")
    flip: bool = Field(False, description="let views be mirrored; wrong for digits")

    def fit(self, examples: Examples, ask: Ask, n_classes: int, seed: int, device: str) -> State:
        """From rows with images and labels, at least one. ValueError for sides under 8 pixels."""
        from tasks.distill import projection
        from tasks.distill.look import Look

        images = examples.images
        assert images is not None

        def say(views: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return ask(Examples(examples.ids[rows], examples.keys[rows], examples.labels[rows], images=views))

        stored = projection.fit(
            images,
            examples.labels,
            say,
            classes=n_classes,
            width=self.width,
            rank=self.rank,
            steps=self.steps,
            look=Look(flip=self.flip),
            seed=seed,
            device=device,
        )
        return State(stored, {"shape": list(images.shape[1:])})


def answers(state: State, device: str = "cpu") -> AskView:
    """Who labels views in the teachers' place: (n, h, w, c) uint8 -> log-probabilities (n, k) float32."""
    from tasks.distill import projection

    height, width, channels = state.info["shape"]
    return projection.asker(state.arrays, (height, width, channels), device)
