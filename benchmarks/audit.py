"""CIFAR-10N: the recall that the audit estimates from planted labels, beside the real one.

The curation is `curations/cifar10n_stacked.yaml` with an audit, by the whole chain: real recall is the share
of the labels that differ from the truth which detection flags. Without pictures no annotator's opinion can be
joined to a row, so two kinds of noise are planted.
"""

from __future__ import annotations

from rich.progress import Progress

from benchmarks._cifar10n import curated
from benchmarks.figures import Figure

AUDIT = {"kind": "planted_flips", "noise": ["uniform", "confusion"]}
DETECTORS = {
    "predicted_neq_given": [{"kind": "confident_learning", "filter_by": "predicted_neq_given"}],
    "prune_by_noise_rate": [{"kind": "confident_learning"}],
}


def run(progress: Progress) -> list[Figure]:
    figures = []
    for name, detect in DETECTORS.items():
        with curated("cifar10n_stacked", progress, audit=AUDIT, detect=detect) as found:
            measured = found.metrics()
        real = measured["detection_recall"]
        figures.append(Figure(f"{name}: real recall", real))
        for noise in AUDIT["noise"]:
            recall = measured[f"audit_{noise}_recall"]
            figures.append(Figure(f"{name}: recall by {noise} flips", recall))
            figures.append(
                Figure(f"{name}: labels planted, {noise}", measured[f"audit_{noise}_planted"], "rows")
            )
            figures.append(Figure(f"{name}: {noise} estimate above the real one", recall - real))
    return figures
