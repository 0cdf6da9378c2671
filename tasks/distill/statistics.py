"""Statistics: images made from noise, to what a trained network keeps of the rows that it learned from.

Yin, Xing & Shen, "Squeeze, Recover and Relabel" (SRe2L), NeurIPS 2023. A network learns all classes
(squeeze); images start as noise and move until the network sees their class in them and the batch has the
means and variances that its batch norms keep (recover, see `inversion`); labels are the same network's
(relabel: `labels: static`). No pixel is of any row, which is what the method is for: only the network
looks at rows.

Statistics are those of a batch, so every batch holds all classes alike, of each as many images as fit in
`batch_size`, and is learnt together. LPLD (Xiao & He, NeurIPS 2024) keeps statistics a class and batches
within one: more diverse images, but it takes a pass over the rows for each class, and the network would
bind the classes together all the same.

What differs from the paper: networks are the small residual ones of the teacher `convnet`, its best
checkpoint in place of the last; one stored label an image in place of one for each of 300 epochs, since
those outweigh the images (`python -m benchmarks label_bytes`).

Assumes decided labels: what the network learned wrongly shows. Of ten classes at ten images each the paper
loses to random rows by hard labels (as INFER, ICLR 2025, table 1 has it for CIFAR-10): take `matching`
where accuracy counts. Cost: the network's training, and `steps` forward and backward passes of each image.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.distill import Distilled, Joint, Read
from tasks.seeds import seed_of
from tasks.teach.convnet import Convnet


class Statistics(Joint):
    """SRe2L: images from noise that a network knows, with the statistics that it was trained on."""

    kind: Literal["statistics"] = "statistics"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Yin et al., Squeeze, Recover and Relabel, NeurIPS 2023"
    reads: ClassVar[frozenset[Read]] = frozenset({"images"})
    memory: ClassVar[int | None] = 2**30

    per_class: int = Field(10, ge=1, description="images made of each class")
    network: Convnet = Field(
        Convnet(), description="what is trained on the rows, as the teacher of that kind"
    )
    steps: int = Field(1000, ge=1, description="gradient steps of each image; the paper takes 1,000 to 4,000")
    learning_rate: float = Field(0.25, gt=0, description="of Adam, in standard deviations of the pixels")
    weight: float = Field(0.01, ge=0, description="of the statistics against the classes; the paper's")
    jitter: int = Field(4, ge=0, description="most pixels that a batch is rolled by in a step")
    batch_size: int = Field(
        100, ge=1, description="images learnt together, at most, but at least one of each class"
    )
    temperature: float = Field(1.0, gt=0, description="of static labels: higher ones are softer")

    def fit(self, examples: Examples, seed: int, device: str) -> State:
        """The network, and `made` (per_class, classes, h, w, c) uint8. ValueError without images."""
        import torch

        from tasks.distill import networks
        from tasks.distill.inversion import Descent, clip, descend, pixels

        if examples.images is None:
            raise ValueError("statistics needs images and these rows have none; use herding or random")
        state = networks.trained([self.network], examples, seed, device)
        [network] = networks.networks_of(state, device)
        shape, k = examples.images.shape[1:], len(networks.classes_of(state))
        how, each = Descent(self.steps, self.learning_rate, self.weight, self.jitter), self.batch_size // k
        made = []
        for first in range(0, self.per_class, max(each, 1)):
            rounds = min(max(each, 1), self.per_class - first)
            generator = torch.Generator().manual_seed(seed_of(seed, "recover", first))
            noise = torch.randn((rounds * k, *shape), generator=generator).to(device)
            learnt = descend(
                network,
                noise,
                lambda moved: moved,
                torch.arange(k).repeat(rounds).to(device),
                how,
                generator,
                clip=lambda moved: clip(moved, network),
            )
            made.append(pixels(learnt, network).reshape(rounds, k, *shape).cpu().numpy())
        return State({**state.arrays, "made": np.concatenate(made)}, state.info)

    def cut(self, state: State, label: int) -> Distilled:
        """`per_class` images that are of no row; a prefix was learnt with the rest."""
        from tasks.distill.networks import classes_of

        images = state.arrays["made"][:, np.searchsorted(classes_of(state), label)]
        return Distilled([[] for _ in images], images=images)

    def opinion(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        from tasks.distill import networks

        assert examples.images is not None
        return networks.opinion(state, examples.images, self.temperature, n_classes, device)
