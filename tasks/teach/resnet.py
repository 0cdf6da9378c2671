"""A small residual network for images of 8x8x1 to 64x64x3, and its training. Knows nothing of winnow.

He, Zhang, Ren & Sun, "Deep residual learning", CVPR 2016, with the pre-activation order of their
"Identity mappings", ECCV 2016. What differs is chosen for one processor thread: the stem brings
any image to 8..16 positions a side before the first block, since early positions are where
a small network spends its time, and there is one block a width.

Two trainings may run in two threads of a process, so nothing here touches PyTorch's global
generator: modules are built without initialisation and every draw comes from a generator passed in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

INFERENCE_BATCH = 256
"""Rows a forward pass judges, always: the last batch is padded, so that no kernel is chosen by how
many rows happened to be asked for, and a row's answer is the same in any company."""


class Block(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))); a strided block projects x."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = _bare(nn.BatchNorm2d, inputs)
        self.conv1 = _bare(nn.Conv2d, inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = _bare(nn.BatchNorm2d, outputs)
        self.conv2 = _bare(nn.Conv2d, outputs, outputs, 3, 1, 1, bias=False)
        changes = stride > 1 or inputs != outputs
        self.project = _bare(nn.Conv2d, inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.norm1(x), inplace=True)
        residual = self.conv2(F.relu(self.norm2(self.conv1(active)), inplace=True))
        shortcut = x if self.project is None else self.project(active)
        return torch.add(shortcut, residual)


class ResNet(nn.Module):
    """Logits (n, n_classes) for standardised images (n, channels, side, side)."""

    def __init__(self, channels: int, side: int, width: int, n_classes: int) -> None:
        super().__init__()
        stride = max(1, side // 14)
        kernel = stride + 2
        self.stem = _bare(nn.Conv2d, channels, width, kernel, stride, 1, bias=False)
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.norm = _bare(nn.BatchNorm2d, 4 * width)
        self.head = _bare(nn.Linear, 4 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


def _bare(module, *args, **kwargs):
    return nn.utils.skip_init(module, *args, **kwargs)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
