"""The three-block ConvNet of the dataset condensation papers, from an explicit generator.

Zhao et al., "Dataset Condensation with Gradient Matching", ICLR 2021, after Gidaris & Komodakis,
CVPR 2018: three times [3 x 3 convolution, instance norm, ReLU, 2 x 2 average pooling], then the
feature map as one vector. 128 channels in the papers.

Weights follow PyTorch's default initialisation but are drawn from a generator that the caller
passes: the process-wide one is shared by every thread, and two classes distilled at once would
change each other's networks.
"""

from __future__ import annotations

import torch
from torch import nn

SMALLEST_SIDE = 8
"""Three poolings halve 8 pixels to one."""


class ConvNet(nn.Module):
    """Images (n, channels, height, width) float32 to features (n, `features`) float32."""

    def __init__(self, channels: int, height: int, width: int, filters: int, generator: torch.Generator):
        """Sides of at least SMALLEST_SIDE pixels, else ValueError."""
        super().__init__()
        if min(height, width) < SMALLEST_SIDE:
            raise ValueError(f"ConvNet needs sides of {SMALLEST_SIDE} pixels or more, not {height} x {width}")
        # The papers pad 28 x 28 grey images to 32 x 32 in the first block, so that 4 x 4 remain.
        padding = 3 if (channels, height, width) == (1, 28, 28) else 1
        self.features = filters * ((height + 2 * padding - 2) // 8) * ((width + 2 * padding - 2) // 8)
        self.blocks = nn.Sequential(
            _block(channels, filters, padding, generator),
            _block(filters, filters, 1, generator),
            _block(filters, filters, 1, generator),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.blocks(images).flatten(1)
        return features


def _block(channels: int, filters: int, padding: int, generator: torch.Generator) -> nn.Sequential:
    # On the meta device nothing is drawn; a plain nn.Conv2d would advance the process-wide generator.
    convolution = nn.Conv2d(channels, filters, kernel_size=3, padding=padding, device="meta")
    convolution = convolution.to_empty(device="cpu")
    bound = (9 * channels) ** -0.5  # kaiming_uniform_(a=sqrt(5)) and its bias: 1 / sqrt(fan in)
    with torch.no_grad():
        convolution.weight.uniform_(-bound, bound, generator=generator)
        assert convolution.bias is not None
        convolution.bias.uniform_(-bound, bound, generator=generator)
    return nn.Sequential(convolution, nn.GroupNorm(filters, filters), nn.ReLU(), nn.AvgPool2d(2))
