"""The figures of the `metrics` table, from arrays in the order of the partition's rows.

A function a stage, each returning `Figure` rows; names are lower_snake and unique within a
partition, because gates refer to them by name alone. A figure that cannot be measured (no truth, no
rows) is left out rather than stored as NaN. `truth` is (n,) int32, -1 where unknown: for measuring
only. Values do not depend on how rows were dealt into shards. Cost: linear in rows, but for the
sorts of the calibration error and the average precision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tasks.data import ACTIONS, ONE, Decisions, Issues, SoftLabels
from tasks.report import Figure
from tasks.report.calibration import expected_calibration_error
from tasks.report.shift import least_rise
from tasks.report.trial import margin


def ingest(rows: int, rejected: int) -> list[Figure]:
    """How much arrived: rows kept and inputs rejected."""
    figures = [Figure("ingest", "rows", rows, "rows"), Figure("ingest", "rejected", rejected, "rows")]
    if rows + rejected:
        figures.append(Figure("ingest", "share_rejected", rejected / (rows + rejected), "share"))
    return figures


def labelled(given: np.ndarray) -> list[Figure]:
    """How many rows came without a label, of the given ones (n,) int32."""
    if not len(given):
        return []
    return [Figure("ingest", "share_unlabelled", float((given < 0).mean()), "share")]


def teach(opinions: Mapping[str, SoftLabels], truth: np.ndarray) -> list[Figure]:
    """Accuracy and calibration of every teacher, out of sample, against given labels and truth."""
    figures = []
    for teacher, soft in opinions.items():
        for against, labels in (("given", soft.labels), ("truth", truth)):
            known = labels >= 0
            if not known.any() or not soft.classes.shape[1]:
                continue
            correct = soft.classes[known, 0] == labels[known]
            ece = expected_calibration_error(soft.weights[known, 0] / ONE, correct)
            name = f"teacher_{snake(teacher)}"
            figures.append(Figure("teach", f"{name}_accuracy_{against}", float(correct.mean()), "share"))
            figures.append(Figure("teach", f"{name}_ece_{against}", ece, "ratio"))
    off = [not_summing_to_one(soft) for soft in opinions.values() if len(soft)]
    if off:
        share = float(np.any(off, axis=0).mean())
        figures.append(Figure("teach", "share_not_summing_to_one", share, "share"))
    return figures


def soft_labels(soft: SoftLabels) -> list[Figure]:
    """Bytes a row of classes, weights, tail and the given label's weight, before Parquet packs them, which
    depends on the shards; and the probability that top-k left to the classes without a name."""
    if not len(soft):
        return []
    size = soft.classes.itemsize + soft.weights.itemsize
    bytes_a_row = soft.classes.shape[1] * size + soft.tail.itemsize + soft.given_weight.itemsize
    cut = int(soft.tail.sum(dtype=np.int64)) / (ONE * len(soft))
    return [
        Figure("teach", "soft_label_bytes", bytes_a_row, "bytes a row"),
        Figure("teach", "soft_label_mass_cut", cut, "share"),
    ]


def not_summing_to_one(soft: SoftLabels) -> np.ndarray:
    """Which rows' stored probabilities are a hundredth or more away from 1 together, (n,) bool."""
    listed = (soft.classes == soft.labels[:, None]).any(axis=1)
    total = soft.weights.sum(axis=1, dtype=np.int64) + soft.tail + np.where(listed, 0, soft.given_weight)
    return np.asarray(np.abs(total - ONE) * 100 >= ONE)


def detect(
    findings: Mapping[str, Issues], given: np.ndarray, truth: np.ndarray, decisive: Sequence[str]
) -> list[Figure]:
    """How much was flagged, and how well, over the rows that have a given label (n,) int32.

    A row counts as wrong when its truth is known and differs. Each detector is judged alone, and
    those that labels are judged by together (`share_flagged`, `detection_…`): flagged by any, ranked
    by the lowest score.
    """
    if not findings:
        return []
    flagged = np.any([findings[detector].is_issue for detector in decisive], axis=0)
    score = np.min([findings[detector].score for detector in decisive], axis=0)
    figures = judged("", "detection_", flagged, score, given, truth)
    for detector, issues in findings.items():
        prefix = f"detector_{snake(detector)}_"
        figures += judged(prefix, prefix, issues.is_issue, issues.score, given, truth)
    return figures


def judged(
    prefix: str,
    judged_prefix: str,
    flagged: np.ndarray,
    score: np.ndarray,
    given: np.ndarray,
    truth: np.ndarray,
) -> list[Figure]:
    """Share flagged; precision and recall where some are flagged and wrong; average precision."""
    from sklearn.metrics import average_precision_score

    labelled = given >= 0
    known = labelled & (truth >= 0)
    wrong = (given != truth)[known]
    caught = int((wrong & flagged[known]).sum())
    figures = []
    if labelled.any():
        figures.append(Figure("detect", f"{prefix}share_flagged", float(flagged[labelled].mean()), "share"))
    if flagged[known].any():
        precision = caught / int(flagged[known].sum())
        figures.append(Figure("detect", f"{judged_prefix}precision", precision, "share"))
    if wrong.any():
        ranking = float(average_precision_score(wrong, -score[known]))
        figures.append(Figure("detect", f"{judged_prefix}recall", caught / int(wrong.sum()), "share"))
        figures.append(Figure("detect", f"{judged_prefix}average_precision", ranking, "ratio"))
    return figures


def audit(audits: Mapping[str, Mapping[str, int]]) -> list[Figure]:
    """What detection finds of labels that were planted, by their kind; see `planted_flips`."""
    figures = []
    for noise, counts in audits.items():
        figures.append(Figure("detect", f"audit_{noise}_planted", counts["planted"], "rows"))
        if counts["planted"]:
            recall = counts["found"] / counts["planted"]
            figures.append(Figure("detect", f"audit_{noise}_recall", recall, "share"))
    return figures


def annotators(names: Sequence[str], quality: np.ndarray, labels: np.ndarray) -> list[Figure]:
    """How far each person's labels are to be relied on, of the 50 who gave most; how many people there are,
    and the lowest quality of all. names: (a,); quality: (a,) float64, NaN where it cannot be told; labels:
    (a,) how many each gave."""
    known = np.flatnonzero(np.isfinite(quality))
    if not len(known):
        return []
    busiest = known[np.argsort(-labels[known], kind="stable")][:MOST_ANNOTATORS]
    own = {f"annotator_quality_{snake(names[j])}": float(quality[j]) for j in busiest[::-1]}
    return [
        Figure("detect", "annotators", len(names), "people"),
        Figure("detect", "annotator_quality_lowest", float(np.nanmin(quality)), "share"),
        *(Figure("detect", name, value, "share") for name, value in own.items()),
    ]


MOST_ANNOTATORS = 50
"""People who have a figure of their own."""


def relabel(decisions: Decisions, truth: np.ndarray) -> list[Figure]:
    """What was decided, and how many labels are right before and after.

    Shares are of all rows. share_changed counts given labels that became another one;
    label_accuracy_given is over rows with truth and a given label, label_accuracy_curated over rows
    with truth and a label left (a dropped row has none).
    """
    if not len(decisions):
        return []
    given, label = decisions.given, decisions.label
    figures = shares(decisions, (given >= 0) & (label >= 0) & (given != label))
    for arm, labels in (("given", given), ("curated", label)):
        known = (labels >= 0) & (truth >= 0)
        if known.any():
            right = float((labels == truth)[known].mean())
            figures.append(Figure("relabel", f"label_accuracy_{arm}", right, "share"))
    return figures


def shares(decisions: Decisions, changed: np.ndarray) -> list[Figure]:
    """Of all rows, at least one: those that were given one thing and now have another (n,) bool, and those
    of each action."""
    counts = np.bincount(decisions.action, minlength=len(ACTIONS))
    found = {"share_changed": int(changed.sum())}
    found |= {f"share_{SHARE_NAMES.get(a, a)}": int(c) for a, c in zip(ACTIONS, counts, strict=True)}
    return [Figure("relabel", name, count / len(decisions), "share") for name, count in found.items()]


SHARE_NAMES = {"keep": "kept", "fix": "fixed", "soften": "softened", "drop": "dropped"}
"""share_dropped reads better than share_drop; review and human stay as they are."""


def agreement(agreed: int, views: int) -> list[Figure]:
    """views_agree: of the views that teachers judged as they are, of rows with a label to rely on, the share
    on which their first choice is that label. Far below what they reach on whole rows, views are stronger
    than they can judge. Nothing without such views."""
    return [Figure("reinforce", "views_agree", agreed / views, "share")] if views else []


def reinforce(views: int, regions: Mapping[str, int], dropped: np.ndarray, drawn: np.ndarray) -> list[Figure]:
    """Of a reinforcer that grades views: the shares that were hard (dropped, but for a row's last), uncertain
    and confident, and the largest share that a class lost.

    views: how many were drawn; regions: stored views by region; dropped, drawn: (k,) int64 views by their
    rows' decided class. Nothing where no view was graded.
    """
    if not regions or not views:
        return []
    hard = views - sum(count for region, count in regions.items() if region != "hard")
    counts = {"hard": hard} | {region: regions.get(region, 0) for region in ("uncertain", "confident")}
    found = [Figure("reinforce", f"views_{name}", count / views, "share") for name, count in counts.items()]
    if drawn.any():
        worst = float((dropped[drawn > 0] / drawn[drawn > 0]).max())
        found.append(Figure("reinforce", "views_dropped_worst_class", worst, "share"))
    return found


def student(accuracies: Mapping[str, Sequence[float]], test_rows: int) -> list[Figure]:
    """accuracy_given, accuracy_curated, …: the mean over seeds of each arm that could be measured; and
    what curation lost of it at the least, as if the arms had been tested on rows of their own."""
    means = {arm: float(np.mean(values)) for arm, values in accuracies.items() if len(values)}
    means = {arm: mean for arm, mean in means.items() if not np.isnan(mean)}
    figures = [Figure("report", f"accuracy_{arm}", mean, "share") for arm, mean in means.items()]
    if {"given", "curated"} <= means.keys():
        wrong_given, wrong_curated = 1 - means["given"], 1 - means["curated"]
        loss = least_rise(wrong_curated, test_rows, wrong_given, test_rows)
        figures.append(Figure("report", "curation_loss", loss, "share"))
    return figures


def cut(pairs: Sequence[Mapping[str, float | None]]) -> list[Figure]:
    """Accuracy of students on soft labels as stored and as the teachers gave them, the means over seeds."""
    figures = []
    for arm in ("stored", "dense"):
        known = [value for pair in pairs if (value := pair[arm]) is not None]
        if known:
            figures.append(Figure("report", f"accuracy_{arm}_soft_labels", float(np.mean(known)), "share"))
    return figures


def trial(pairs: Sequence[Mapping[str, float]]) -> list[Figure]:
    """Accuracy of students on the distilled set and on random rows, and by how much the first is higher:
    the mean over seeds, and its 95% interval; see `tasks.report.trial`."""
    if not pairs:
        return []
    distilled, random = ([pair[arm] for pair in pairs] for arm in ("distilled", "random"))
    mean, low, high = margin(distilled, random)
    return [
        Figure("report", "distilled_accuracy", float(np.mean(distilled)), "share"),
        Figure("report", "random_accuracy", float(np.mean(random)), "share"),
        Figure("report", "distilled_margin", mean, "effect"),
        Figure("report", "distilled_margin_low", low, "effect"),
        Figure("report", "distilled_margin_high", high, "effect"),
    ]


def snake(name: str) -> str:
    """A method's kind as part of a figure's name: `package.module:Class` -> `package_module_class`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
