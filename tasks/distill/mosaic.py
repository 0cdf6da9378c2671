"""Mosaics: an image that holds tiles x tiles training images, each to be enlarged before it is used.

The multi-formation of Kim et al., "Dataset Condensation via Efficient Synthetic-Data
Parameterization" (IDC), ICML 2022, section 4; RDED (Sun et al., CVPR 2024) stitches real patches
alike. Pictures hold less detail than pixels, so four at half the side teach more than one at full
size, in the same bytes. The loss of resolution catches up with it: the authors' Fashion-MNIST gains
10 points at one image a class and 1 at ten, and loses 3 at fifty.

A tile is the part of the image between rounded multiples of side / tiles, so sides need not divide;
where they do not, IDC pads instead. Enlarging is bilinear with half-pixel centres and looks at no
pixel outside of the tile. `decode` does it in integers, so that a stored mosaic gives the same
training images everywhere, and `enlarge` in float with a gradient, equal within a grey level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def cuts(side: int, tiles: int) -> list[int]:
    """Where tiles begin along a side, and its end. ValueError for more tiles than pixels."""
    if tiles > side:
        raise ValueError(f"a side of {side} pixels does not hold {tiles} tiles; lower distill.tiles")
    return [(2 * i * side + tiles) // (2 * tiles) for i in range(tiles + 1)]


def decode(images: np.ndarray, tiles: int) -> np.ndarray:
    """The training images in (m, h, w, c) uint8: (m * tiles**2, h, w, c), an image's tiles next to each
    other in rows; the images themselves where `tiles` is 1."""
    from tasks.reinforce.raster import crop_and_resize

    m, h, w, _ = images.shape
    rows, columns = (np.array(cuts(side, tiles), np.int64) for side in (h, w))
    top, left = (np.tile(grid.ravel(), m) for grid in np.meshgrid(rows[:-1], columns[:-1], indexing="ij"))
    height, width = (
        np.tile(grid.ravel(), m) for grid in np.meshgrid(np.diff(rows), np.diff(columns), indexing="ij")
    )
    return crop_and_resize(np.repeat(images, tiles**2, axis=0), top, left, height, width)


def enlarge(images: torch.Tensor, tiles: int) -> torch.Tensor:
    """`decode` for (m, c, h, w) float: (m * tiles**2, c, h, w) in the same order, differentiable."""
    import torch
    from torch.nn import functional

    if tiles == 1:
        return images
    _, _, h, w = images.shape
    rows, columns = cuts(h, tiles), cuts(w, tiles)
    parts = [
        functional.interpolate(
            images[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]],
            size=(h, w),
            mode="bilinear",
            align_corners=False,
        )
        for i in range(tiles)
        for j in range(tiles)
    ]
    return torch.stack(parts, dim=1).flatten(0, 1)


def encode(images: np.ndarray, tiles: int) -> np.ndarray:
    """Mosaics of (m * tiles**2, h, w, c) uint8, in the order of `decode`: (m, h, w, c) uint8.

    A tile is the one whose enlargement comes nearest to its picture in squares, rounded and clipped:
    sharper than the mean of the pixels that fall into one, which the enlargement would blur again.
    """
    if tiles == 1:
        return images
    n, h, w, c = images.shape
    rows, columns = cuts(h, tiles), cuts(w, tiles)
    groups = images.reshape(n // tiles**2, tiles, tiles, h, w, c).astype(np.float64)
    mosaics = np.empty((n // tiles**2, h, w, c), np.uint8)
    for i in range(tiles):
        shrink = np.linalg.pinv(stretch(rows[i + 1] - rows[i], h))
        for j in range(tiles):
            across = np.linalg.pinv(stretch(columns[j + 1] - columns[j], w))
            tile = np.einsum("ah,mhwc,bw->mabc", shrink, groups[:, i, j], across, optimize=False)
            mosaics[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = np.rint(np.clip(tile, 0, 255))
    return mosaics


def through(images: np.ndarray, tiles: int) -> np.ndarray:
    """(n, h, w, c) uint8 as they come back from mosaics: what a student sees of them."""
    n, each = len(images), tiles**2
    filled = np.resize(np.arange(n), -(-n // each) * each)
    return decode(encode(images[filled], tiles), tiles)[:n]


def stretch(length: int, size: int) -> np.ndarray:
    """The matrix (size, length) float64 that enlarges a line of `length` pixels to `size`."""
    centres = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    weights: np.ndarray = np.maximum(1 - np.abs(centres[:, None] - np.arange(length)), 0)
    return weights
