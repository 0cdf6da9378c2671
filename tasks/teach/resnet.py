"""A small residual network for images of 8x8x1 to 64x64x3, and its training. Knows nothing of winnow.

He, Zhang, Ren & Sun, "Identity mappings in deep residual networks", ECCV 2016 (pre-activation blocks),
one block a width. The stem's stride brings any image to about 8..16 positions a side before the
first block, since large maps are where a small network spends its time. Width 16 trains about
4,000 28x28x1 images a second on one thread, width 24 half as many. `training` trains it.

Two trainings may run in two threads of a process, so nothing here touches PyTorch's global
generator: modules are built without values, and every draw comes from a generator passed in.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

INFERENCE_BATCH = 256
"""Rows a forward pass judges, always: the last batch is padded, so that no kernel is chosen by how
many rows were asked for, and a row's answer is the same in any company."""


class Block(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))); where the shape changes, a 1x1 convolution carries x."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.project = None if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.norm1(x), inplace=True)
        residual = self.conv2(F.relu(self.norm2(self.conv1(active)), inplace=True))
        return torch.add(x if self.project is None else self.project(active), residual)


class ResNet(nn.Module):
    """Logits (n, n_classes) of uint8 images (n, height, width, channels), standardised inside."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: tuple[int, int, int], width: int, n_classes: int) -> None:
        super().__init__()
        height, breadth, channels = shape
        stride = max(1, min(height, breadth) // 14)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.stem = nn.Conv2d(channels, width, stride + 2, stride, 1, bias=False)
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.norm = nn.BatchNorm2d(4 * width)
        self.head = nn.Linear(4 * width, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = ((images.float() - self.mean) / self.scale).permute(0, 3, 1, 2)
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        logits: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def bare(shape: tuple[int, int, int], width: int, n_classes: int, device: str) -> ResNet:
    """A network on `device` whose weights are not set yet: no generator is asked for any."""
    with torch.device("meta"):
        network = ResNet(shape, width, n_classes)
    # What to_empty does, without asking meta tensors for their like: that imports a second of SymPy.
    network._apply(lambda meta: torch.empty(meta.shape, dtype=meta.dtype, device=device))  # type: ignore[no-untyped-call]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def initialise(network: ResNet, images: np.ndarray, generator: torch.Generator) -> None:
    """He et al.'s normal weights (ICCV 2015, section 2.2), a head of zeros, the images' mean and scale."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            values = torch.empty(module.weight.shape)
            nn.init.kaiming_normal_(values, mode="fan_out", nonlinearity="relu", generator=generator)
            module.weight.data.copy_(values)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    pixels = images.reshape(-1, images.shape[-1])
    mean = pixels.sum(axis=0, dtype=np.int64) / len(pixels)
    squares = np.einsum("pc,pc->c", pixels, pixels, dtype=np.int64) / len(pixels)
    deviation = np.sqrt(np.maximum(squares - mean**2, 0.0))
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1.0)))


def augment(images: np.ndarray, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Shift every image by up to 1/16 of a side, one pixel at least, over zeros; mirror half if `flip`.

    uint8 (n, height, width, channels) -> the same shape.
    """
    n, height, breadth, _ = images.shape
    reach = max(1, min(height, breadth) // 16)
    padded = F.pad(torch.from_numpy(images), (0, 0, reach, reach, reach, reach))
    offsets = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator)
    rows, columns = torch.arange(height) + offsets[0], torch.arange(breadth) + offsets[1]
    if flip:
        mirrored = torch.rand((n, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.inference_mode()
def log_probabilities(network: ResNet, images: np.ndarray, device: str) -> np.ndarray:
    """uint8 (n, height, width, channels) -> float32 (n, n_classes), each row by itself."""
    network.eval()
    answers = np.empty((len(images), network.head.out_features), dtype=np.float32)
    for start in range(0, len(images), INFERENCE_BATCH):
        rows = images[start : start + INFERENCE_BATCH]
        batch = np.zeros((INFERENCE_BATCH, *images.shape[1:]), dtype=np.uint8)
        batch[: len(rows)] = rows
        logits = network(torch.from_numpy(batch).to(device))
        answers[start : start + len(rows)] = F.log_softmax(logits, dim=1)[: len(rows)].cpu().numpy()
    return answers
