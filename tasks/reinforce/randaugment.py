"""RandAugment's fourteen operations on many images at once, in integers only.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
NeurIPS 2020, section 3: each of `n` operations is drawn from fourteen with equal chance and applied
with one magnitude for all. The paper leaves open what magnitude 9 of 30 means; that is taken from
torchvision's `RandAugment`, as Faghri et al. use it: shear up to 0.3, translation up to 150/331 of
the side, 30 degrees, factors 1 ± 0.9, posterise down to 4 bits, solarise from 255 down. A sign is drawn
for those that have two directions. Geometry takes the nearest pixel and fills with black.

torchvision computes in float32, or hands over to Pillow; here each operation is exact integer
arithmetic in the way of `raster`, and agrees with Pillow to the bit in geometry, posterise, solarise
and equalise, and to one grey level in the others, where Pillow cuts the fraction of a float. The one
irrational number, the sine of an angle, is a series of additions and products, which IEEE 754 rounds
alike everywhere; mathematics libraries do not agree on theirs. Cost: a few passes over the pixels, one
at a time for each operation that occurs.
"""

from __future__ import annotations

import numpy as np

from tasks.reinforce import raster

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""What `op_1` and `op_2` index."""

SIGNED = np.isin(np.arange(len(OPERATIONS)), range(1, 10))
LEVELS = 30
FIXED_BITS = 16


def magnitudes(level: int, h: int, w: int) -> np.ndarray:
    """Each operation's magnitude at a level of 0..LEVELS in its own units, (14,) float32, unsigned.

    Shear: pixels a pixel. Translation: whole pixels. Rotation: degrees. Factors: what is added to 1.
    Posterise: bits kept. Solarise: the least value that is inverted.
    """
    part = level / LEVELS
    by_name = {
        "shear_x": 0.3 * part,
        "shear_y": 0.3 * part,
        "translate_x": np.floor(150 / 331 * w * part),
        "translate_y": np.floor(150 / 331 * h * part),
        "rotate": 30 * part,
        **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.9 * part),
        "posterize": 8 - np.rint(4 * part),
        "solarize": np.ceil(255 * (1 - part)),
    }
    return np.array([by_name.get(name, 0.0) for name in OPERATIONS], np.float32)


def apply(images: np.ndarray, operations: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Each image changed by its own operation: (m, h, w, 1 or 3) uint8, (m,) index into OPERATIONS and
    (m,) signed float -> uint8. Grey images have no colour to change."""
    changed = images.copy()
    for operation in np.unique(operations):
        mine = operations == operation
        changed[mine] = _one(images[mine], OPERATIONS[operation], magnitude[mine].astype(np.float64))
    return changed


def _one(images: np.ndarray, name: str, magnitude: np.ndarray) -> np.ndarray:
    if name in ("identity", "color") and (name == "identity" or images.shape[3] == 1):
        return images
    if name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        return affine(images, matrices(name, magnitude, *images.shape[1:3]))
    if name == "brightness":
        return raster.brightness(images, 1 + magnitude)
    if name == "color":
        return raster.saturation(images, 1 + magnitude)
    if name == "contrast":
        return raster.contrast(images, 1 + magnitude)
    if name == "sharpness":
        return sharpness(images, 1 + magnitude)
    if name == "posterize":
        return posterize(images, magnitude)
    if name == "solarize":
        return solarize(images, magnitude)
    return autocontrast(images) if name == "autocontrast" else equalize(images)


def matrices(name: str, magnitude: np.ndarray, h: int, w: int) -> np.ndarray:
    """Where each output pixel (x, y) is taken from, (m, 6): x' = a x + b y + c, y' = d x + e y + f.

    Shear leaves the first line or column in place; a positive translation moves to the right or down,
    a positive angle turns anticlockwise about the middle.
    """
    m = np.zeros((len(magnitude), 6))
    m[:, 0] = m[:, 4] = 1
    if name == "rotate":
        sine, cosine = sine_and_cosine(magnitude)
        m[:, 0], m[:, 1], m[:, 3], m[:, 4] = cosine, -sine, sine, cosine
        m[:, 2] = w / 2 - (cosine * (w / 2) - sine * (h / 2))
        m[:, 5] = h / 2 - (sine * (w / 2) + cosine * (h / 2))
        return m
    column = {"shear_x": 1, "shear_y": 3, "translate_x": 2, "translate_y": 5}[name]
    m[:, column] = -magnitude if name.startswith("translate") else magnitude
    return m


def sine_and_cosine(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By their Taylor series, to the last digit up to 90 degrees."""
    x = degrees * (np.pi / 180)
    sine, cosine, term = np.zeros_like(x), np.ones_like(x), np.ones_like(x)
    for n in range(1, 26):
        term = term * x / n
        if n % 2:
            sine = sine + (term if n % 4 == 1 else -term)
        else:
            cosine = cosine + (term if n % 4 == 0 else -term)
    return sine, cosine


def affine(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Nearest pixel by fixed-point coordinates as in Pillow; black from outside. (m, h, w, c), (m, 6)."""
    m, h, w, c = images.shape
    centred = matrix.copy()
    centred[:, 2] += matrix[:, 0] * 0.5 + matrix[:, 1] * 0.5
    centred[:, 5] += matrix[:, 3] * 0.5 + matrix[:, 4] * 0.5
    fixed = np.floor(centred * (1 << FIXED_BITS) + 0.5).astype(np.int64)[:, :, None, None]
    x, y = np.arange(w)[None, :], np.arange(h)[:, None]
    column = (fixed[:, 0] * x + fixed[:, 1] * y + fixed[:, 2]) >> FIXED_BITS
    line = (fixed[:, 3] * x + fixed[:, 4] * y + fixed[:, 5]) >> FIXED_BITS
    inside = (column >= 0) & (column < w) & (line >= 0) & (line < h)
    source = np.where(inside, line * w + column, 0).reshape(m, h * w, 1)
    taken = np.take_along_axis(images.reshape(m, h * w, c), source, axis=1).reshape(m, h, w, c)
    return np.where(inside[..., None], taken, 0).astype(np.uint8)


def sharpness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Blend with the image smoothed by 3 x 3 weights of 1, 5 in the middle; the border stays as it is."""
    _, h, w, _ = images.shape
    if min(h, w) < 3:
        return images
    wide = images.astype(np.int32)
    total = 4 * wide[:, 1:-1, 1:-1]
    for line in range(3):
        for column in range(3):
            total = total + wide[:, line : h - 2 + line, column : w - 2 + column]
    smooth = wide.copy()
    smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26
    return raster.blend(images, smooth, factor)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Keep the highest bits of each value; (m,) whole numbers in 0..8."""
    masks = (256 - (1 << (8 - bits.astype(np.int64)))).astype(np.uint8)
    return images & masks[:, None, None, None]


def solarize(images: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Invert the values from a threshold up."""
    return np.where(images >= threshold[:, None, None, None], 255 - images, images)


def autocontrast(images: np.ndarray) -> np.ndarray:
    """Stretch each channel's values to 0..255; one value alone stays."""
    wide = images.astype(np.int32)
    low, high = (edge(wide, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    stretched = (wide - low) * 255 // np.maximum(high - low, 1)
    return np.where(high > low, stretched, wide).astype(np.uint8)


def equalize(images: np.ndarray) -> np.ndarray:
    """Spread each channel's values by their cumulative histogram, as Pillow does it."""
    m, h, w, c = images.shape
    channel = (np.arange(m)[:, None] * c + np.arange(c))[:, None, None, :] * 256
    place = channel + images
    histogram = np.bincount(place.ravel(), minlength=m * c * 256).reshape(m * c, 256)
    last = 255 - (histogram[:, ::-1] > 0).argmax(axis=1)
    step = (h * w - histogram[np.arange(m * c), last])[:, None] // 255
    before = np.cumsum(histogram, axis=1) - histogram
    table = np.minimum((step // 2 + before) // np.maximum(step, 1), 255)
    table = np.where(step > 0, table, np.arange(256)).astype(np.uint8)
    spread: np.ndarray = table.ravel()[place]
    return spread
