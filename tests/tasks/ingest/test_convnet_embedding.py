"""The untrained network. Run: python -m pytest tests/tasks/ingest/test_convnet_embedding.py"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tasks.data import Examples
from tasks.ingest.convnet_embedding import ConvnetEmbedding
from tasks.ingest.pixels import Pixels


def examples(images: np.ndarray) -> Examples:
    n = len(images)
    ids = np.array([str(i) for i in range(n)], object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), images=images)


def random_images(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def by_hand(image: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """One image's embedding, written as the docstring says it, in float64."""
    height, width, _ = image.shape
    padded = np.pad(image / 255, ((2, 2), (2, 2), (0, 0)))
    response = np.zeros((len(filters), height, width))
    for y in range(height):
        for x in range(width):
            patch = padded[y : y + 5, x : x + 5].transpose(2, 0, 1)
            response[:, y, x] = (filters * patch).sum(axis=(1, 2, 3))
    signed = np.maximum(np.concatenate([response, -response]), 0)
    cells = signed.reshape(-1, 4, height // 4, 4, width // 4).mean(axis=(2, 4))
    vector = np.sqrt(cells).reshape(-1)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 8, 3)])
def test_it_computes_what_it_says(shape: tuple[int, int, int]) -> None:
    (image,) = random_images(1, shape)
    encoder = ConvnetEmbedding(dimension=64)
    filters = encoder._filters(shape[2])
    assert filters.shape == (2, shape[2], 5, 5)
    np.testing.assert_allclose(filters.sum(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose((filters**2).sum(axis=(1, 2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(examples(image[None]))[0], by_hand(image, filters), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (17, 50, 3), (2, 2, 1)])
def test_a_row_does_not_depend_on_the_rows_around_it_to_the_bit(shape: tuple[int, int, int]) -> None:
    images, encoder = random_images(150, shape), ConvnetEmbedding(dimension=96)
    together = encoder.encode(examples(images))
    for shift in (1, 3, 64, 71):
        rolled = encoder.encode(examples(np.roll(images, shift, axis=0)))
        assert np.array_equal(rolled, np.roll(together, shift, axis=0))
    for row in (0, 63, 64, 149):
        assert np.array_equal(encoder.encode(examples(images[row : row + 1]))[0], together[row])


def test_it_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = ConvnetEmbedding().encode(examples(random_images(2, (8, 8, 1))))
    drawn = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    assert drawn == (torch.rand(1).item(), np.random.rand())
    assert np.array_equal(first, ConvnetEmbedding().encode(examples(random_images(2, (8, 8, 1)))))


def test_a_linear_model_does_better_on_it_than_on_pixels() -> None:
    data = load_digits()
    images = np.rint(data.images * 255 / 16).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:900], order[900:]
    accuracy = {}
    for encoder in (Pixels(), ConvnetEmbedding()):
        vectors = encoder.encode(examples(images))
        assert np.isfinite(vectors).all()
        vectors = (vectors - vectors[train].mean(axis=0)) / vectors[train].std()
        model = LogisticRegression(C=0.1, max_iter=1000).fit(vectors[train], data.target[train])
        accuracy[encoder.kind] = model.score(vectors[test], data.target[test])
    assert accuracy["convnet_embedding"] > accuracy["pixels"] + 0.015


def test_black_is_zero_and_everything_else_has_unit_length() -> None:
    images = random_images(3, (8, 8, 1))
    images[1] = 0
    norms = np.linalg.norm(ConvnetEmbedding().encode(examples(images)), axis=1)
    np.testing.assert_allclose(norms, [1, 0, 1], atol=1e-6)


def test_large_pictures_are_averaged_down_first() -> None:
    small = random_images(2, (32, 32, 3))
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    encoder = ConvnetEmbedding()
    np.testing.assert_allclose(encoder.encode(examples(large)), encoder.encode(examples(small)), atol=1e-4)


def test_no_rows_keep_their_width() -> None:
    assert ConvnetEmbedding(dimension=32).encode(examples(random_images(0, (8, 8, 1)))).shape == (0, 32)


def test_rows_without_images_and_impossible_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="use features"):
        ConvnetEmbedding().encode(Examples(*(np.zeros(1, t) for t in (object, np.uint64, np.int32))))
    for dimension in (0, 33, 8192):
        with pytest.raises(ValidationError):
            ConvnetEmbedding(dimension=dimension)
