"""Pictures to arrays and back. Run: python -m pytest tests/tasks/ingest/test_images.py"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tasks.ingest.images import decode, encode_png


def as_file(picture: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG of some dozens of bytes that says it is this large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@given(
    st.sampled_from([1, 3]).flatmap(
        lambda c: arrays(
            np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.just(c))
        )
    )
)
def test_what_is_encoded_is_decoded_and_encoded_again_alike(images: np.ndarray) -> None:
    files = encode_png(images)
    decoded, ok, codes, details = decode(files, images.shape[1:])
    assert ok.all()
    assert (decoded == images).all()
    assert encode_png(decoded).equals(files)
    assert codes == details == [""] * len(images)


def test_raw_pixels_are_taken_as_they_are() -> None:
    images, ok, _, _ = decode([bytes(range(12))], (2, 2, 3))
    assert ok.tolist() == [True]
    assert images[0].tolist() == np.arange(12).reshape(2, 2, 3).tolist()


def test_raw_pixels_that_begin_like_a_picture_are_raw_pixels() -> None:
    images, ok, codes, _ = decode([b"BM" + bytes(14)], (4, 4, 1))
    assert (ok.tolist(), codes) == ([True], [""])
    assert images[0, 0, :3, 0].tolist() == [66, 77, 0]


def test_a_picture_as_long_as_its_raw_pixels_is_a_picture() -> None:
    file = as_file(Image.new("L", (3, 3), 200))
    images, ok, _, _ = decode([file], (1, len(file), 1))
    assert ok.all()
    assert (images == 200).all()


def test_modes_are_brought_to_grey_or_colour() -> None:
    grey, colour = Image.new("L", (2, 2), 100), Image.new("RGB", (2, 2), (255, 0, 0))
    palette, alpha, one = colour.convert("P"), colour.convert("RGBA"), Image.new("1", (2, 2), 1)
    files = [as_file(picture) for picture in (grey, colour, palette, alpha, one)]
    as_grey, ok, _, _ = decode(files, (2, 2, 1))
    assert ok.all()
    assert as_grey[:, 0, 0, 0].tolist() == [100, 76, 76, 76, 255]  # ITU-R 601: 0.299 of red
    as_colour, ok, _, _ = decode(files, (2, 2, 3))
    assert ok.all()
    assert as_colour[:, 0, 0].tolist() == [[100] * 3, [255, 0, 0], [255, 0, 0], [255, 0, 0], [255] * 3]


def test_sixteen_bits_are_scaled_and_pixels_without_a_range_refused() -> None:
    deep = Image.fromarray(np.array([[0, 0x8000], [0xFF00, 0xFFFF]], np.uint16))
    real = Image.fromarray(np.ones((2, 2), np.float32))
    images, ok, codes, details = decode([as_file(deep), as_file(real, "TIFF")], (2, 2, 1))
    assert images[0, :, :, 0].tolist() == [[0, 128], [255, 255]]
    assert (ok.tolist(), codes) == ([True, False], ["", "undecodable"])
    assert "mode F" in details[1]


def test_another_size_is_resized_with_antialiasing() -> None:
    board = Image.fromarray(np.indices((8, 8)).sum(0).astype(np.uint8) % 2 * 255)
    images, _, _, _ = decode([as_file(board)], (2, 2, 1))
    assert (abs(images.astype(int) - 127) < 20).all()  # without antialiasing: 0 or 255


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_every_format_is_read(form: str) -> None:
    images, ok, _, _ = decode([as_file(Image.new("L", (8, 8), 90), form)], (8, 8, 1))
    assert ok.all()
    assert (abs(images.astype(int) - 90) <= 2).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_a_damaged_picture_is_one_bad_row(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    file = as_file(Image.fromarray(noise), form)
    good = as_file(Image.new("L", (40, 40), 50))
    images, ok, codes, details = decode(pa.array([good, file[: len(file) // 2], good]), (40, 40, 1))
    assert ok.tolist() == [True, False, True]
    assert codes == ["", "undecodable", ""]
    assert details[1]
    assert (images[1] == 0).all()


def test_what_is_no_picture_says_so() -> None:
    _, ok, codes, details = decode(pa.array([b"abc", b"", None, b"%!PS-Adobe-3.0 EPSF"]), (2, 2, 1))
    assert not ok.any()
    assert codes == ["undecodable"] * 4
    assert details[0] == "3 bytes are neither a picture nor 4 raw pixels"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    _, ok, codes, details = decode([claimed(40_000, 40_000), claimed(11_000, 11_000)], (2, 2, 1))
    assert codes == ["too_large", "too_large"]
    assert not ok.any()
    assert "1600000000 pixels" in details[0]


def test_no_pictures() -> None:
    images, ok, codes, _ = decode([], (2, 3, 1))
    assert (images.shape, ok.shape, codes) == ((0, 2, 3, 1), (0,), [])
    assert encode_png(images).to_pylist() == []
