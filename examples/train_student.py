"""Train a student from a release's stored views: python examples/train_student.py CURATION [EPOCHS]"""

import sys

import torch
from torch import nn

from tasks.train import ReleaseLoader

torch.manual_seed(0)
curation, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10
views = ReleaseLoader(curation, batch_size=64)
labels = ReleaseLoader(curation, batch_size=256, targets="hard")
first, second = nn.LazyConv2d(32, 3, padding=1), nn.LazyConv2d(64, 3, stride=2, padding=1)
last = nn.LazyLinear(len(views.classes))
student = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), last)
student(next(iter(labels)).inputs.float() / 255)  # from which the lazy layers learn their sizes
optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
for epoch in range(epochs):
    for batch in views:
        loss = nn.functional.cross_entropy(student(batch.inputs.float() / 255), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
with torch.no_grad():
    right = [student(batch.inputs.float() / 255).argmax(1) == batch.targets for batch in labels]
print(f"agrees with {torch.cat(right).float().mean():.1%} of the labels that may be relied on")
