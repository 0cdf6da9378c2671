"""The sentence encoder. Run: python -m pytest tests/tasks/ingest/test_text_embedding.py"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data import Examples
from tasks.errors import BadInput
from tasks.ingest import text_embedding
from tasks.ingest.text_embedding import BATCH, PACKAGE, WEIGHTS, TextEmbedding

SENTENCES = [
    "The cat sat on the mat.",
    "A kitten was resting on a rug.",
    "Interest rates rose again this quarter.",
    "The central bank raised interest again.",
    "",
    "Ünïcode, 漢字 and 😀",
    "one\ttwo\nthree",
    "word " * 3000,
]


def examples(texts: list[str]) -> Examples:
    n = len(texts)
    ids = np.array([str(i) for i in range(n)], object)
    column = np.array(texts, object)
    return Examples(ids, np.arange(n, dtype=np.uint64), np.zeros(n, np.int32), texts=column)


def encoded(texts: list[str]) -> np.ndarray:
    return TextEmbedding().encode(examples(texts))


@pytest.fixture
def _nothing_loaded() -> Any:
    text_embedding._model.cache_clear()
    yield
    text_embedding._model.cache_clear()


def test_a_text_is_the_direction_of_the_sum_of_its_tokens_vectors() -> None:
    tokenizer, vectors = text_embedding._model()
    ids = tokenizer.encode("the dog", add_special_tokens=False).ids
    assert [tokenizer.id_to_token(i) for i in ids] == ["▁the", "▁dog"]
    by_hand = vectors[ids[0]].astype(np.float64) + vectors[ids[1]]
    np.testing.assert_allclose(encoded(["the dog"])[0], by_hand / np.linalg.norm(by_hand), atol=1e-7)


def test_it_agrees_with_the_packages_own_embed() -> None:
    from wordllama import WordLlama

    texts = [text for text in SENTENCES if text]
    folder = Path(str(distribution(PACKAGE).locate_file(PACKAGE)))
    theirs = WordLlama.load(cache_dir=folder, disable_download=True).embed(texts, norm=True)
    np.testing.assert_allclose(encoded(texts), theirs, atol=1e-6)


def test_vectors_have_unit_length_and_a_text_without_a_token_is_zero() -> None:
    found = encoded(SENTENCES)
    assert found.shape == (len(SENTENCES), 256)
    assert found.dtype == np.float32
    expected = [0.0 if not text else 1.0 for text in SENTENCES]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected, atol=1e-6)


def test_no_rows_are_no_vectors() -> None:
    assert encoded([]).shape == (0, 256)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=8))
def test_a_row_does_not_depend_on_the_rows_around_it_to_the_bit(texts: list[str]) -> None:
    together = encoded(texts)
    assert np.array_equal(encoded(texts[::-1]), together[::-1])
    assert np.array_equal(encoded(texts[:1])[0], together[0])


def test_a_row_does_not_depend_on_where_batches_end() -> None:
    texts = [f"sentence number {i} of many" for i in range(2 * BATCH + 3)]
    together = encoded(texts)
    for start, stop in ((0, 1), (BATCH - 1, BATCH + 1), (7, BATCH + 7), (2 * BATCH, len(texts))):
        assert np.array_equal(encoded(texts[start:stop]), together[start:stop])


def test_texts_with_one_meaning_lie_nearer_than_others() -> None:
    cat, kitten, rates, bank = encoded(SENTENCES[:4])
    assert cat @ kitten > max(cat @ rates, cat @ bank, kitten @ rates, kitten @ bank) + 0.1
    assert rates @ bank > max(cat @ rates, cat @ bank, kitten @ rates, kitten @ bank) + 0.1


def test_word_order_is_not_seen() -> None:
    one, other = encoded(["man bites dog", "dog bites man"])
    np.testing.assert_allclose(one, other, atol=1e-6)


PROGRAM = """
import json, logging, sys
from tests.tasks.ingest.test_text_embedding import encoded
sys.stdout.write(encoded(json.load(sys.stdin)).tobytes().hex())
assert "wordllama" not in sys.modules and not logging.getLogger().handlers
"""


def test_another_process_with_other_threads_makes_the_same_bytes_and_does_not_import_the_package() -> None:
    environment = {"TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": "2", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, input=json.dumps(SENTENCES), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == encoded(SENTENCES).tobytes().hex()


@pytest.mark.usefixtures("_nothing_loaded")
def test_loading_asks_nobody_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the encoder opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert np.isfinite(encoded(["offline"])).all()


@pytest.mark.usefixtures("_nothing_loaded")
def test_a_package_that_is_not_installed_is_one_sentence_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_embedding, "PACKAGE", "no-such-package-as-this")
    with pytest.raises(BadInput, match=r"is not installed here; pip install 'winnow\[text\]'"):
        encoded(["anything"])


@pytest.mark.usefixtures("_nothing_loaded")
def test_another_model_under_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(text_embedding.DIGESTS, WEIGHTS, "0" * 64)
    with pytest.raises(BadInput, match=r"wordllama 0\.4\S* holds another wordllama/weights/l2_supercat"):
        encoded(["anything"])


def test_rows_without_texts_are_refused() -> None:
    rows = Examples(np.array(["a"], object), np.zeros(1, np.uint64), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="text_embedding reads texts"):
        TextEmbedding().encode(rows)
