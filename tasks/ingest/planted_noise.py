"""Planted noise: labels made wrong on purpose, so that finding them can be measured.

Two kinds, as in the literature on learning from noisy labels (e.g. Patrini et al., "Making Deep Neural
Networks Robust to Label Noise", CVPR 2017, section 5): uniform, where a flipped label becomes any
other class with equal chance, and asymmetric, where each class is only ever mistaken for one other.
The clean label goes to `truth`, which no method reads. Which rows are flipped depends on the
partition and the row's position in it, never on how rows were batched.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.ingest import BadSource
from tasks.seeds import uniform


class PlantedNoise(BaseModel):
    """Flip a share of the labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    share: float = Field(ge=0, lt=1, description="the probability that a label is flipped")
    flips: Literal["uniform", "asymmetric"] = Field(
        default="uniform", description="to any other class, or to the one that `to` says"
    )
    classes: tuple[str, ...] = Field(min_length=2, description="every class name, as the labels spell it")
    to: dict[str, str] = Field(
        default_factory=dict,
        description="for asymmetric: what a class is mistaken for; classes left out are never flipped; "
        "without any, each class is mistaken for the next one in `classes`",
    )

    @model_validator(mode="after")
    def _check(self) -> PlantedNoise:
        unknown = sorted((set(self.to) | set(self.to.values())) - set(self.classes))
        if unknown:
            raise ValueError(f"planted_noise.to names {unknown[0]}, which is not in planted_noise.classes")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("planted_noise.classes names a class twice; give each once")
        if self.to and self.flips == "uniform":
            raise ValueError("planted_noise.to is for flips: asymmetric")
        return self

    def plant(self, batch: pa.RecordBatch, seed: int) -> pa.RecordBatch:
        """A batch of RAW with labels flipped and the clean ones in `truth`. Raises BadSource."""
        clean = batch["label"]
        known = pa.array(self.classes, pa.string())
        index = pc.index_in(clean, known)
        strangers = clean.filter(pc.is_null(index)).drop_null()
        if len(strangers):
            raise BadSource(f"planted_noise: label {strangers[0]} is not in planted_noise.classes; add it")
        labels = index.fill_null(-1).to_numpy(zero_copy_only=False)
        keys = batch["position"].to_numpy().astype(np.uint64)
        flipped = self._flip(labels, keys, seed)
        noisy = known.take(pa.array(flipped, pa.int32(), mask=flipped < 0))
        position = batch.schema.get_field_index
        columns = list(batch.columns)
        columns[position("label")], columns[position("truth")] = noisy, clean
        return pa.record_batch(columns, schema=batch.schema)

    def _flip(self, labels: np.ndarray, keys: np.ndarray, seed: int) -> np.ndarray:
        chosen = (labels >= 0) & (uniform(keys, seed) < self.share)
        if self.flips == "uniform":
            return np.where(chosen, another_class(labels, uniform(keys, seed + 1), len(self.classes)), labels)
        return np.where(chosen, self._mistaken_for()[labels], labels)

    def _mistaken_for(self) -> np.ndarray:
        index = {name: at for at, name in enumerate(self.classes)}
        if not self.to:
            return np.roll(np.arange(len(index)), -1)
        return np.array([index[self.to.get(name, name)] for name in self.classes])


def another_class(labels: np.ndarray, draws: np.ndarray, n_classes: int) -> np.ndarray:
    """A class other than `labels` (n,) int, each with equal chance; draws: (n,) float in [0, 1)."""
    steps = 1 + (draws * (n_classes - 1)).astype(labels.dtype)
    others: np.ndarray = (labels + steps) % n_classes
    return others
