"""CIFAR-10N: 50,000 real human labels and five real teachers, the whole chain and cleanlab beside it.

The curation is `curations/cifar10n.yaml`; the data is read from where WINNOW_DATA says. Flags are
compared with cleanlab's on the same stored probabilities. The reference figures were measured once
with cleanlab on the float32 probabilities; winnow stores 15 bits, hence the tolerance.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from rich.progress import Progress

from benchmarks._cifar10n import bare, curated, judged
from benchmarks.figures import Figure
from tasks.data import SoftLabels
from tasks.detect.confident_learning import ConfidentLearning

REFERENCE = {
    "efficientnet_b1": (0.9315, 0.868, 0.557, 0.8655, 0.9503),
    "resnet18": (0.9353, 0.882, 0.545, 0.8747, 0.9501),
    "resnet50d": (0.9412, 0.878, 0.583, 0.8916, 0.9532),
    "swin_base_patch4_window7_224": (0.9837, 0.981, 0.624, 0.9770, 0.9644),
    "twins_pcpvt_base": (0.9672, 0.948, 0.600, 0.9403, 0.9601),
    "mean": (0.9767, 0.982, 0.515, 0.9630, 0.9551),
}
"""By teacher: accuracy of its argmax; precision, recall and average precision of cleanlab's defaults;
label accuracy after replacing what they flag by the argmax."""

MODES = get_args(ConfidentLearning.model_fields["filter_by"].annotation)


def run(progress: Progress) -> list[Figure]:
    with curated("cifar10n", progress) as found:
        chain, truth = found.chain, found.truth
        opinions = {name: found.opinion(name) for name in REFERENCE}
    return [
        Figure("whole chain", chain.seconds / 60, "minutes", "≤ 2"),
        Figure("rows", len(truth), "rows", "= 50000"),
        same_flags(opinions, progress),
        *reproduced(opinions, truth),
    ]


def same_flags(opinions: dict[str, SoftLabels], progress: Progress) -> Figure:
    """How many of (teachers x modes) flag exactly the rows that cleanlab flags."""
    import cleanlab
    from cleanlab.filter import find_label_issues

    cases = [(name, mode) for name in opinions for mode in MODES]
    same = 0
    for name, mode in progress.track(cases, description="flags beside cleanlab"):
        soft = opinions[name]
        detector = ConfidentLearning(filter_by=mode)
        ours = judged(detector, bare(soft)).is_issue
        theirs = find_label_issues(soft.labels, soft.pred_probs(), filter_by=mode, n_jobs=1)
        same += int(np.array_equal(ours, theirs))
    peer = f"cleanlab {cleanlab.__version__}"
    return Figure("teachers and modes with the same flags", same, f"of {len(cases)}", f"= {len(cases)}", peer)


def reproduced(opinions: dict[str, SoftLabels], truth: np.ndarray) -> list[Figure]:
    """The reference figures from the stored probabilities, and the largest difference."""
    from sklearn.metrics import average_precision_score

    found, largest = [], 0.0
    names = ("argmax accuracy", "precision", "recall", "average precision", "accuracy after replacing")
    for teacher, soft in opinions.items():
        detector = ConfidentLearning()
        issues = judged(detector, bare(soft))
        wrong, flagged, top = soft.labels != truth, issues.is_issue, soft.classes[:, 0]
        replaced = np.where(flagged, top, soft.labels)
        values = (
            float((top == truth).mean()),
            float(wrong[flagged].mean()),
            float(flagged[wrong].mean()),
            float(average_precision_score(wrong, -issues.score)),
            float((replaced == truth).mean()),
        )
        largest = max(largest, *(abs(v - r) for v, r in zip(values, REFERENCE[teacher], strict=True)))
        found += [Figure(f"{teacher}: {name}", value) for name, value in zip(names, values, strict=True)]
    return [Figure("largest difference from a reference figure", largest, "", "≤ 0.001"), *found]
