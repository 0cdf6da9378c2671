"""Crop, resize and colour of many images at once, in integers only.

The obvious tool is kornia, which batches the same operations. It is not used here because a
stored view must come back bit for bit for years: kornia 0.9 samples in float32, where the mean
that contrast needs is summed in an order that depends on the batch and the thread count (one
224 x 224 image alone on two threads differs from the same image in a batch), and the
interpolation differs between instruction sets. Integer sums have neither trouble: the functions
below give the same bytes for any batch, thread count, processor or library version.

Rounding follows the field: bilinear weights of 11 bits as in OpenCV, half-pixel centres as in
Pillow and torch (`align_corners=False`), and colour as Pillow's ImageEnhance does it, a blend of
the image with black, its mean grey or its own grey version, clipped and rounded after each.
Every sum fits in int32: 255 * 2**11 * 2**11 < 2**30 and 255 * 2**16 * 4 < 2**26.
"""

from __future__ import annotations

import numpy as np

WEIGHT_BITS = 11
FACTOR_BITS = 16
LUMA = np.array([19595, 38470, 7471], np.int32)
"""ITU-R 601 weights of red, green and blue, in 2**-16."""


def crop_and_resize(
    images: np.ndarray, top: np.ndarray, left: np.ndarray, height: np.ndarray, width: np.ndarray
) -> np.ndarray:
    """Each image's box, enlarged bilinearly to the full size.

    images: (m, h, w, c) uint8. top, left, height, width: (m,) integers, each box inside its
    image. Returns (m, h, w, c) uint8. A box's border repeats its last pixel: what lies outside
    the box is never seen.
    """
    m, h, w, c = images.shape
    above, below, down = _taps(top, height, h)
    before, after, right = _taps(left, width, w)
    image = np.arange(m)[:, None] * h
    lines = images.reshape(m * h, w * c)
    stretched = _mix(lines[image + above], lines[image + below], down[:, :, None]).reshape(-1, c)
    line = np.arange(m * h).reshape(m, h, 1) * w
    pixels = _mix(
        stretched[line + before[:, None, :]], stretched[line + after[:, None, :]], right[:, None, :, None]
    )
    rounded: np.ndarray = (pixels + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)
    return rounded.astype(np.uint8)


def _taps(start: np.ndarray, length: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two source positions of each of `size` outputs and the second one's weight, all (m, size).

    The centre of output i lies at (i + 1/2) * length / size - 1/2 in the box; kept as a fraction
    over 2 * size, so that nothing is rounded before the weight.
    """
    first, extent = start.astype(np.int64)[:, None], length.astype(np.int64)[:, None]
    over = 2 * size
    centre = (2 * np.arange(size) + 1) * extent - size
    low, rest = np.divmod(np.clip(centre, 0, over * (extent - 1)), over)
    weight = ((rest << WEIGHT_BITS) + size) // over
    return first + low, first + np.minimum(low + 1, extent - 1), weight.astype(np.int32)


def _mix(near: np.ndarray, far: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(1 - weight) * near + weight * far in 2**-11, without rounding."""
    base = near.astype(np.int32)
    mixed: np.ndarray = (base << WEIGHT_BITS) + (far - base) * weight
    return mixed


def brightness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Blend with black: (m, h, w, c) uint8 and (m,) float -> uint8; factor 1 changes nothing."""
    return blend(images, np.zeros((1, 1, 1, 1), np.int32), factor)


def contrast(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Blend with the image's mean grey, rounded: (m, h, w, c) uint8 and (m,) float -> uint8."""
    m, h, w, _ = images.shape
    total = grey(images).reshape(m, -1).sum(axis=1, dtype=np.int64)
    mean = (2 * total + h * w) // (2 * h * w)
    return blend(images, mean.astype(np.int32)[:, None, None, None], factor)


def saturation(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Blend with the image in grey: (m, h, w, 3) uint8 and (m,) float -> uint8."""
    return blend(images, grey(images), factor)


def grey(images: np.ndarray) -> np.ndarray:
    """Luma of (m, h, w, 1 or 3) uint8 -> (m, h, w, 1) int32 in 0..255."""
    if images.shape[3] == 1:
        return images.astype(np.int32)
    weighted: np.ndarray = (images * LUMA).sum(axis=3, dtype=np.int32, keepdims=True)
    return (weighted + (1 << 15)) >> 16


def blend(images: np.ndarray, other: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """factor * images + (1 - factor) * other, rounded and clipped to uint8; factor rounded to 2**-16."""
    scaled = np.rint(factor.astype(np.float64) * (1 << FACTOR_BITS)).astype(np.int32)[:, None, None, None]
    mixed = (other << FACTOR_BITS) + (images - other) * scaled + (1 << (FACTOR_BITS - 1))
    clipped: np.ndarray = np.clip(mixed >> FACTOR_BITS, 0, 255)
    return clipped.astype(np.uint8)
