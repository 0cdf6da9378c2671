"""The texts that ship with a curation. Run: python -m pytest tests/tasks/ingest/test_chatterbot_topics.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.store import Store
from tasks.config import Curation, load
from tasks.data import keys_of, lists_to_array
from tasks.seeds import folds_of
from tests.tasks.stages.harness import run

CURATION = Path(__file__).parents[3] / "curations" / "chatterbot_topics.yaml"


@pytest.fixture(scope="module")
def curation(tmp_path_factory: pytest.TempPathFactory) -> Curation:
    """The curation as it ships, its two dates ingested into a store of its own."""
    made = load(CURATION, store=str(tmp_path_factory.mktemp("store")))
    for partition in made.source.partitions():
        run(made, partition, "ingest")
    return made


def table(curation: Curation, name: str, columns: list[str]) -> pa.Table:
    store = Store(curation.store, curation.dataset)
    return store.read(store.refs(name), columns)


def test_every_text_is_a_row_but_the_empty_one_and_copies(curation: Curation) -> None:
    assert curation.source.partitions() == ["2026-01-01", "2026-01-02"]
    rows = table(curation, "rows", ["text", "label"])
    assert rows.num_rows == 1683
    assert set(rows["label"].to_pylist()) == set(range(12))
    rejects = table(curation, "rejects", ["reason"])
    assert sorted(rejects["reason"].to_pylist()) == ["exact_duplicates"] * 3 + ["missing_payload"]


def test_every_row_has_an_embedding_of_unit_length(curation: Curation) -> None:
    rows = table(curation, "rows", ["embedding"])
    vectors = lists_to_array(rows["embedding"], rows.num_rows, np.float32)
    assert vectors.shape == (1683, 256)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_topics_can_be_told_apart_by_the_embeddings_alone(curation: Curation) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    rows = table(curation, "rows", ["embedding", "label", "content_hash"])
    vectors = lists_to_array(rows["embedding"], rows.num_rows, np.float32)
    labels, held_out = rows["label"].to_numpy(), folds_of(keys_of(rows["content_hash"]), 4) == 0
    model = KNeighborsClassifier(15, weights="distance").fit(vectors[~held_out], labels[~held_out])
    accuracy = model.score(vectors[held_out], labels[held_out])
    commonest = np.bincount(labels[held_out]).max() / held_out.sum()
    assert commonest < 0.4
    assert accuracy > 0.6
