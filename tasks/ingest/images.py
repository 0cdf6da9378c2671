"""Pictures to arrays and back.

Payloads are whatever files a data set came with, so decoding is where hostile input arrives: only the
formats below are tried (Pillow's others include ones that start programs), and a picture that claims
more pixels than Pillow's own limit against decompression bombs is refused before it is unpacked.
Pillow decodes one picture at a time; everything around that is arrays.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from PIL import Image as pillow

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*")
"""How files of these formats begin."""


def decode(
    payloads: pa.BinaryArray | Sequence[bytes], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Pictures, or raw pixels, to one array of one shape.

    payloads: n picture files of any size, or raw uint8 of exactly height * width * channels bytes.
    shape: (height, width, channels), channels 1 (grey) or 3 (RGB). A picture of another size is
    resized (bilinear, with antialiasing), transparency is dropped, of an animation the first frame
    counts.

    Returns images (n, height, width, channels) uint8, zero where decoding failed; ok (n,) bool;
    codes and details: n texts each, "" where ok, else `undecodable` or `too_large` and what was wrong.
    """
    from PIL import Image

    size = int(np.prod(shape))
    images = np.zeros((len(payloads), *shape), np.uint8)
    codes, details = [""] * len(payloads), [""] * len(payloads)
    # Such a picture becomes a reject, which says more than a line on the terminal.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    for row, value in enumerate(payloads):
        data = value.as_py() if isinstance(value, pa.Scalar) else value
        if data is None:
            codes[row], details[row] = "undecodable", "there is no image"
        elif len(data) == size and not data.startswith(SIGNATURES):
            images[row] = np.frombuffer(data, np.uint8).reshape(shape)
        else:
            pixels, codes[row], details[row] = _open(data, shape)
            if codes[row] == "undecodable" and len(data) == size:
                # Raw pixels that merely begin like a picture file.
                pixels, codes[row], details[row] = np.frombuffer(data, np.uint8).reshape(shape), "", ""
            images[row] = pixels
    return images, np.array([code == "" for code in codes], bool), codes, details


def _open(data: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, str, str]:
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    blank = np.zeros(shape, np.uint8)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                return blank, "too_large", f"{picture.width} x {picture.height} pixels are too many"
            flat = _to_bytes(picture).convert("L" if channels == 1 else "RGB")
        if flat.size != (width, height):
            flat = flat.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(flat, np.uint8).reshape(shape), "", ""
    except Image.DecompressionBombError as error:
        return blank, "too_large", str(error).splitlines()[0]
    except UnidentifiedImageError:
        return blank, "undecodable", f"{len(data)} bytes are neither a picture nor {blank.size} raw pixels"
    # Decoders raise these and more of their kinds on damaged files; a bad row must not stop the shard.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError) as error:
        return blank, "undecodable", (str(error).splitlines() or [type(error).__name__])[0]


def _to_bytes(picture: pillow.Image) -> pillow.Image:
    """16-bit grey to 8 bits; Pillow's own conversion would cut values off at 255."""
    from PIL import Image

    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {picture.mode} have no fixed range; store 8 or 16 bits a pixel")
    return picture


def encode_png(images: np.ndarray) -> pa.BinaryArray:
    """(n, height, width, 1 or 3) uint8 to n PNG files; the same pixels give the same bytes."""
    from PIL import Image

    files = []
    for pixels in images:
        buffer = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        picture.save(buffer, "PNG", compress_level=1)
        files.append(buffer.getvalue())
    return pa.array(files, pa.binary())
