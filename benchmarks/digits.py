"""Two nights of real digits with 8% planted label errors: what curation does to labels and students.

The curation is `curations/digits.yaml`, as `winnow demo` runs it. Label accuracy is against the
true labels, over all rows of both nights that keep a label; students are judged on held-out rows by
their true labels, trained on the whole window of the second night.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress

from benchmarks._chain import CURATIONS, metrics, over_rows, run_chain
from benchmarks.figures import Figure

NIGHTS = ("2026-01-01", "2026-01-02")


def run(progress: Progress) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        chain = run_chain(CURATIONS / "digits.yaml", NIGHTS, Path(folder), progress)
        figures = metrics(Path(folder), "digits")
    last = figures[NIGHTS[-1]]
    gain = 100 * (last["accuracy_curated"] - last["accuracy_given"])
    return [
        Figure("label accuracy, given", over_rows(figures, "label_accuracy_given")),
        Figure("label accuracy, curated", over_rows(figures, "label_accuracy_curated"), "", "≥ 0.975"),
        Figure("share of labels changed", over_rows(figures, "share_changed")),
        Figure("precision of the flags", over_rows(figures, "detection_precision")),
        Figure("recall of the flags", over_rows(figures, "detection_recall")),
        Figure("student accuracy, given labels", last["accuracy_given"]),
        Figure("student accuracy, curated labels", last["accuracy_curated"]),
        Figure("student gain, mean of 3 seeds", gain, "points", "≥ 1"),
        Figure("teachers' accuracy (mean of both)", over_rows(figures, "teacher_mean_accuracy_truth")),
        Figure(
            "calibration error of convnet, against truth", over_rows(figures, "teacher_convnet_ece_truth")
        ),
        Figure("calibration error of linear, against truth", over_rows(figures, "teacher_linear_ece_truth")),
        Figure("seconds for both nights", chain.seconds, "s"),
    ]
