"""Train from a release: `from tasks.train import ReleaseLoader`.

    loader = ReleaseLoader("curations/digits.yaml", batch_size=128)

The numbers (`order`, `targets`) know nothing of winnow's tables, `lessons` reads them, and `loader` alone
knows PyTorch. Nothing here is a stage: a release is read, and nothing of it changes.
"""

from tasks.train.lessons import Targets
from tasks.train.loader import Batch, ReleaseDataset, ReleaseLoader

__all__ = ["Batch", "ReleaseDataset", "ReleaseLoader", "Targets"]
