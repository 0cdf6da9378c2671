"""Pictures of digits, and a network that learns them in a second. No tests here."""

from __future__ import annotations

import numpy as np

from tasks.data import Examples
from tasks.teach.convnet import Convnet
from tests.tasks.teach.examples import digits

SMALL = Convnet(width=8, epochs=4, min_steps=120, max_steps=120, batch_size=32)


def pictures(n: int = 600) -> Examples:
    """Of ten classes, 8 x 8, by their true labels."""
    return digits(noise=0.0)[0].take(np.arange(n))
