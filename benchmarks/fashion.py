"""Fashion-MNIST in six nights with 10% planted asymmetric noise: the whole chain on real pictures.

The curation is `curations/fashion_mnist.yaml`; the data is read from where WINNOW_DATA says. Each
night's teachers learn from all nights so far.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress

from benchmarks._chain import CURATIONS, metrics, over_rows, run_chain
from benchmarks.figures import Figure


def run(progress: Progress) -> list[Figure]:
    from tasks.config import load

    curation = CURATIONS / "fashion_mnist.yaml"
    nights = load(curation).source.partitions()
    with tempfile.TemporaryDirectory() as folder:
        chain = run_chain(curation, nights, Path(folder), progress)
        figures = metrics(Path(folder), "fashion_mnist")
    last = figures[nights[-1]]
    rows = sum(f["rows"] for f in figures.values())
    outside = 1 - chain.method_seconds / chain.seconds
    return [
        Figure("rows curated", rows, "rows", "= 60000"),
        Figure("nights", len(nights), "", "= 6"),
        Figure("whole chain", chain.seconds / 60, "minutes", "≤ 30"),
        Figure("share of wall time outside of methods", outside, "", "≤ 0.1"),
        Figure("peak memory of any process", chain.peak_bytes / 2**30, "GiB", "≤ 3"),
        Figure(
            "accuracy of the teachers, out of sample",
            over_rows(figures, "teacher_mean_accuracy_truth"),
            "",
            "≥ 0.88",
        ),
        Figure("label accuracy, given", over_rows(figures, "label_accuracy_given")),
        Figure("label accuracy, curated", over_rows(figures, "label_accuracy_curated")),
        Figure("student accuracy, given labels", last["accuracy_given"]),
        Figure("student accuracy, curated labels", last["accuracy_curated"]),
        *(Figure(f"seconds in {stage}", seconds, "s") for stage, seconds in chain.stage_seconds.items()),
    ]
