"""Run: .venv/bin/python -m pytest tests/tasks/distill/test_inversion.py"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tasks.distill.inversion import Descent, clip, descend, distance, loss, pixels, units, watched
from tasks.teach.resnet import ResNet, bare, initialise


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norm(mean: list[float], variance: list[float]) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(len(mean)).eval()
    made.running_mean = torch.tensor(mean)
    made.running_var = torch.tensor(variance)
    return made


def test_distances_of_mean_and_of_variance_are_lengths_and_the_variance_divides_by_the_number() -> None:
    batch = torch.tensor([[[[1.0]], [[0.0]]], [[[3.0]], [[8.0]]]])  # means 2 and 4, variances 1 and 16
    far = distance(norm([2 - 3.0, 4 - 4.0], [1 - 5.0, 16 - 12.0]), batch, 1)
    assert far.tolist() == pytest.approx([5.0 + 13.0])


def test_a_norm_that_keeps_the_statistics_of_the_very_batch_is_at_no_distance() -> None:
    batch = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    mean, variance = batch.mean(dim=(0, 2, 3)), batch.var(dim=(0, 2, 3), correction=0)
    assert distance(norm(mean.tolist(), variance.tolist()), batch, 1).item() < 1e-5
    unbiased = batch.var(dim=(0, 2, 3), correction=1)
    assert distance(norm(mean.tolist(), unbiased.tolist()), batch, 1).item() > 1e-3


def test_the_slope_at_no_distance_is_a_number() -> None:
    batch = torch.zeros(2, 1, 1, 1, requires_grad=True)
    (slope,) = torch.autograd.grad(distance(norm([0.0], [0.0]), batch, 1).sum(), batch)
    assert torch.isfinite(slope).all()


def network(seed: int = 0) -> ResNet:
    made = bare((8, 8, 1), 4, 3, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8)
    initialise(made, images, torch.Generator().manual_seed(seed))
    nn.init.normal_(made.head.weight, generator=torch.Generator().manual_seed(seed))
    return made.eval().requires_grad_(False)


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 8, 8, 1, generator=torch.Generator().manual_seed(seed))


def test_the_first_norm_counts_tenfold_and_all_are_watched() -> None:
    made, seen = network(), []
    norms = [module for module in made.modules() if isinstance(module, nn.BatchNorm2d)]
    for each in norms:
        each.register_forward_pre_hook(lambda module, inputs: seen.append(distance(module, inputs[0], 1)))
    with watched(made) as found:
        made(noise(5))
        expected = 10 * seen[0] + torch.stack(seen[1:]).sum(dim=0)
        assert torch.allclose(found.total(), expected)
    assert len(seen) == len(norms) == 7


def test_groups_in_one_batch_are_told_apart() -> None:
    made, one, other = network(), noise(4, 1), 3 * noise(4, 2)
    with watched(made, 2) as both:
        made(torch.cat([one, other]))
        together = both.total()
    alone = []
    for batch in (one, other):
        with watched(made) as single:
            made(batch)
            alone.append(single.total().item())
    assert together.tolist() == pytest.approx(alone, rel=1e-4)


def test_the_objective_of_groups_is_the_sum_of_each_ones_own() -> None:
    made, images, labels = network(), noise(6), torch.tensor([0, 1, 2, 0, 1, 2])
    with watched(made, 2) as both:
        together = loss(made, both, images, labels, 0.5)
    with watched(made) as single:
        apart = [loss(made, single, images[half], labels[half], 0.5) for half in (slice(3), slice(3, 6))]
    assert together.item() == pytest.approx(sum(apart).item(), rel=1e-4)  # type: ignore[union-attr]


def test_nothing_is_watched_once_the_block_is_left() -> None:
    made = network()
    with watched(made):
        made(noise(2))
    assert not any(module._forward_pre_hooks for module in made.modules())


class Linear(nn.Module):
    """Logits that are linear in the pixels, behind a norm that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=0.0)
        self.weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(5)) / 4
        self.mean, self.scale = torch.zeros(1), torch.ones(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.linear(self.norm(images.permute(0, 3, 1, 2)).flatten(1), self.weight)


def test_what_is_added_reaches_the_optimum_of_a_convex_problem() -> None:
    made, labels = Linear().eval(), torch.tensor([0, 1, 2, 2])
    images = torch.randn(4, 4, 4, 1, generator=torch.Generator().manual_seed(3))

    def cost(added: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(made(images + added), labels)

    added = torch.zeros(1, 4, 4, 1, requires_grad=True)
    solver = torch.optim.LBFGS([added], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        value = cost(added)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    found = descend(
        cast(Any, made),
        torch.zeros(1, 4, 4, 1),
        lambda moved: images + moved,
        labels,
        Descent(steps=400, learning_rate=0.25, weight=0.0, jitter=0),
        torch.Generator().manual_seed(0),
    )
    assert cost(torch.zeros(1, 4, 4, 1)) > cost(added) + 0.05
    assert cost(found).item() == pytest.approx(cost(added).item(), abs=1e-4)


QUICK = Descent(steps=3, learning_rate=0.25, weight=0.1, jitter=2)


def moved(how: Descent, seed: int, made: ResNet) -> torch.Tensor:
    return descend(
        made,
        noise(3),
        lambda images: images,
        torch.arange(3),
        how,
        torch.Generator().manual_seed(seed),
        clip=lambda images: clip(images, made),
    )


def test_the_same_generator_gives_the_same_bytes_and_the_global_one_is_left_alone() -> None:
    before, made = torch.random.get_rng_state(), network()
    first, again, other = (moved(QUICK, seed, made) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)  # other rolls
    assert torch.equal(torch.random.get_rng_state(), before)


def test_neither_weights_nor_what_norms_keep_change() -> None:
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    moved(QUICK, 1, made.train())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_every_pixel_stays_one_that_a_picture_can_have() -> None:
    made = network()
    wild = Descent(steps=5, learning_rate=5.0, weight=0.1, jitter=0)
    back = moved(wild, 1, made) * made.scale + made.mean
    assert back.min() >= -1e-3
    assert back.max() <= 255 + 1e-3


def test_pixels_come_back_from_the_networks_units() -> None:
    made, images = network(), torch.arange(256).reshape(4, 8, 8, 1).to(torch.uint8)
    assert torch.equal(pixels(units(images.float(), made), made), images)


def test_steps_that_diverge_are_refused_with_a_way_out() -> None:
    made = network()
    with pytest.raises(ValueError, match=r"lower distill\.learning_rate"):
        descend(
            made,
            torch.full((3, 8, 8, 1), torch.nan),
            lambda images: images,
            torch.arange(3),
            QUICK,
            torch.Generator(),
        )
