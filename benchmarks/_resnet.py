"""ResNet-18 for images of 32 x 32, to be a teacher that costs something. Nothing here is trained.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with the stem that is usual for
CIFAR: one 3 x 3 convolution, no pooling. 11.2 million parameters, 0.56 billion multiplications an image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and inputs == width
        projection = nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        self.beside = nn.Identity() if same else nn.Sequential(*projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.beside(x))


def resnet18(classes: int) -> nn.Module:
    """The network with fresh weights: (b, 3, 32, 32) float to (b, classes)."""
    widths = (64, 64, 128, 256, 512)
    blocks = [
        Block(before if number == 0 else width, width, 2 if number == 0 and width != 64 else 1)
        for before, width in pairwise(widths)
        for number in range(2)
    ]
    stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def student(classes: int) -> nn.Module:
    """Three convolutions of width 64, 0.03 billion multiplications an image."""
    layers: list[nn.Module] = []
    for inputs in (3, 64, 64):
        layers += [nn.Conv2d(inputs, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, classes))
