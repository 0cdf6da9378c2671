"""Sentence embeddings from a model that ships inside a package: nothing is downloaded at run time.

The model is `l2_supercat` of the `wordllama` package (Miller, "WordLlama: Recycled Token Embeddings
from Large Language Models", 2024): one vector of 256 numbers for each of the 32,000 tokens of Llama 2's
tokenizer, trained so that the mean over a text's tokens lies near those of texts with the same meaning.
A text becomes that mean at unit length, as the package's own `embed(norm=True)` has it; since only the
direction is left, the sum will do.

It knows nothing of word order: "man bites dog" is "dog bites man". By its authors' account it lies
between averaged GloVe vectors and a small transformer (58.2 on the classification tasks of MTEB, where
GloVe has 57.3 and all-MiniLM-L6-v2 63.1), at a small part of the transformer's cost. English above all:
the tokenizer spells other scripts out byte by byte. Texts may have any length. Cost: tokenising, then
256 additions a token; over 20,000 sentences a second on one thread.

The sum is a product with a sparse matrix of ones: it adds a row's tokens in their order, so a row's
vector has the same bits whatever rows lie beside it, and nothing is padded to the longest text.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tasks.data import Examples
from tasks.errors import BadInput
from tasks.ingest import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "wordllama"
WEIGHTS = "wordllama/weights/l2_supercat_256.safetensors"
TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
DIGESTS = {
    WEIGHTS: "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    TOKENIZER: "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
}
"""SHA-256 of the model's files. Another model is another `revision`, or nights could not be compared."""

BATCH = 1024
"""Texts that are tokenised at once; bounds the memory."""


class TextEmbedding(Encoder):
    """(n,) str to (n, 256) float32 of unit length (zero for a text without a token)."""

    kind: Literal["text_embedding"] = "text_embedding"
    revision: ClassVar[int] = 1
    paper: ClassVar[str] = "Miller, WordLlama: Recycled Token Embeddings from Large Language Models, 2024"
    reads: ClassVar[Literal["images", "features", "texts"]] = "texts"
    memory: ClassVar[int | None] = 2**30

    def encode(self, examples: Examples) -> np.ndarray:
        """Raises BadInput where the package is not installed, or holds another model."""
        from scipy.sparse import csr_array

        if examples.texts is None:
            raise ValueError("encoder text_embedding reads texts, and these rows have none; use another one")
        tokenizer, vectors = _model()
        found = np.zeros((len(examples), vectors.shape[1]), np.float32)
        for start in range(0, len(examples), BATCH):
            texts = examples.texts[start : start + BATCH].tolist()
            tokens = [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            ends = np.cumsum([0, *map(len, tokens)])
            ids = np.fromiter(chain.from_iterable(tokens), np.int64, ends[-1])
            ones = csr_array((np.ones(len(ids), np.float32), ids, ends), (len(texts), len(vectors)))
            found[start : start + BATCH] = ones @ vectors
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, np.float32(1))


@cache
def _model() -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer and the (32000, 256) float32 vectors of its tokens.

    The files are read and the package is not imported: its import sets logging up for the whole process,
    and its loader would look on the network for what it misses.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise BadInput(
            "encoder text_embedding needs a model that is not installed here; pip install 'winnow[text]'"
        ) from None
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    contents = {}
    for name, digest in DIGESTS.items():
        path = str(package.locate_file(name))
        with open(path, "rb") as file:
            contents[name] = file.read()
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise BadInput(
                f"{PACKAGE} {package.version} holds another {name} than text_embedding was made for; "
                "pip install 'winnow[text]' brings the right one"
            )
    # The library's only switch. A task has one thread, and batches would take every core.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    (vectors,) = load(contents[WEIGHTS]).values()
    return Tokenizer.from_buffer(contents[TOKENIZER]), vectors.astype(np.float32)
