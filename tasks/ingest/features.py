"""Features as they came: for data that is a table of numbers, or was embedded elsewhere."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from tasks.data import Examples
from tasks.ingest import Encoder


class Features(Encoder):
    """The (n, d) float32 features themselves."""

    kind: Literal["features"] = "features"
    revision: ClassVar[int] = 1
    reads: ClassVar[Literal["images", "features"]] = "features"

    def encode(self, examples: Examples) -> np.ndarray:
        if examples.features is None:
            raise ValueError("encoder features reads features, and these rows have none; use encoder pixels")
        return examples.features.astype(np.float32, copy=False)
