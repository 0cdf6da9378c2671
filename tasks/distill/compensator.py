"""Compensator: real rows, and a few images that make new ones of them when added, shared by all classes.

Zhang et al., "Breaking Class Barriers: Efficient Dataset Distillation via Inter-Class Feature Compensator"
(INFER), ICLR 2025. A group is one real image of every class. For each group and each of M trained networks
one image u is learnt so that, added to every image of the group, it leaves each in its class and brings
the batch's statistics to those that the network keeps of all rows (`inversion`). The set is the real
images and all clipped sums. A compensator is paid for by all classes: `per_class` images' worth of bytes
hold per_class / (1 + M / classes) groups, and teach as (1 + M) times as many images.

The table holds the sums, as images that anybody can read, so a class has more rows than `per_class`;
real images and compensators apart, as the fit keeps them, are fewer bytes (`docs/distill.md`).
`labels: static` is one label an image, the softmax of the networks' mean logits over `temperature`. A
student that mixes images mixes their labels alike. The paper mixes logits, before a softmax at temperature
30; what is stored are probabilities, whose mixtures differ from those by 0.001 on average at 30 and by 0.05
at the default of 4 (ten classes, made logits), which is still a label that can be read.

What differs from the paper:
- Sums are clipped while compensators are learnt, and not only at the end. Most pixels of pictures on black
  cannot get darker, and what counts on that is lost in the clipped sum: on Fashion-MNIST, 7 groups and 300
  steps, the statistics of stored sums came to lie at 20.1 from the network's, where the rows themselves are
  at 17.3; at 6.1 when clipped all along. Of rows that they were not learnt for they brought them from 16.1
  to 15.3.
- Networks are residual ones of several widths, where the paper takes four architectures.

Statistics of a batch are of as many images as there are classes. At ten they are mostly noise: the paper
gains 3 points on random rows of CIFAR-10 where it gains 26 of CIFAR-100 (ConvNet, ten images a class).

Assumes decided labels. Real rows are in the set: it is no more private than they are. Cost: M trainings,
and M * `steps` forward and backward passes of each real image.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.data import Examples, State
from tasks.distill import Distilled, Joint, Read
from tasks.distill.random import draw_rows
from tasks.seeds import seed_of
from tasks.teach.convnet import Convnet

if TYPE_CHECKING:
    import torch

    from tasks.teach.resnet import ResNet

NETWORKS = (Convnet(width=12), Convnet(width=16), Convnet(width=24))


class Compensator(Joint):
    """INFER: real images, and sums with compensators that all classes share."""

    kind: Literal["compensator"] = "compensator"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Zhang et al., Breaking Class Barriers, ICLR 2025"
    reads: ClassVar[frozenset[Read]] = frozenset({"images"})
    memory: ClassVar[int | None] = 2**30

    per_class: int = Field(
        10, ge=1, description="images a class whose bytes are spent on real images and compensators"
    )
    networks: Annotated[tuple[Convnet, ...], Field(min_length=1, max_length=16)] = Field(
        NETWORKS, description="what is trained on the rows: each gives a compensator for every group"
    )
    steps: int = Field(300, ge=0, description="gradient steps of a compensator; the paper takes 1,000")
    learning_rate: float = Field(0.25, gt=0, description="of Adam, in standard deviations of the pixels")
    weight: float = Field(1.0, ge=0, description="of the statistics against the classes; the paper's")
    jitter: int = Field(4, ge=0, description="most pixels that a batch is rolled by in a step")
    temperature: float = Field(4.0, gt=0, description="of static labels: higher ones are softer")

    def fit(self, examples: Examples, seed: int, device: str) -> State:
        """The networks, `rows` (groups, classes) of the real images and `real` (groups, classes, h, w, c)
        uint8, and `added` (networks, groups, h, w, c) float16 in grey levels.

        A class of fewer rows than groups repeats them. ValueError without images.
        """
        import torch

        from tasks.distill import inversion, networks

        def summed(moved: torch.Tensor, seen: torch.Tensor, network: ResNet) -> torch.Tensor:
            return inversion.clip(seen + moved, network).flatten(0, 1)

        if examples.images is None:
            raise ValueError("compensator needs images and these rows have none; use herding or random")
        state = networks.trained(self.networks, examples, seed, device)
        classes = networks.classes_of(state)
        rows = real_rows(examples, classes, groups_of(self.per_class, len(classes), len(self.networks)), seed)
        real = examples.images[rows]
        how = inversion.Descent(self.steps, self.learning_rate, self.weight, self.jitter)
        added = []
        for number, network in enumerate(networks.networks_of(state, device)):
            seen = inversion.units(torch.from_numpy(real).float().to(device), network)
            learnt = inversion.descend(
                network,
                torch.zeros_like(seen[:, :1]),
                partial(summed, seen=seen, network=network),
                torch.arange(len(classes)).repeat(len(rows)).to(device),
                how,
                torch.Generator().manual_seed(seed_of(seed, "compensate", number)),
                groups=len(rows),
            )
            added.append((learnt[:, 0] * network.scale).cpu().numpy().astype(np.float16))
        return State({**state.arrays, "rows": rows, "real": real, "added": np.stack(added)}, state.info)

    def cut(self, state: State, label: int) -> Distilled:
        """Of each group in turn the real image and its sums, (1 + networks) a group; origins name the row.
        A prefix of whole groups is a valid set. A class of fewer rows than groups has as many."""
        from tasks.distill.networks import classes_of

        column = np.searchsorted(classes_of(state), label)
        own = np.sort(np.unique(state.arrays["rows"][:, column], return_index=True)[1])
        real, added = state.arrays["real"][own, column], state.arrays["added"][:, own]
        images = np.stack([real, *(plus(real, one) for one in added)], axis=1)
        origins = np.repeat(state.arrays["rows"][own, column], images.shape[1])
        return Distilled([[row] for row in origins.tolist()], images=images.reshape(-1, *real.shape[1:]))

    def opinion(self, state: State, examples: Examples, n_classes: int, device: str) -> np.ndarray:
        from tasks.distill import networks

        assert examples.images is not None
        return networks.opinion(state, examples.images, self.temperature, n_classes, device)


def groups_of(per_class: int, classes: int, networks: int) -> int:
    """Groups that `per_class` images a class pay for, at least one: each is an image of every class, and
    a compensator for each network."""
    return max(per_class * classes // (classes + networks), 1)


def real_rows(examples: Examples, classes: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """(groups, classes) row numbers: of each class a draw by content, repeated where it has fewer."""
    own = [np.flatnonzero(examples.labels == label) for label in classes]
    drawn = [rows[draw_rows(examples.keys[rows], groups, seed)] for rows in own]
    return np.stack([np.resize(rows, groups) for rows in drawn], axis=1)


def plus(images: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Images uint8 plus what is added to them, grey levels of the same shape; the sum is clipped."""
    sums: np.ndarray = np.rint(np.clip(images + added.astype(np.float32), 0, 255)).astype(np.uint8)
    return sums
