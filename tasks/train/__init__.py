"""Train from a release: `from tasks.train import ReleaseLoader`.

    loader = ReleaseLoader("curations/digits.yaml", batch_size=128)

`order` is numbers only, `lessons` reads tables through `tasks.release`, and `loader` alone knows PyTorch.
Nothing here is a stage: a release is read, and nothing of it changes.
"""

from tasks.train.lessons import Targets
from tasks.train.loader import Batch, ReleaseDataset, ReleaseLoader

__all__ = ["Batch", "ReleaseDataset", "ReleaseLoader", "Targets"]
